package gateway

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// stalledConn is a client's connection whose reader can be stopped. The pipe has no buffer: the pod's queue
// fills from the first message on.
type stalledConn struct {
	net.Conn
	turn chan struct{} // is empty while the reader is stopped
}

func (s *stalledConn) Read(b []byte) (int, error) {
	s.turn <- <-s.turn
	return s.Conn.Read(b)
}

// dialStalled opens a socket whose reader is stopped between stop and start.
func (w *world) dialStalled(t *testing.T, pod string) (c *rig.Client, stop, start func()) {
	t.Helper()
	s := &stalledConn{turn: make(chan struct{}, 1)}
	stop, start = func() { <-s.turn }, func() { s.turn <- struct{}{} }
	start()
	c = rig.DialWith(t, &websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := w.net.dial(t.Context(), network, addr)
		s.Conn = conn
		return s, err
	}}, w.urls[pod])
	return c, stop, start
}

// States that other clients change are sent to a stalled client when it reads again, as one difference. They
// never close its socket.
func TestOtherClientsDoNotCloseStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, func(c *Config) {
			withRooms(c)
			c.Conn.MaxQueueMessages, c.Conn.MaxQueueBytes, c.Conn.WriteTimeout = 20, 1<<16, time.Second
		})
		conn, stop, start := w.dialStalled(t, podA)
		victim := rig.LoginAs(conn, "roomApp", "victim")
		pub, other := w.enter(t, podA, "pub"), w.enter(t, podA, "other")
		pub.Join("r")
		victim.Join("r", "pub")
		pub.WantEvents("JOINED victim")
		w.publishIn(t, pub, "m1", "r-pub-1", "r")
		victim.WantEvents("PUBLISHED pub r-pub-1")
		w.playUp(t, victim.Client, "play", "r-pub-1")
		synctest.Wait()
		victim.Discard()

		stop()
		for i := range 50 {
			other.Join("r", "pub r-pub-1, victim")
			pub.WantEvents("JOINED other")
			sendEvent(pub.Client, "m1", "audioMuted")
			if got := other.Say("r", "victim", fmt.Sprint("flood ", i)); got != "ACCEPTED" {
				t.Errorf("message %d: %s", i, got)
			}
			sendEvent(pub.Client, "m1", "audioUnmuted")
			other.Leave("r")
			pub.WantEvents("LEFT other")
		}
		other.Join("r", "pub r-pub-1, victim")
		pub.WantEvents("JOINED other")
		sendEvent(pub.Client, "m1", "videoMuted")
		time.Sleep(2 * time.Second) // longer than the deadline of a write
		synctest.Wait()
		start()
		synctest.Wait()

		if !victim.Open() {
			t.Fatalf("closed: %v", victim.AwaitClosed())
		}
		inRoom, muted, events := false, "", 0
		for victim.Count("OnDataEvent") > 0 {
			var e struct{ Payload map[string]any }
			victim.Await("OnDataEvent").Arg(t, 0, &e)
			events++
			switch text := fmt.Sprint(e.Payload); {
			case strings.Contains(text, "JOINED"):
				if inRoom {
					t.Error("JOINED for a member")
				}
				inRoom = true
			case strings.Contains(text, "LEFT"):
				if !inRoom {
					t.Error("LEFT for a login that is no member")
				}
				inRoom = false
			case strings.Contains(text, "MESSAGE") && !inRoom:
				t.Error("MESSAGE of a login that is no member")
			case strings.Contains(text, "STATE"):
				t.Error("a second STATE")
			}
		}
		for victim.Count("notifyStreamEvent") > 0 {
			muted = nextStreamEvent(t, victim.Client).Type
			events++
		}
		if !inRoom || muted != "videoMuted" {
			t.Errorf("other in the room: %v; last stream event %q", inRoom, muted)
		}
		if events > 30 {
			t.Errorf("%d events were queued for a stalled client", events)
		}
		wantAlive(t, victim.Client)
	})
}
