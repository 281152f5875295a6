package socket

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A frame of which the kernel takes a part is completed before anything else is written.
func TestFramesArriveWholeAndInOrderAtSlowReader(t *testing.T) {
	cfg := connConfig()
	cfg.MaxQueueMessages, cfg.MaxQueueBytes = 10_000, 100<<20
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket")) // TCP rarely takes a part
	if err != nil {
		t.Fatal(err)
	}
	tc := newTestConnOn(t, cfg, l)
	if err := tc.server.metered.Conn.(*net.UnixConn).SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	var sent [][]byte
	split := false
	for n := range 300 {
		group := make([][]byte, 1+(n+2)%3)
		for i := range group {
			group[i] = bytes.Repeat([]byte(fmt.Sprintf("%04d.", len(sent)+i)), 1000-n)
		}
		sent = append(sent, group...)
		tc.server.Send(group...)
		tc.server.mu.Lock()
		split = split || tc.server.split
		tc.server.mu.Unlock()
		if n%100 == 0 { // is not answered within a frame
			if err := tc.client.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !split {
		t.Error("the kernel took every frame whole")
	}
	for i, want := range sent {
		if _, got, err := tc.client.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message %d: error %v, %.20q... of %d bytes, want %.20q... of %d", i, err, got, len(got), want, len(want))
		}
	}
}

func TestFramesOfEachLengthAreWrittenBySender(t *testing.T) {
	tc := newTestConn(t, connConfig())
	for _, n := range []int{0, 1, 125, 126, maxDirect, maxDirect + 1} {
		frame := bytes.Repeat([]byte("x"), n)
		tc.server.mu.Lock()
		direct := tc.server.sendNow([][]byte{frame}, n, false)
		tc.server.mu.Unlock()
		if want := n <= maxDirect; direct != want {
			t.Fatalf("%d bytes are written by the sender: %v", n, direct)
		}
		if !direct {
			continue
		}
		if _, got, err := tc.client.ReadMessage(); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("%d bytes: error %v, %d received", n, err, len(got))
		}
	}
}
