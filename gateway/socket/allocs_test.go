//go:build !race

package socket

import (
	"testing"

	"github.com/gorilla/websocket"
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
