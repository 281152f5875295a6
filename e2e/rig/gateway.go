package rig

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildChecked builds the production binary with the race detector, buildPlain without it.
var (
	buildChecked = sync.OnceValues(func() (string, error) {
		return buildProgram("wcs-gateway-race", "-race", "./cmd/wcs-gateway")
	})
	buildPlain = sync.OnceValues(func() (string, error) {
		return buildProgram("wcs-gateway-plain", "./cmd/wcs-gateway")
	})
)

// Ports are the addresses of a gateway, chosen before it starts, because LiveKit has to know where to send
// webhooks.
type Ports struct{ Public, Internal int }

// NewPorts chooses free ports for a gateway.
func NewPorts(t testing.TB) Ports {
	t.Helper()
	p := Ports{Public: FreePort(t)}
	for p.Internal = FreePort(t); p.Internal == p.Public; {
		p.Internal = FreePort(t)
	}
	return p
}

// Webhook returns the address for LiveKit's webhooks.
func (p Ports) Webhook() string { return fmt.Sprintf("http://127.0.0.1:%d/webhook", p.Internal) }

// Gateway is a wcs-gateway process, built with the race detector if the tests are and do not ask for less.
type Gateway struct {
	*Process
	URL      string // ws://
	Internal string // http://
	Started  time.Time
}

// Terminate sends SIGTERM and does not wait.
func (g *Gateway) Terminate() { g.Signal(syscall.SIGTERM) }

// GatewayOptions configure a gateway. Env adds to or replaces settings, as WCS_… variables. Plain leaves out
// the race detector, for tests of its memory: the detector keeps more than four bytes for each.
type GatewayOptions struct {
	Ports   Ports
	LiveKit *LiveKit
	Redis   string // host:port
	Env     map[string]string
	Plain   bool
}

// StartGateway starts a gateway and waits until it is live; it is ready only once it has reached Redis. It
// ends with the test, which fails if the race detector reported a race.
func StartGateway(t testing.TB, o GatewayOptions) *Gateway {
	t.Helper()
	SkipShort(t)
	build := buildPlain
	if raceDetector && !o.Plain {
		build = buildChecked
	}
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"WCS_LISTEN_PUBLIC":     fmt.Sprintf("127.0.0.1:%d", o.Ports.Public),
		"WCS_LISTEN_INTERNAL":   fmt.Sprintf("127.0.0.1:%d", o.Ports.Internal),
		"WCS_REDIS_ADDRS":       fmt.Sprintf("[%q]", o.Redis),
		"WCS_REDIS_CALLTIMEOUT": "2s", // on a busy machine; the most for the default lease
		"WCS_LOG_LEVEL":         "debug",
		"WCS_DRAIN_NOTICE":      "0s",
		"WCS_DRAIN_WINDOW":      "0s",
		"WCS_DRAIN_PACE":        "0s",
		"GORACE":                "halt_on_error=1 atexit_sleep_ms=0",
	}
	if o.LiveKit != nil {
		env["WCS_LIVEKIT_URL"] = o.LiveKit.URL
		env["WCS_LIVEKIT_APIKEY"] = o.LiveKit.Key
		env["WCS_LIVEKIT_APISECRET"] = o.LiveKit.Secret
	}
	maps.Copy(env, o.Env)
	cmd := exec.Command(program)
	cmd.Env = os.Environ()
	for _, k := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, k+"="+env[k])
	}
	g := &Gateway{
		Process:  StartCmd(t, cmd),
		URL:      fmt.Sprintf("ws://127.0.0.1:%d/", o.Ports.Public),
		Internal: fmt.Sprintf("http://127.0.0.1:%d", o.Ports.Internal),
		Started:  time.Now(),
	}
	t.Cleanup(func() {
		if strings.Contains(g.Output(), "WARNING: DATA RACE") {
			t.Error("data race in the gateway")
		}
	})
	Eventually(t, 20*time.Second, "gateway answers /livez", func() bool {
		select {
		case <-g.Done():
			t.Fatalf("gateway ended at once:\n%s", g.Output())
		default:
		}
		return g.Get("/livez") == http.StatusOK
	})
	return g
}

// Get returns the status of a GET on the internal listener, 0 if there was no answer.
func (g *Gateway) Get(path string) int {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(g.Internal + path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close() // only the status is of interest
	return res.StatusCode
}

// Metrics returns the text that Prometheus would get.
func (g *Gateway) Metrics(t testing.TB) string {
	t.Helper()
	res, err := http.Get(g.Internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// AwaitReady waits until the gateway has reached Redis.
func (g *Gateway) AwaitReady(t testing.TB) {
	t.Helper()
	Eventually(t, 20*time.Second, "gateway is ready", func() bool { return g.Get("/readyz") == http.StatusOK })
}
