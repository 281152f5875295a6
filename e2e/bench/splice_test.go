package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"wcsgateway/e2e/rig"
)

const (
	spliceRounds   = 3000                 // messages there and back
	splicePace     = 6 * time.Millisecond // of rounds: below limits.messagesPerSecond
	spliceSockets  = 100                  // of the busy measure
	spliceInterval = 10 * time.Millisecond
	spliceBusy     = 10 * time.Second
	splicedIdle    = 5000 // each has three sockets here
)

// frontOf starts a gateway that splices every session to a server.
func frontOf(b *testing.B, p *programs, url string, env map[string]string) *server {
	b.Helper()
	all := map[string]string{
		"WCS_DEPLOYMENT":   "front",
		"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", strings.TrimSuffix(url, "/")),
		"WCS_APPLICATIONS": "{defaultApp: {route: {default: old}}}",
	}
	for k, v := range env {
		all[k] = v
	}
	return startGateway(b, p, rig.NewPorts(b), rig.StartRedis(b).Addr, all)
}

// measureSplice measures what a gateway in front of another server costs, against haproxy doing the same, and
// against sessions of its own.
func measureSplice(b *testing.B, p *programs, results *report) {
	echo := startEcho(b)
	front := frontOf(b, p, echo.URL, nil)
	proxy := rig.StartHAProxy(b, echo)

	added, proxied := addedLatency(b, echo.URL, front.URL, proxy.URL)
	const both = "haproxy"
	results.add(
		row{Measure: "splice: latency added, there and back, p50", Unit: "µs", Ours: micros(added.at(50)), Baseline: micros(proxied.at(50)), Against: both, Goal: goal{Ours: 600}},
		row{Measure: "splice: latency added, there and back, p99", Unit: "µs", Ours: micros(added.at(99)), Baseline: micros(proxied.at(99)), Against: both},
	)
	var ours, theirs busyCosts
	for range 2 {
		ours = append(ours, busy(b, front.URL, front.PID()))
		theirs = append(theirs, busy(b, proxy.URL, proxy.PID()))
	}
	results.add(
		row{Measure: fmt.Sprintf("splice: CPU of %d sessions at 100 messages/s, echoed", spliceSockets), Unit: "% of a core",
			Ours: ours.percent(), Baseline: theirs.percent(), Against: both, Goal: goal{Ratio: 1.5}},
		row{Measure: "  resident memory per session", Unit: "KB", Ours: ours[0].rss, Baseline: theirs[0].rss, Against: both}, // later a process has memory to reuse
	)

	needFiles(b, 2*splicedIdle)
	old := startBaseline(b, p, idlePing)
	spliced := idleOf(b, frontOf(b, p, old.URL, nil), splicedIdle)
	idleProxy := rig.StartHAProxy(b, &rig.Gateway{URL: old.URL, Internal: old.internal})
	behind := idleBehind(b, &server{Process: idleProxy.Process, URL: idleProxy.URL, internal: old.internal}, splicedIdle)
	own := idleOf(b, startGateway(b, p, rig.NewPorts(b), rig.StartRedis(b).Addr, map[string]string{"WCS_SESSION_PINGINTERVAL": idlePing.String()}), splicedIdle)
	const session = "session of the gateway"
	results.add(
		row{Measure: "splice: resident memory per idle session", Unit: "KB", Ours: spliced.rss, Baseline: own.rss, Against: session, Goal: goal{Ratio: 3}},
		row{Measure: "  live heap", Unit: "KB", Ours: spliced.heap, Baseline: own.heap, Against: session},
		row{Measure: "  stacks", Unit: "KB", Ours: spliced.stacks, Baseline: own.stacks, Against: session},
		row{Measure: fmt.Sprintf("splice: CPU of %d idle sessions", splicedIdle), Unit: "% of a core", Ours: spliced.cpu, Baseline: own.cpu, Against: session, Goal: goal{Ratio: 3}},
		row{Measure: "  the same", Unit: "% of a core", Ours: spliced.cpu, Baseline: behind.cpu, Against: both, Goal: goal{Ratio: 1.5}},
		row{Measure: "  resident memory per idle session", Unit: "KB", Ours: spliced.rss, Baseline: behind.rss, Against: both},
	)
}

// idleBehind is idleOf for a proxy, which does not report its memory itself.
func idleBehind(b *testing.B, proxy *server, n int) idleCost {
	b.Helper()
	empty := resident(b, proxy.PID())
	sessions := openCrowd(b, proxy, n)
	wait(b, idlePing/10)
	used := cpu(b, proxy.PID())
	wait(b, idleWatch)
	used = cpu(b, proxy.PID()) - used
	full := resident(b, proxy.PID())
	sessions.close(b)
	return idleCost{cpu: 100 * used.Seconds() / idleWatch.Seconds(), rss: (full - empty) / 1000 / float64(n)}
}

// resident returns the resident memory of a process in bytes.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

// startEcho starts a server that answers connection and returns every other message.
func startEcho(b *testing.B) *rig.Gateway {
	b.Helper()
	upgrader := websocket.Upgrader{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) { // haproxy's check
			w.WriteHeader(http.StatusOK)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			typ, frame, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if strings.HasPrefix(string(frame), `{"message":"connection"`) {
				frame = []byte(`{"message":"getUserData","data":[{}]}`)
			}
			if ws.WriteMessage(typ, frame) != nil {
				return
			}
		}
	}))
	b.Cleanup(srv.Close)
	return &rig.Gateway{URL: "ws" + strings.TrimPrefix(srv.URL, "http") + "/", Internal: srv.URL}
}

// note is a message of usual size.
var note = []byte(`{"message":"sendData","data":[{"operationId":"5d6f0a3c-7f0f-4b53-9be0-0d9f8b9d2c11","payload":{"text":"hello"}}]}`)

// addedLatency sends messages over a direct connection, one through the gateway and one through haproxy in
// turn, and returns what the two add.
func addedLatency(b *testing.B, direct, front, proxy string) (added, proxied samples) {
	b.Helper()
	sockets := [3]*socket{dial(b, direct), dial(b, front), dial(b, proxy)}
	pace := time.NewTicker(splicePace)
	defer pace.Stop()
	for i := range spliceRounds + 100 {
		<-pace.C
		var took [3]time.Duration
		for j := range sockets {
			at := (i + j) % len(sockets)
			begin := time.Now()
			if err := roundTrip(sockets[at].ws); err != nil {
				b.Fatal(err)
			}
			took[at] = time.Since(begin)
		}
		if i >= 100 { // the first ones warm up
			added, proxied = append(added, took[1]-took[0]), append(proxied, took[2]-took[0])
		}
	}
	return added, proxied
}

func roundTrip(ws *websocket.Conn) error {
	if err := ws.WriteMessage(websocket.TextMessage, note); err != nil {
		return err
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience)) // fails only on a dead socket, which the read reports
	_, _, err := ws.ReadMessage()
	return err
}

// busyCost is what sessions that send 100 messages a second cost a process: CPU time of all, and KB of
// resident memory of one.
type busyCost struct {
	cpu time.Duration
	rss float64
}

type busyCosts []busyCost

// percent returns the CPU in percent of a core.
func (all busyCosts) percent() float64 {
	var used samples
	for _, c := range all {
		used = append(used, c.cpu)
	}
	return 100 * used.median().Seconds() / spliceBusy.Seconds()
}

// busy measures a process while sockets send messages, which come back.
func busy(b *testing.B, url string, pid int) (cost busyCost) {
	b.Helper()
	empty := resident(b, pid)
	group, ctx := errgroup.WithContext(context.Background())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := make(chan struct{})
	for range spliceSockets {
		s := dial(b, url)
		group.Go(func() error {
			defer func() { _ = s.ws.Close() }()
			<-start
			ticker := time.NewTicker(spliceInterval)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-ticker.C:
				}
				if err := roundTrip(s.ws); err != nil {
					return err
				}
			}
		})
	}
	used := cpu(b, pid)
	close(start)
	wait(b, spliceBusy)
	cost = busyCost{cpu: cpu(b, pid) - used, rss: (resident(b, pid) - empty) / 1000 / spliceSockets}
	cancel()
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return cost
}

// at returns a percentile.
func (s samples) at(percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)-1)*percent/100]
}
