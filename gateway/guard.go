package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Faults of a client that sends more than it may. The reader's end is their effect.
var (
	errTooManyBytes    = errors.New("too many bytes at a time")
	errTooManyMessages = errors.New("too many messages at a time")
)

// guard is a client's TCP connection, and what is counted about it. It sits below the WebSocket, so that what never becomes
// a message counts too: control frames, and fragments without end.
type guard struct {
	net.Conn
	place

	bytes    *rate.Limiter // nil: no limit
	messages *rate.Limiter // nil: no limit
	excess   *excess

	mu     sync.Mutex
	closed bool
	end    context.CancelFunc // of the waiting for its turn, while there is some
}

func newGuard(l *Limits, x *excess) *guard {
	return &guard{
		excess:   x,
		bytes:    limiter(float64(l.BytesPerSecond), int(l.ByteBurst)),
		messages: limiter(float64(l.MessagesPerSecond), l.MessageBurst),
	}
}

// Read fails with errTooManyBytes when the client has sent too much. Before that it is slow, at most until the connection is closed.
func (g *guard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if g.bytes == nil || n == 0 {
		return n, err
	}
	if !g.bytes.AllowN(time.Now(), n) {
		return 0, errTooManyBytes
	}
	if held := g.holdBack(g.bytes, g.excess.bytes, n); held != nil {
		return 0, held
	}
	return n, err
}

// Close closes the connection and gives its place back.
func (g *guard) Close() error {
	g.mu.Lock()
	g.closed = true
	if g.end != nil {
		g.end()
	}
	g.mu.Unlock()
	g.leave()
	return g.Conn.Close()
}

// countMessage fails with errTooManyMessages when the client has said too much. Before that it is slow. A nil guard counts nothing.
func (g *guard) countMessage() error {
	if g == nil || g.messages == nil {
		return nil
	}
	if !g.messages.Allow() {
		return errTooManyMessages
	}
	return g.holdBack(g.messages, g.excess.messages, 1)
}

// holdBack waits, if a client is in excess, until n more of its messages or bytes may be read. own has counted them. It fails when the
// connection is closed: where very many flood, a client's turn may come only after it was given up for not answering pings.
func (g *guard) holdBack(own, all *rate.Limiter, n int) error {
	if used := float64(own.Burst()) - own.Tokens(); used <= float64(own.Limit())/allowance {
		return nil
	}
	open, end := context.WithCancel(context.Background()) // here, because few ever need it
	defer end()
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return net.ErrClosed
	}
	g.end = end
	g.mu.Unlock()
	return all.WaitN(open, min(n, all.Burst()))
}

// hijacker puts the guard between the HTTP server's connection and the upgrader.
type hijacker struct {
	http.ResponseWriter
	guard *guard
}

// Hijack is called by the upgrader.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.guard.Conn = c
	return h.guard, rw, nil
}
