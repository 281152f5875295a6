package livekit

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/rs/zerolog"

	"wcsgateway/translate"
)

// The offer follows 1 ms after LiveKit has allowed the last track, and not before: LiveKit binds a track only
// after it has allowed it (docs/livekit-notes.md#players-over-signalling). The clock is that of the bubble,
// which stands still while LiveKit or the gateway runs.
func TestOfferFollowsLastPermissionAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const apart = 5 * time.Millisecond // of LiveKit's messages
		var sent, offered time.Time
		s := &standIn{version: "1.13.5", tracks: 2, closeCode: make(chan int, 1)}
		s.beforeSend = func() {
			<-time.After(apart)
			sent = time.Now()
		}
		s.steps = func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			if m.GetOffer() != nil {
				offered = time.Now()
				if pause := offered.Sub(sent); pause != time.Millisecond {
					t.Errorf("the offer was sent %v after the last permission, want 1ms", pause)
				}
			}
			return s.usual(m)
		}
		c := s.connect(t)
		n := &playNegotiation{ctx: t.Context(), c: c, ways: newPlayWays(PlayAuto, zerolog.Nop()), o: translate.PlayOffer{
			Publisher: "pub", Offer: allTracks(standInOffer),
		}}
		start := time.Now()
		if _, err := n.run(); err != nil {
			t.Fatal(err)
		}
		if early := 3*apart + time.Millisecond; offered.Sub(start) < early { // the join and two permissions
			t.Errorf("the offer was sent after %v, before both tracks were allowed", offered.Sub(start))
		}
		c.finish()
		c.drain()
		s.wantClose(t)
	})
}

// connect returns a connection to a stand-in that has no network, for a clock that stands still.
func (s *standIn) connect(t *testing.T) *signalConn {
	t.Helper()
	near, far := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- far
	srv := &http.Server{Handler: s}
	go func() { _ = srv.Serve(l) }() // http.ErrServerClosed
	t.Cleanup(func() { _ = srv.Close() })
	address, err := signalURL("http://livekit", "")
	if err != nil {
		t.Fatal(err)
	}
	dialer := &websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
	ws, res, err := dialer.DialContext(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // gorilla has read the beginning
	return &signalConn{ws: ws}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
