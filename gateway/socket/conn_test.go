package socket

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// testConn is a Conn on the server's side and the client's socket to it.
type testConn struct {
	server   *Conn
	client   *websocket.Conn
	messages chan []byte
	closed   chan Reason
	drained  chan struct{}
}

func newTestConn(t *testing.T, cfg Config) *testConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newTestConnOn(t, cfg, l)
}

// newTestConnOn closes the listener at the end of the test.
func newTestConnOn(t *testing.T, cfg Config, l net.Listener) *testConn {
	t.Helper()
	tc := &testConn{messages: make(chan []byte, 100), closed: make(chan Reason, 1), drained: make(chan struct{}, 1)}
	ready := make(chan struct{})
	up := NewUpgrader()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := newMeteredConn(netip.Addr{}, &Limits{}, NewAdmission(nil))
		ws, err := up.ws.Upgrade(hijacker{w, m}, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		tc.server = New(ws, &cfg, m, tc)
		close(ready)
		go tc.server.Serve(nil)
	}))
	_ = srv.Listener.Close() // unused
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial(l.Addr().Network(), l.Addr().String()) }}
	ws, res, err := dialer.Dial("ws://server", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	tc.client = ws
	t.Cleanup(func() { _ = ws.Close() })
	<-ready
	return tc
}

func (tc *testConn) OnMessage(b []byte) { tc.messages <- b }
func (tc *testConn) OnClose(r Reason)   { tc.closed <- r }
func (tc *testConn) OnDrained()         { tc.drained <- struct{}{} }
func (tc *testConn) OnDropped(int)      {}

func connConfig() Config {
	return Config{
		HelloTimeout: time.Minute, WriteTimeout: time.Minute, MaxMessageBytes: 1 << 20,
		MaxQueueBytes: 1 << 20, MaxQueueMessages: 1000, PingInterval: time.Minute, PingProbes: 3,
	}
}

func (tc *testConn) wantClose(t *testing.T, want Reason) {
	t.Helper()
	select {
	case got := <-tc.closed:
		if got != want {
			t.Errorf("closed for %s, want %s", got.Name, want.Name)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not closed, want %s", want.Name)
	}
}

// wantCloseFrame reads until the server's close frame and returns the messages before it.
func (tc *testConn) wantCloseFrame(t *testing.T, code int) (before []string) {
	t.Helper()
	_ = tc.client.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, b, err := tc.client.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			if closed.Code != code {
				t.Errorf("close code %d, want %d", closed.Code, code)
			}
			return before
		case err != nil:
			t.Fatalf("no close frame: %v", err)
		}
		before = append(before, string(b))
	}
}

func TestCloseFlushesQueue(t *testing.T) {
	tc := newTestConn(t, connConfig())
	tc.server.Send([]byte("one"))
	tc.server.Send([]byte("two"))
	tc.server.Close(ClosedShutdown)
	tc.server.Send([]byte("late"))
	if got := tc.wantCloseFrame(t, websocket.CloseGoingAway); strings.Join(got, " ") != "one two" {
		t.Errorf("got %q", got)
	}
	tc.wantClose(t, ClosedShutdown)
}

func TestClientClosesSocket(t *testing.T) {
	tc := newTestConn(t, connConfig())
	msg := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := tc.client.WriteControl(websocket.CloseMessage, msg, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	tc.wantClose(t, ClosedByClient)
	tc = newTestConn(t, connConfig())
	_ = tc.client.Close() // without a close frame
	tc.wantClose(t, ClosedLost)
}

func TestInvalidClientIsClosed(t *testing.T) {
	t.Run("no hello", func(t *testing.T) {
		cfg := connConfig()
		cfg.HelloTimeout = 10 * time.Millisecond
		newTestConn(t, cfg).wantClose(t, ClosedHello)
	})
	t.Run("message too big", func(t *testing.T) {
		cfg := connConfig()
		cfg.MaxMessageBytes = 100
		tc := newTestConn(t, cfg)
		if err := tc.client.WriteMessage(websocket.TextMessage, make([]byte, 101)); err != nil {
			t.Fatal(err)
		}
		tc.wantClose(t, ClosedTooBig)
		tc.wantCloseFrame(t, websocket.CloseMessageTooBig)
	})
	t.Run("binary", func(t *testing.T) {
		tc := newTestConn(t, connConfig())
		if err := tc.client.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		tc.wantClose(t, ClosedBinary)
	})
}

func TestUnansweredPingsCloseSocket(t *testing.T) {
	tc := newTestConn(t, connConfig())
	for range tc.server.cfg.PingProbes {
		tc.server.Ping()
	}
	if err := tc.client.WriteMessage(websocket.TextMessage, pongFrame); err != nil {
		t.Fatal(err)
	}
	if err := tc.client.WriteMessage(websocket.TextMessage, []byte("after the pong")); err != nil {
		t.Fatal(err)
	}
	<-tc.messages // the pong has been read before it
	for range tc.server.cfg.PingProbes {
		tc.server.Ping()
	}
	if tc.server.Ended() {
		t.Fatal("closed although a pong came")
	}
	tc.server.Ping()
	tc.wantClose(t, ClosedPingTimeout)
}

// Other clients can trigger Alive at any rate. The pongs count as the client's messages, so concurrent calls
// must share one ping: otherwise they could get the client closed.
// Pongs are as many as pings, so that they cost a client nothing of its rate; others count.
func TestPongOfEachPingIsNoMessage(t *testing.T) {
	tc := newTestConn(t, connConfig())
	limits := Limits{MessagesPerSecond: 1, MessageBurst: 3}
	tc.server.metered = newMeteredConn(netip.Addr{}, &limits, NewAdmission(nil)) // before the first message
	pong := func() {
		t.Helper()
		if err := tc.client.WriteMessage(websocket.TextMessage, wcs.Pong()); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		tc.server.Ping()
		pong()
		rig.Eventually(t, 20*time.Second, "the pong is read", func() bool { return tc.server.unanswered.Load() == 0 })
	}
	for range 20 {
		pong()
	}
	tc.wantClose(t, ClosedTooManyMessages)
}

func TestConcurrentAliveCallsShareOnePing(t *testing.T) {
	const many = 50
	tc := newTestConn(t, connConfig())
	pings := 0
	tc.client.SetPingHandler(func(string) error {
		pings++
		return tc.client.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute))
	})
	answers := make(chan bool, many)
	for range many {
		go func() { answers <- tc.server.Alive(time.Minute) }()
	}
	rig.Eventually(t, 20*time.Second, "all calls wait for the answer", func() bool {
		tc.server.mu.Lock()
		defer tc.server.mu.Unlock()
		return tc.server.alive != nil && len(tc.server.alive.waiters) == many
	})
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _, _ = tc.client.ReadMessage() // ends with the socket
	}()
	for range many {
		if !<-answers {
			t.Error("Alive is false although the client answered")
		}
	}
	tc.server.mu.Lock()
	if last := tc.server.alive.last; last == last.Round(0) {
		t.Error("the time of the last probe has no monotonic reading: a wall clock that is set back delays the next")
	}
	tc.server.alive.last = time.Now().Add(time.Hour) // no further ping, however slow this machine is
	tc.server.mu.Unlock()
	if tc.server.Alive(10 * time.Millisecond) {
		t.Error("an answer counts for a later call, too")
	}
	tc.server.Close(ClosedShutdown)
	tc.wantClose(t, ClosedShutdown)
	<-read
	if pings != 1 {
		t.Errorf("%d pings were sent", pings)
	}
}

// A congested client is slow, not gone: flooding it must not let another client take its streams.
func TestCongestedClientIsAlive(t *testing.T) {
	tc := newTestConn(t, connConfig())
	large := bytes.Repeat([]byte("x"), 256<<10)
	rig.Eventually(t, 20*time.Second, "a congested client is alive", func() bool {
		for tc.server.TrySend(large) {
		}
		return tc.server.Alive(10 * time.Millisecond)
	})
	tc.server.Close(ClosedShutdown)
	tc.wantCloseFrame(t, websocket.CloseGoingAway)
	tc.wantClose(t, ClosedShutdown)
}

// Messages of other clients use at most half of the queue; the other half is for the server's own messages.
func TestTrySendUsesHalfOfQueue(t *testing.T) {
	cfg := connConfig()
	cfg.MaxQueueMessages = 10
	tc := newTestConn(t, cfg)
	large := bytes.Repeat([]byte("x"), 256<<10)
	if tc.server.TrySend(make([]byte, cfg.MaxQueueBytes+1)) {
		t.Error("a frame larger than the queue is accepted")
	}
	taken := 0
	for tc.server.TrySend(large) { // until the network is congested, too
		taken++
	}
	if taken == 0 {
		t.Error("no frame is accepted")
	}
	tc.server.Send([]byte("important"))
	tc.server.Close(ClosedShutdown)
	got := tc.wantCloseFrame(t, websocket.CloseGoingAway)
	if len(got) != taken+1 || got[len(got)-1] != "important" {
		t.Errorf("%d messages received, want %d and one", len(got), taken)
	}
	if tc.server.TrySend([]byte("late")) {
		t.Error("accepted after the end")
	}
	tc.wantClose(t, ClosedShutdown)
}

// A client that does not read is closed; its queue is dropped and Send does not block.
func TestFullQueueClosesSlowClient(t *testing.T) {
	cfg := connConfig()
	cfg.MaxQueueBytes = 1 << 16
	tc := newTestConn(t, cfg)
	big := make([]byte, 1<<14)
	for range 10000 { // more than any socket buffer holds
		tc.server.Send(big)
		if tc.server.Ended() {
			break
		}
	}
	tc.wantClose(t, ClosedSlow)
	tc.server.mu.Lock()
	defer tc.server.mu.Unlock()
	if len(tc.server.queue) != 0 {
		t.Errorf("%d messages are still queued", len(tc.server.queue))
	}
}

func TestWriteTimeoutClosesStalledClient(t *testing.T) {
	cfg := connConfig()
	cfg.WriteTimeout = 50 * time.Millisecond
	cfg.MaxQueueBytes = 1 << 30
	cfg.MaxQueueMessages = 1 << 20
	tc := newTestConn(t, cfg)
	big := make([]byte, 1<<20)
	for range 64 { // far more than the socket buffers; the client does not read
		tc.server.Send(big)
	}
	tc.wantClose(t, ClosedSlow)
}

// States of other clients do not use the queue of the client's own messages, whatever their size, and are
// requested again when the queue is empty.
func TestStatesOfOthersDoNotCloseSlowClient(t *testing.T) {
	cfg := connConfig()
	cfg.MaxQueueMessages, cfg.WriteTimeout = 10, 50*time.Millisecond
	tc := newTestConn(t, cfg)
	large := bytes.Repeat([]byte("x"), 256<<10)
	sent := 0
	for tc.server.HasRoom() { // until the network is congested, too
		tc.server.SendState(large)
		sent++
	}
	for range 2 * cfg.MaxQueueMessages {
		tc.server.SendState(large)
		sent++
	}
	tc.server.Send([]byte("own"))
	rig.Eventually(t, 20*time.Second, "a write that other clients can block is waited for", func() bool {
		tc.server.mu.Lock()
		defer tc.server.mu.Unlock()
		return tc.server.writeLimit(nil) >= cfg.DetectionTime()
	})
	if tc.server.Ended() {
		t.Fatal("closed for what other clients caused")
	}
	for range sent + 1 {
		if _, _, err := tc.client.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	<-tc.drained
	if !tc.server.HasRoom() {
		t.Error("no room in an empty queue")
	}
}
