package rig

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	liveKitPackage = "github.com/livekit/livekit-server/cmd/server"
	liveKitKey     = "rigkey"
	liveKitSecret  = "rigsecret-rigsecret-rigsecret-rigsecret" // LiveKit requires 32 characters
	liveKitStart   = 20 * time.Second
	liveKitStop    = 10 * time.Second
)

// LiveKitOptions configure a livekit-server.
type LiveKitOptions struct {
	Webhook string // URL that gets the webhooks; none if empty
	Redis   string // host:port shared by the nodes of a deployment; single node without
	Address string // an IPv4 address of this machine, for media; 127.0.0.1 if empty
	RTC     string // a further line of rtc, as YAML
	Extra   string // further YAML; must not repeat the keys of LiveKit.yaml
}

// LiveKit is a livekit-server on 127.0.0.1, a child process.
type LiveKit struct {
	URL     string // http://127.0.0.1:port
	Key     string
	Secret  string
	Port    int // HTTP and WebSocket
	UDPPort int // all media over UDP
	TCPPort int // media over ICE-TCP

	t       testing.TB
	program string
	config  string
	process *Process
}

// StartLiveKit builds livekit-server, which costs minutes the first time on a machine and half a second
// afterwards, starts it and waits until it answers. It ends with the test.
func StartLiveKit(t testing.TB, o LiveKitOptions) *LiveKit {
	t.Helper()
	SkipShort(t)
	program, err := buildLiveKit()
	if err != nil {
		t.Fatal(err)
	}
	lk := &LiveKit{Key: liveKitKey, Secret: liveKitSecret, t: t, program: program}
	for lk.Port == lk.UDPPort { // FreePort may give a port twice
		lk.Port, lk.UDPPort = FreePort(t), FreePort(t)
	}
	lk.TCPPort = lk.UDPPort // one number, two protocols
	lk.URL = fmt.Sprintf("http://127.0.0.1:%d", lk.Port)
	lk.config = lk.yaml(o)
	lk.start()
	return lk
}

func (lk *LiveKit) yaml(o LiveKitOptions) string {
	address := cmp.Or(o.Address, "127.0.0.1")
	var y strings.Builder
	fmt.Fprintf(&y, `port: %d
bind_addresses: ["127.0.0.1"]
rtc:
  tcp_port: %d
  udp_port: %d
  node_ip: %s
  use_external_ip: false
  enable_loopback_candidate: %t
  ips: {includes: [%s/32]}
  %s
keys: {%s: %s}
logging: {level: warn, json: false}
`, lk.Port, lk.TCPPort, lk.UDPPort, address, o.Address == "", address, o.RTC, lk.Key, lk.Secret)
	if o.Webhook != "" {
		fmt.Fprintf(&y, "webhook: {api_key: %s, urls: [%q]}\n", lk.Key, o.Webhook)
	}
	if o.Redis != "" {
		fmt.Fprintf(&y, "redis: {address: %q}\n", o.Redis)
	}
	y.WriteString(o.Extra)
	return y.String()
}

func (lk *LiveKit) start() {
	lk.t.Helper()
	p := Start(lk.t, lk.program, "--config-body", lk.config)
	lk.process = p
	// Runs before the cleanup of Process, whose SIGTERM a LiveKit with participants would sit out.
	lk.t.Cleanup(p.Kill)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	Eventually(lk.t, liveKitStart, "livekit-server answers", func() bool {
		select {
		case <-p.Done():
			lk.t.Fatalf("livekit-server ended at once:\n%s", p.Output())
		default:
		}
		res, err := client.Get(lk.URL)
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status is of interest
		return res.StatusCode == http.StatusOK
	})
}

// Stop ends the server in the orderly way: the first SIGTERM makes it wait for its participants without a
// limit, the second throws them out (docs/livekit-notes.md#departures). Their webhooks mostly do not make it.
func (lk *LiveKit) Stop() {
	lk.t.Helper()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(liveKitStop)
	defer limit.Stop()
	for {
		lk.process.Signal(syscall.SIGTERM)
		select {
		case <-lk.process.Done():
			return
		case <-limit.C:
			lk.process.Kill()
			lk.t.Errorf("livekit-server had to be killed: no end within %v of SIGTERM", liveKitStop)
			return
		case <-again.C:
		}
	}
}

// Kill ends the server with SIGKILL: no webhook is sent.
func (lk *LiveKit) Kill() { lk.process.Kill() }

// Pause freezes the server: connections stay open and nothing answers.
func (lk *LiveKit) Pause() { lk.process.Pause() }

// Resume lets a paused server continue.
func (lk *LiveKit) Resume() { lk.process.Resume() }

// Restart kills the server if it still runs, and starts it again on the same ports. A node without Redis
// has forgotten everything.
func (lk *LiveKit) Restart() {
	lk.t.Helper()
	lk.process.Kill()
	lk.start()
}

// PID is the process id; Restart changes it.
func (lk *LiveKit) PID() int { return lk.process.PID() }

// Output is what the server has logged since it was last started.
func (lk *LiveKit) Output() string { return lk.process.Output() }

// buildLiveKit builds livekit-server as a child process needs it.
var buildLiveKit = sync.OnceValues(func() (string, error) {
	return buildProgram("livekit-server", liveKitPackage)
})
