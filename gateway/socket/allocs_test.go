//go:build !race

package socket

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Allocations do not depend on the machine.
func TestPingAndMessageAllocateLittle(t *testing.T) {
	tc := newTestConn(t, connConfig())
	pings := testing.AllocsPerRun(100, func() {
		tc.server.Ping()
		tc.server.Pong()
	})
	frame := []byte(`{"message":"x","data":[]}`)
	messages := testing.AllocsPerRun(100, func() {
		if err := tc.client.WriteMessage(websocket.TextMessage, frame); err != nil {
			t.Fatal(err)
		}
		<-tc.messages
	})
	if pings > 1 || messages > 4 {
		t.Errorf("%v allocations for a ping, %v for a message with the client's; want 1 and 4", pings, messages)
	}
}

// What a connection costs that has not sent its whole request: 13 KB in net/http.
func TestConnectionWithoutRequestTakesLittleMemory(t *testing.T) {
	const conns, most = 400, 5 << 10
	f := newFront(t)
	begin := func() {
		if _, err := io.WriteString(f.dial(t), "GET / HTTP/1.1\r\nHost: gateway\r\nX-"); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	used := func() (bytes uint64, goroutines int) {
		runtime.GC()
		runtime.GC() // empties pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()
	}
	bytes, goroutines := used()
	for range conns {
		begin()
	}
	rig.Eventually(t, 20*time.Second, "all are accepted", func() bool { return f.counted() == conns+1 })
	after, more := used()
	if each := int64(after-bytes) / conns; each > most || more-goroutines > conns {
		t.Errorf("%d bytes with the client's, %d goroutines for %d connections", each, more-goroutines, conns)
	}
}

// A message is allocated once, however it is read: a flood must not make the garbage collector run more often
// than what it sends.
func TestMessageIsAllocatedOnce(t *testing.T) {
	tc := newTestConn(t, connConfig())
	for _, size := range []int{1 << 10, 8 << 10, maxPooled - 1} {
		frame := bytes.Repeat([]byte("x"), size)
		send := func() {
			if err := tc.client.WriteMessage(websocket.TextMessage, frame); err != nil {
				t.Fatal(err)
			}
			if got := <-tc.messages; len(got) != size {
				t.Fatalf("%d bytes of %d", len(got), size)
			}
		}
		send() // makes the buffer
		const messages = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range messages {
			send()
		}
		runtime.ReadMemStats(&after)
		if each := int(after.TotalAlloc-before.TotalAlloc) / messages; each > size*3/2+1024 {
			t.Errorf("%d bytes are allocated for a message of %d", each, size)
		}
	}
}
