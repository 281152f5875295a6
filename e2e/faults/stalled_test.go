package faults

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/internal/wcsclient"
)

const (
	queueLimit = 64 << 10 // the smallest that may be configured
	backlog    = 16       // commands of a client that may wait (gateway/loop.go)
	// What one flooding command and its answer weigh. The kernel takes up to 4 MB of answers for the gateway
	// before a client's stall reaches it, so they are large.
	floodSize = 8 << 10
	floodMax  = 1000 // commands of a client, 8 MB
)

// Clients that stop reading overflow their bounded queues. The test runs alone: its floods starve clients of
// other tests in this process.
func TestStalledClientsOverflowTheirQueues(t *testing.T) {
	wantClosedAlone(t, 100, map[string]string{
		"WCS_SESSION_MAXQUEUEBYTES": strconv.Itoa(queueLimit), "WCS_SESSION_WRITETIMEOUT": "5m", "WCS_SESSION_PINGPROBES": "1000",
	}, 100*2*queueLimit)
}

// Clients that stop reading, and for whom little waits, are noticed by a write that does not end; those that
// were sent what others cause, by their pings.
func TestStalledClientsBlockTheirWrites(t *testing.T) {
	needsMore(t)
	t.Parallel()
	wantClosedAlone(t, 10, map[string]string{
		"WCS_SESSION_MAXQUEUEBYTES": strconv.Itoa(2 * floodMax * floodSize), "WCS_SESSION_WRITETIMEOUT": "1s", "WCS_SESSION_PINGPROBES": "5",
	}, 10*floodMax*floodSize)
}

// wantClosedAlone stalls n clients, some of them with a stream, and lets others work on the same pod
// meanwhile. queued is what may wait for all of them together: a queue and what was taken out of it to be
// written.
func wantClosedAlone(t *testing.T, n int, env map[string]string, queued int) {
	// The limits of what a client may send would end these before their queues are full.
	env["WCS_LIMITS_IDBYTES"] = strconv.Itoa(2 * floodSize)
	held := queued + n*backlog*floodSize
	env["GOMEMLIMIT"] = strconv.Itoa(held + 64<<20) // garbage is collected before the process is larger than that
	env["WCS_LIMITS_BYTESPERSECOND"], env["WCS_LIMITS_MESSAGESPERSECOND"] = "0", "0"
	s := &rig.Stage{Ports: rig.NewPorts(t), Redis: rig.StartRedis(t)}
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: s.Ports.Webhook()})
	s.Gateway = rig.StartGateway(t, rig.GatewayOptions{
		Ports: s.Ports, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: env, Plain: true,
	})
	s.Gateway.AwaitReady(t)
	pub, view := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	pub.Publish("healthy-pub", "healthy", rig.NewPublisher(t, rig.PeerOptions{}))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	view.Play("healthy-play", "healthy", screen)
	var stalled []*stalledClient
	const playing = 5
	for i := range n {
		c := newStalledClient(t, s.Gateway.URL)
		if i < playing {
			c.play(t, fmt.Sprintf("stalled-%d", i), "healthy")
		}
		stalled = append(stalled, c)
	}
	idle, _ := residentBytes(t, s.Gateway)
	flood(t, stalled)

	var slowest time.Duration
	since := time.Now()
	rig.Eventually(t, 90*time.Second, "all stalled clients are closed", func() bool {
		asked := time.Now()
		awaitRoundTrip(t, view) // other clients are served
		slowest = max(slowest, time.Since(asked))
		return metric(t, s.Gateway, `wcs_closes_total{reason="slow"}`)+metric(t, s.Gateway, `wcs_closes_total{reason="ping_timeout"}`) == float64(n)
	})
	if slow := metric(t, s.Gateway, `wcs_closes_total{reason="slow"}`); slow < float64(n-playing) { // the others are sent nothing by other clients
		t.Errorf("%v clients are closed as slow, want at least %d", slow, n-playing)
	}
	now, peak := residentBytes(t, s.Gateway)
	t.Logf("%d closed after %v; slowest answer to another client %v", n, ms(time.Since(since)), ms(slowest))
	t.Logf("resident: %d MB idle, %d MB peak, %d MB now; %d MB could be queued", idle>>20, peak>>20, now>>20, queued>>20)
	if limit := idle + held + 64<<20; peak > limit {
		t.Errorf("resident memory grew from %d to %d MB, more than to %d", idle>>20, peak>>20, limit>>20)
	}
	if left := metric(t, s.Gateway, "wcs_connections"); left != 2 {
		t.Errorf("%v connections are left", left)
	}
	wantMedia(t, screen)
	wantNoMoreStatus(t, pub, view)
	pub.Unpublish("healthy-pub", "healthy")
	pub.WantStatus("healthy-pub", "UNPUBLISHED", infoStopped)
	view.WantStatus("healthy-play", "FAILED", infoStopped)
	s.WantClean(t)
	wantNoMoreStatus(t, pub, view)
}

// stalledClient reads nothing but what it awaits, and its kernel takes next to nothing for it.
type stalledClient struct{ ws *websocket.Conn }

func newStalledClient(t *testing.T, url string) *stalledClient {
	t.Helper()
	small := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var fault error
		err := raw.Control(func(fd uintptr) {
			fault = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		return errors.Join(err, fault)
	}}
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return small.DialContext(ctx, network, addr)
	}}
	ws, res, err := dialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	c := &stalledClient{ws: ws}
	t.Cleanup(func() { _ = ws.Close() })
	c.send(t, "connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0"})
	c.await(t, "getUserData", "")
	return c
}

func (c *stalledClient) send(t *testing.T, name string, arg any) {
	t.Helper()
	if err := c.ws.WriteJSON(map[string]any{"message": name, "data": []any{arg}}); err != nil {
		t.Fatal(err)
	}
}

// await reads up to a message with the name and a word in it.
func (c *stalledClient) await(t *testing.T, name, word string) (m rig.Message) {
	t.Helper()
	if err := c.ws.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			t.Fatalf("while waiting for %s: %v", name, err)
		}
		m = rig.Message{Message: wcsclient.Message{Raw: string(b)}}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Name == name && bytes.Contains(b, []byte(word)) {
			return m
		}
	}
}

func (c *stalledClient) play(t *testing.T, id, name string) {
	t.Helper()
	peer := rig.NewPlayer(t, rig.PeerOptions{})
	c.send(t, "playStream", rig.StreamRequest(id, name, peer.Offer(), false, nil))
	var sdp string
	m := c.await(t, "setRemoteSDP", id)
	m.Arg(t, 1, &sdp)
	peer.SetAnswer(sdp)
	c.await(t, statusEvent, "PLAYING")
}

// flood lets every client send requests without reading any answer, until it is closed or has sent floodMax.
func flood(t *testing.T, clients []*stalledClient) {
	t.Helper()
	frame := maskedFrame(fmt.Appendf(nil, `{"message":"sendData","data":[{"operationId":%q,"payload":1}]}`, strings.Repeat("x", floodSize)))
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for range floodMax {
				_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(time.Minute)) // fails only on a dead socket, which the write reports
				if _, err := c.ws.NetConn().Write(frame); err != nil {
					return // closed by the gateway, as it should be
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range clients {
			_ = c.ws.Close() // ends a write that hangs
		}
		wg.Wait()
	})
}

// maskedFrame returns a text frame of up to 64 KB with a mask of zeros (RFC 6455 section 5.2). It is made
// once, because the race detector makes masking slow.
func maskedFrame(payload []byte) []byte {
	frame := binary.BigEndian.AppendUint16([]byte{0x80 | websocket.TextMessage, 0x80 | 126}, uint16(len(payload)))
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// residentBytes is the memory of a gateway now and at its highest.
func residentBytes(t *testing.T, g *rig.Gateway) (now, peak int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line) // VmRSS: 1234 kB
		if len(f) != 3 {
			continue
		}
		kb, err := strconv.Atoi(f[1])
		switch {
		case err != nil:
		case f[0] == "VmRSS:":
			now = kb << 10
		case f[0] == "VmHWM:":
			peak = kb << 10
		}
	}
	if now == 0 || peak == 0 {
		t.Fatalf("no memory figures in %s", status)
	}
	return now, peak
}
