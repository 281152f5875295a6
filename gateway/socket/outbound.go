package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Outbound is a WebSocket that the gateway has opened to another WCS server. One goroutine may read, and one
// write. Close may be called from any goroutine.
type Outbound struct {
	ws  *websocket.Conn
	max int
}

const (
	outboundBuffer  = 4096     // bytes of each direction
	outboundSkipped = 64 << 20 // bytes of a message that is read, and dropped, before the socket is closed
	maxResponse     = 16 << 10 // bytes of the response to the upgrade request
)

// outboundBuffers has the write buffers of all Outbounds, which an idle one does not need.
var outboundBuffers sync.Pool

// NewOutbound sends the upgrade request on a connection. url has the scheme ws, also for a connection with
// TLS. It closes the connection when it returns an error.
func NewOutbound(ctx context.Context, c net.Conn, url string, header http.Header, maxMessage int) (*Outbound, error) {
	limited := &limitedConn{Conn: c, left: maxResponse}
	d := websocket.Dialer{
		ReadBufferSize: outboundBuffer, WriteBufferSize: outboundBuffer, WriteBufferPool: &outboundBuffers,
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return limited, nil },
	}
	ws, response, err := d.DialContext(ctx, url, header)
	if err != nil {
		_ = c.Close() // not used
		if response != nil {
			_ = response.Body.Close() // the connection is closed
		}
		return nil, err
	}
	limited.left = -1
	ws.SetReadLimit(outboundSkipped)
	return &Outbound{ws, maxMessage}, nil
}

// limitedConn limits what is read, unless left is negative. It belongs to the reader.
type limitedConn struct {
	net.Conn
	left int
}

var errResponseSize = errors.New("its response is too long")

func (c *limitedConn) Read(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(b)
	}
	if c.left == 0 {
		return 0, errResponseSize
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// Read returns the next message. ok is false for one that is binary or too long, whose content is dropped.
func (o *Outbound) Read() (frame []byte, ok bool, err error) {
	kind, r, err := o.ws.NextReader()
	if err != nil {
		return nil, false, err
	}
	if kind != websocket.TextMessage {
		return nil, false, nil // the next call drops it
	}
	frame, err = io.ReadAll(io.LimitReader(r, int64(o.max)+1))
	if err != nil || len(frame) > o.max {
		return nil, false, err
	}
	return frame, true, nil
}

// SetReadDeadline ends a Read at a time; the zero time is none.
func (o *Outbound) SetReadDeadline(at time.Time) {
	_ = o.ws.SetReadDeadline(at) // fails only on a dead socket, which the read reports
}

// Write sends a message within the given time.
func (o *Outbound) Write(frame []byte, limit time.Duration) error {
	_ = o.ws.SetWriteDeadline(time.Now().Add(limit)) // fails only on a dead socket, which the write reports
	return o.ws.WriteMessage(websocket.TextMessage, frame)
}

// Close sends a close frame, if it can be sent at once, and closes the socket. It can be repeated.
func (o *Outbound) Close() {
	_ = o.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(100*time.Millisecond)) // the server may be gone
	_ = o.ws.Close()                                                                                                                                    // ended either way
}
