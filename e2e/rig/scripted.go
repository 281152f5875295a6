package rig

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// ScriptedServer is a WebSocket server that does what a test says: for what a gateway does not send.
type ScriptedServer struct {
	URL string // ws://
	// Status is the response to upgrades; 0: they are accepted.
	Status atomic.Int32

	accepted chan *ScriptedConn
}

// ScriptedConn is a client of a ScriptedServer. Only one goroutine may read, and one write.
type ScriptedConn struct {
	*websocket.Conn
	t       testing.TB
	Request *http.Request // of the upgrade
}

// StartScriptedServer starts a server, which ends with the test.
func StartScriptedServer(t testing.TB) *ScriptedServer {
	t.Helper()
	s := &ScriptedServer{accepted: make(chan *ScriptedConn, 100)}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, EnableCompression: true}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := s.Status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		t.Cleanup(func() { _ = ws.Close() })
		s.accepted <- &ScriptedConn{Conn: ws, t: t, Request: r.Clone(context.WithoutCancel(r.Context()))}
	}))
	t.Cleanup(srv.Close)
	s.URL = "ws" + strings.TrimPrefix(srv.URL, "http")
	return s
}

// Accept returns the next client.
func (s *ScriptedServer) Accept(t testing.TB) *ScriptedConn {
	t.Helper()
	select {
	case c := <-s.accepted:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("no client has come")
		return nil
	}
}

// Accepted returns the number of clients that Accept has not returned.
func (s *ScriptedServer) Accepted() int { return len(s.accepted) }

// Want reads the next message and compares it.
func (c *ScriptedConn) Want(typ int, message string) {
	c.t.Helper()
	WantMessage(c.t, c.Conn, typ, message)
}

// Send sends a message.
func (c *ScriptedConn) Send(typ int, message string) {
	c.t.Helper()
	if err := c.WriteMessage(typ, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// WantMessage reads the next message of a socket and compares it.
func WantMessage(t testing.TB, ws *websocket.Conn, typ int, message string) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	gotType, got, err := ws.ReadMessage()
	if err != nil || gotType != typ || string(got) != message {
		t.Fatalf("message of type %d with %d bytes %.60q, %v; want type %d with %d bytes %.60q", gotType, len(got), got, err, typ, len(message), message)
	}
}

// WantClose reads until a socket is closed and compares the code.
func WantClose(t testing.TB, ws *websocket.Conn, code int) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, _, err := ws.ReadMessage()
		if websocket.IsCloseError(err, code) {
			return
		}
		if err != nil {
			t.Fatalf("socket ended with %v, want close code %d", err, code)
		}
	}
}
