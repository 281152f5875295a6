package socket

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/gorilla/websocket"
)

// A client that is gone, or has closed its socket, leaves nothing behind for the time in which others can
// read a close frame: an attacker opens and closes thousands of sockets a second. No time passes in the
// bubble, so a timer that holds a Conn is still there.
func TestSocketThatIsGoneIsForgottenAtOnce(t *testing.T) {
	for name, end := range map[string]struct {
		by     func(net.Conn)
		reason Reason
	}{
		"lost":             {func(c net.Conn) { _ = c.Close() }, ClosedLost},
		"against protocol": {func(c net.Conn) { _, _ = c.Write(compressedFrame) }, ClosedLost},
		"closed by client": {func(c net.Conn) { _, _ = c.Write(closeFrame) }, ClosedByClient},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, client) }()
				handlers := &reasons{}
				conn := serve(t, server, handlers)
				end.by(client)
				synctest.Wait()
				runtime.GC()
				if conn.Value() != nil {
					t.Error("the connection is still held")
				}
				if handlers.last != end.reason {
					t.Errorf("closed for %s", handlers.last.Name)
				}
				_ = client.Close()
			})
		})
	}
}

var (
	compressedFrame = []byte{0x80 | 0x40 | websocket.TextMessage, 0x80 | 1, 0, 0, 0, 0, 'x'}
	closeFrame      = []byte{0x80 | websocket.CloseMessage, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe8} // 1000
)

// serve upgrades a connection and serves it.
func serve(t *testing.T, server net.Conn, h Handlers) weak.Pointer[Conn] {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{
		"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	ws, err := NewUpgrader().ws.Upgrade(taken{hijackable{server}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := connConfig()
	c := New(ws, &cfg, nil, h)
	go c.Serve(nil)
	return weak.Make(c)
}

// taken is a hijackable response with buffers.
type taken struct{ hijackable }

// Hijack implements http.Hijacker.
func (h taken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// reasons keeps why a socket was closed.
type reasons struct{ last Reason }

func (r *reasons) OnMessage([]byte) {}
func (r *reasons) OnClose(e Reason) { r.last = e }
func (r *reasons) OnDrained()       {}
func (r *reasons) OnDropped(int)    {}
