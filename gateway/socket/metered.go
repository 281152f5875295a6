package socket

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// Errors of a client that exceeds its rates. They end the reader.
var (
	errTooManyBytes    = errors.New("too many bytes at a time")
	errTooManyMessages = errors.New("too many messages at a time")
	errExcess          = errors.New("waits for its turn most of the time")
)

// MeteredConn is a client's TCP connection with its rate limits and its Slot. It sits below the WebSocket, so
// that input that never becomes a message counts too: control frames, and fragments without end.
type MeteredConn struct {
	net.Conn // set by the upgrade
	Slot

	budget *burstBudget

	// reader
	sent            *recording // nil: what the client sends is not kept
	bytes, messages bucket
	excess          *rate.Limiter // nil: the client has not waited yet

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // of a throttled read; nil unless there is one
}

func newMeteredConn(l *Limits, b *burstBudget) *MeteredConn {
	return &MeteredConn{
		budget:   b,
		bytes:    bucket{Limiter: limiter(float64(l.BytesPerSecond), int(l.ByteBurst))},
		messages: bucket{Limiter: limiter(float64(l.MessagesPerSecond), l.MessageBurst)},
	}
}

// Read fails with errTooManyBytes when the client exceeds its burst. Before that it is throttled, at most
// until the connection is closed.
func (m *MeteredConn) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if m.sent != nil && !m.sent.keep(b[:n]) {
		return 0, websocket.ErrReadLimit
	}
	if m.bytes.Limiter == nil || n == 0 {
		return n, err
	}
	if !m.bytes.AllowN(time.Now(), n) {
		return 0, errTooManyBytes
	}
	if err := m.throttle(&m.bytes, &m.budget.bytes, n); err != nil {
		return 0, err
	}
	return n, err
}

// SyscallConn implements syscall.Conn. It fails on a connection with TLS or a PROXY header.
func (m *MeteredConn) SyscallConn() (syscall.RawConn, error) {
	if c, ok := m.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
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

// CountMessage fails with errTooManyMessages when the client exceeds its burst. Before that it is throttled.
// A nil MeteredConn counts nothing.
func (m *MeteredConn) CountMessage() error {
	if m == nil || m.messages.Limiter == nil {
		return nil
	}
	if !m.messages.Allow() {
		return errTooManyMessages
	}
	return m.throttle(&m.messages, &m.budget.messages, 1)
}

// throttle waits until the pod's budget has n messages or bytes for the client. own has counted them already.
// It fails when the connection is closed: while very many clients flood, a client can be closed for
// unanswered pings before its turn comes. It fails with errExcess when the client's burst does not end.
func (m *MeteredConn) throttle(own *bucket, pod *budget, n int) error {
	turns, inBurst := pod.calm, own.above()
	if inBurst {
		turns = pod.bursts
	}
	if turns.take(n) {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background()) // only here, because few connections ever need it
	defer cancel()
	if !m.onClose(cancel) {
		return net.ErrClosed
	}
	defer m.onClose(nil)
	if !inBurst {
		_, err := m.await(ctx, turns, own, n)
		return err
	}
	ctx, cancelWait := context.WithTimeout(ctx, excessTime)
	defer cancelWait()
	since := time.Now()
	contended, err := m.await(ctx, turns, own, n)
	if contended {
		if m.excess == nil {
			m.excess = newExcess()
		}
		if now := time.Now(); !m.excess.AllowN(now, int(now.Sub(since).Microseconds())) && !errors.Is(err, context.Canceled) {
			return errExcess
		}
	}
	return err
}

// onClose sets what Close calls for a throttled read. It returns false if the connection is closed.
func (m *MeteredConn) onClose(cancel context.CancelFunc) (open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancel = cancel
	return !m.closed
}

func (m *MeteredConn) await(ctx context.Context, t *turns, own *bucket, n int) (contended bool, err error) {
	defer own.hold(own.Tokens())
	return t.wait(ctx, m.Key, n)
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
