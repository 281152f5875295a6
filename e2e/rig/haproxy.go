package rig

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// HAProxy is an haproxy in front of gateways.
type HAProxy struct {
	*Process
	URL string // ws://
}

// haproxyConfig is as feasibility.md §8 found it: a failed dial goes to another server, and so does an upgrade that a draining
// gateway refuses with 503. Readiness is that of the internal listener.
const haproxyConfig = `global
    maxconn 2000
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
`

// StartHAProxy starts haproxy and waits until it accepts connections. It takes every gateway for ready until its check says
// otherwise.
func StartHAProxy(t testing.TB, gateways ...*Gateway) *HAProxy {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	var text strings.Builder
	fmt.Fprintf(&text, haproxyConfig, addr)
	for i, g := range gateways {
		public := strings.TrimSuffix(strings.TrimPrefix(g.URL, "ws://"), "/")
		_, internal, err := net.SplitHostPort(strings.TrimPrefix(g.Internal, "http://"))
		if err != nil {
			t.Fatalf("internal address of gateway %d: %v", i, err)
		}
		fmt.Fprintf(&text, "    server g%d %s port %s\n", i, public, internal)
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &HAProxy{Process: Start(t, "haproxy", "-db", "-f", config), URL: "ws://" + addr + "/"}
	Eventually(t, 20*time.Second, "haproxy accepts connections", func() bool {
		select {
		case <-h.Done():
			t.Fatalf("haproxy ended at once:\n%s", h.Output())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = c.Close() // it was only to see
		return true
	})
	return h
}
