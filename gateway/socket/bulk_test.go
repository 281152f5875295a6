package socket

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// bulkOf returns a Bulk that counts in done when it is done.
func bulkOf(done *atomic.Int32, frames ...[]byte) *Bulk {
	return &Bulk{Frames: frames, Done: func() { done.Add(1) }}
}

func (tc *testConn) read(t *testing.T) []byte {
	t.Helper()
	_ = tc.client.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, b, err := tc.client.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func awaitDone(t *testing.T, done *atomic.Int32, want int32) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for done.Load() != want {
		select {
		case <-limit:
			t.Fatalf("%d bulks are done, want %d", done.Load(), want)
		case <-tick.C:
		}
	}
}

// A Bulk larger than the queue is delivered whole, and other messages are sent between its frames. The client
// takes several times the limit of one message, which is not too slow for a Bulk.
func TestBulkLargerThanQueueIsDelivered(t *testing.T) {
	cfg := connConfig()
	cfg.MaxQueueBytes, cfg.WriteTimeout = 1000, time.Second
	tc := newTestConn(t, cfg)
	tc.client.SetReadLimit(1 << 30)
	var done atomic.Int32
	large := bytes.Repeat([]byte("x"), 16<<20) // more than the kernel buffers for a client that does not read
	tc.server.SendBulk(bulkOf(&done, large, large, []byte("end")))
	<-time.After(3 * cfg.WriteTimeout) // the client is slow
	tc.server.Send([]byte("between"))
	var order []string
	for len(order) < 4 {
		b := tc.read(t)
		if len(b) == len(large) {
			b = []byte("large")
		}
		order = append(order, string(b))
	}
	if got := strings.Join(order, " "); got != "large between large end" {
		t.Errorf("messages came as %s", got)
	}
	awaitDone(t, &done, 1)
}

func TestBulkIsDoneWhenSocketCloses(t *testing.T) {
	tc := newTestConn(t, connConfig())
	var done atomic.Int32
	large := bytes.Repeat([]byte("x"), 16<<20)
	for range 3 {
		tc.server.SendBulk(bulkOf(&done, large, large))
	}
	if n := done.Load(); n != 0 {
		t.Errorf("%d bulks are done although the client has not read", n)
	}
	_ = tc.client.Close() // without a close frame
	tc.wantClose(t, ClosedLost)
	awaitDone(t, &done, 3)
	tc.server.SendBulk(bulkOf(&done, []byte("late")))
	awaitDone(t, &done, 4)
}

// A client that reads nothing is closed, though later than for a small message.
func TestBulkForStalledClientTimesOut(t *testing.T) {
	cfg := connConfig()
	cfg.WriteTimeout = 50 * time.Millisecond
	tc := newTestConn(t, cfg)
	if got, want := tc.server.writeLimit(make([]byte, 2*slowestClient)), cfg.WriteTimeout+2*time.Second; got != want {
		t.Errorf("limit of a large message is %v, want %v", got, want)
	}
	var done atomic.Int32
	var frames [][]byte
	for range 400 { // small frames have a short limit; together they exceed the kernel's buffers
		frames = append(frames, bytes.Repeat([]byte("x"), 64<<10))
	}
	tc.server.SendBulk(bulkOf(&done, frames...))
	tc.wantClose(t, ClosedSlow)
	awaitDone(t, &done, 1)
}
