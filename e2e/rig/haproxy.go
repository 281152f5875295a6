package rig

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// HAProxy is an haproxy in front of gateways.
type HAProxy struct {
	*Process
	URL     string // ws://
	control string // socket for questions
}

// haproxyConfig has the settings of deploy/proxies/haproxy.cfg that matter to tests: a failed dial goes to
// another server, and so does an upgrade that a draining gateway refuses with 503. Readiness is that of the
// internal listener.
const haproxyConfig = `global
    maxconn 6000
    stats socket %s
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    timeout http-request 5s
    timeout queue 2s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response 503
frontend ws
    bind %s
    option forwardfor
    default_backend gateways
backend gateways
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1
    http-response add-header set-cookie "gateway=%%s"
`

// StartHAProxy starts haproxy and waits until it accepts connections and commands. It takes every gateway
// for ready until its check fails.
func StartHAProxy(t testing.TB, gateways ...*Gateway) *HAProxy {
	t.Helper()
	return StartHAProxyWithAgents(t, nil, gateways...)
}

// StartHAProxyWithAgents lets haproxy query the agent of each gateway, host:port, too.
func StartHAProxyWithAgents(t testing.TB, agents []string, gateways ...*Gateway) *HAProxy {
	t.Helper()
	SkipShort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	control := filepath.Join(t.TempDir(), "s")
	var text strings.Builder
	fmt.Fprintf(&text, haproxyConfig, control, addr)
	for i, g := range gateways {
		public := strings.TrimSuffix(strings.TrimPrefix(g.URL, "ws://"), "/")
		_, internal, err := net.SplitHostPort(strings.TrimPrefix(g.Internal, "http://"))
		if err != nil {
			t.Fatalf("internal address of gateway %d: %v", i, err)
		}
		fmt.Fprintf(&text, "    server g%d %s port %s", i, public, internal)
		if i < len(agents) {
			host, port, err := net.SplitHostPort(agents[i])
			if err != nil {
				t.Fatalf("agent of gateway %d: %v", i, err)
			}
			fmt.Fprintf(&text, " weight 100 agent-check agent-addr %s agent-port %s agent-inter 200ms", host, port)
		}
		text.WriteByte('\n')
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &HAProxy{Process: Start(t, "haproxy", "-db", "-f", config), URL: "ws://" + addr + "/", control: control}
	Eventually(t, 20*time.Second, "haproxy accepts connections", func() bool {
		select {
		case <-h.Done():
			t.Fatalf("haproxy ended at once:\n%s", h.Output())
		default:
		}
		for network, address := range map[string]string{"tcp": addr, "unix": control} {
			c, err := net.Dial(network, address)
			if err != nil {
				return false
			}
			_ = c.Close() // it was only to see
		}
		return true
	})
	return h
}

// Dial opens a socket and returns the gateway that haproxy chose: its position in the call of StartHAProxy.
func (h *HAProxy) Dial(t testing.TB) (c *Client, gateway int) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	c = DialWith(t, &websocket.Dialer{Jar: jar}, h.URL)
	address.Scheme = "http" // under which the dialer keeps the cookies of ws
	for _, cookie := range jar.Cookies(address) {
		if _, err := fmt.Sscanf(cookie.Value, "g%d", &gateway); err == nil {
			return c, gateway
		}
	}
	t.Fatal("haproxy does not name the gateway")
	return nil, 0
}

// Server returns haproxy's view of a gateway: its status, such as UP or DRAIN, and its weight in percent.
func (h *HAProxy) Server(t testing.TB, i int) (status, weight string) {
	t.Helper()
	c, err := net.Dial("unix", h.control)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "show stat\n"); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(c).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := func(row []string, name string) string {
		at := slices.Index(rows[0], name)
		if at < 0 {
			t.Fatalf("haproxy reports no %s", name)
		}
		return row[at]
	}
	for _, row := range rows[1:] {
		if column(row, "svname") == fmt.Sprintf("g%d", i) {
			return column(row, "status"), column(row, "weight")
		}
	}
	t.Fatalf("haproxy knows no gateway %d", i)
	return "", ""
}
