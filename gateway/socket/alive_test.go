package socket

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// A pod does not read a client whose session's queue is full. It cannot know whether that client answers.
func TestClientThatIsNotReadCountsAsAlive(t *testing.T) {
	const limit = 50 * time.Millisecond
	tc := newTestConn(t, connConfig())
	isRead := tc.server.metered.waitsForClient
	send := func() {
		t.Helper()
		if err := tc.client.WriteMessage(websocket.TextMessage, []byte("m")); err != nil {
			t.Fatal(err)
		}
	}
	// The client answers pings only when it reads.
	rig.Eventually(t, 20*time.Second, "the client is read", isRead)
	if tc.server.Alive(limit) {
		t.Error("a client that does not answer counts as alive")
	}

	for range cap(tc.messages) {
		send()
	}
	rig.Eventually(t, 20*time.Second, "the queue is full", func() bool { return len(tc.messages) == cap(tc.messages) && isRead() })
	send()
	rig.Eventually(t, 20*time.Second, "the client is not read any more", func() bool { return !isRead() })
	if !tc.server.Alive(limit) {
		t.Error("a client that is not read counts as dead")
	}

	for range cap(tc.messages) + 1 {
		<-tc.messages
	}
	rig.Eventually(t, 20*time.Second, "the client is read again", isRead)
	if tc.server.Alive(limit) {
		t.Error("a client that is read again, and does not answer, counts as alive")
	}
	go func() { _, _, _ = tc.client.ReadMessage() }() // ends with the socket
	if !tc.server.Alive(20 * time.Second) {
		t.Error("a client that answers counts as dead")
	}
}
