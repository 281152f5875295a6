package socket

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

// Errors of a client that exceeds its rates. They end the reader.
var (
	errTooManyBytes    = errors.New("too many bytes at a time")
	errTooManyMessages = errors.New("too many messages at a time")
)

// MeteredConn is a client's TCP connection with its rate limits and its Slot. It sits below the WebSocket, so
// that input that never becomes a message counts too: control frames, and fragments without end.
type MeteredConn struct {
	net.Conn // set by the upgrade
	Slot

	bytes    *rate.Limiter // nil: no limit
	messages *rate.Limiter // nil: no limit
	budget   *burstBudget

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // of a throttled read; nil unless there is one
}

func newMeteredConn(l *Limits, b *burstBudget) *MeteredConn {
	return &MeteredConn{
		budget:   b,
		bytes:    limiter(float64(l.BytesPerSecond), int(l.ByteBurst)),
		messages: limiter(float64(l.MessagesPerSecond), l.MessageBurst),
	}
}

// Read fails with errTooManyBytes when the client exceeds its burst. Before that it is throttled, at most
// until the connection is closed.
func (m *MeteredConn) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if m.bytes == nil || n == 0 {
		return n, err
	}
	if !m.bytes.AllowN(time.Now(), n) {
		return 0, errTooManyBytes
	}
	if err := m.throttle(m.bytes, m.budget.bytes, n); err != nil {
		return 0, err
	}
	return n, err
}

// Close closes the connection and releases its slot.
func (m *MeteredConn) Close() error {
	m.mu.Lock()
	m.closed = true
	if m.cancel != nil {
		m.cancel()
	}
	c := m.Conn
	m.mu.Unlock()
	m.Release()
	if c == nil { // not yet upgraded: Hijack fails
		return nil
	}
	return c.Close()
}

// countMessage fails with errTooManyMessages when the client exceeds its burst. Before that it is throttled.
// A nil MeteredConn counts nothing.
func (m *MeteredConn) countMessage() error {
	if m == nil || m.messages == nil {
		return nil
	}
	if !m.messages.Allow() {
		return errTooManyMessages
	}
	return m.throttle(m.messages, m.budget.messages, 1)
}

// throttle waits, if the client is above the threshold, until the pod's budget has n messages or bytes. own
// has counted them already. It fails when the connection is closed: while very many clients flood, a client
// can be closed for unanswered pings before its turn comes.
func (m *MeteredConn) throttle(own, pod *rate.Limiter, n int) error {
	if used := float64(own.Burst()) - own.Tokens(); used <= float64(own.Limit())/burstThreshold {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background()) // only here, because few connections ever need it
	defer cancel()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return net.ErrClosed
	}
	m.cancel = cancel
	m.mu.Unlock()
	return pod.WaitN(ctx, min(n, pod.Burst()))
}

// hijacker puts a MeteredConn between the HTTP server's connection and the upgrader.
type hijacker struct {
	http.ResponseWriter
	metered *MeteredConn
}

// Hijack is called by the upgrader.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.metered.mu.Lock()
	h.metered.Conn = c
	closed := h.metered.closed
	h.metered.mu.Unlock()
	if closed {
		_ = c.Close() // ended either way
		return nil, nil, net.ErrClosed
	}
	return h.metered, rw, nil
}
