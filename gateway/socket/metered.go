package socket

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
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

	limits *Limits // set once

	// reader
	sent            *recording // nil: what the client sends is not kept
	bytes, messages bucket
	excess          *rate.Limiter // nil: the client has not waited yet

	owed    atomic.Int32 // messages, by Conn.Owe, that no budget has counted yet
	reading atomic.Bool  // the reader waits for the client, not for its turn or for its session's queue

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // of a throttled read; nil unless there is one
}

func newMeteredConn(key netip.Addr, l *Limits, a *Admission) *MeteredConn {
	return &MeteredConn{Slot: Slot{Key: key, admission: a}, limits: l}
}

func (m *MeteredConn) budget() *burstBudget { return m.admission.budget }

// Read fails with errTooManyBytes when the client exceeds its burst. Before that it is throttled, at most
// until the connection is closed.
func (m *MeteredConn) Read(b []byte) (int, error) {
	m.reading.Store(true)
	n, err := m.Conn.Read(b)
	m.reading.Store(false)
	if m.sent != nil && !m.sent.keep(b[:n]) {
		return 0, websocket.ErrReadLimit
	}
	if m.limits.BytesPerSecond <= 0 || n == 0 {
		return n, err
	}
	now := m.budget().now()
	if m.bytes.take(now, n, tokenRate{float64(m.limits.BytesPerSecond), float64(m.limits.ByteBurst)}) > 0 {
		return 0, errTooManyBytes
	}
	if err := m.throttle(now, &m.bytes, &m.budget().bytes, n, 1); err != nil {
		return 0, err
	}
	return n, err
}

// waitsForClient reports whether the reader has read all that the client sent. It returns true for a nil
// MeteredConn.
func (m *MeteredConn) waitsForClient() bool { return m == nil || m.reading.Load() }

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
	if m == nil || m.limits.MessagesPerSecond <= 0 {
		return nil
	}
	now := m.budget().now()
	if m.messages.take(now, 1, tokenRate{float64(m.limits.MessagesPerSecond), float64(m.limits.MessageBurst)}) > 0 {
		return errTooManyMessages
	}
	n := 1 + m.settle()
	return m.throttle(now, &m.messages, &m.budget().messages, n, n)
}

// settle takes what a message counts in addition from what the client owes.
func (m *MeteredConn) settle() int {
	n := min(m.owed.Load(), mostOwed)
	m.owed.Add(-n)
	return int(n)
}

// throttle waits until the pod's budget has n messages or bytes for the client. own has counted what was read
// already. It fails when the connection is closed: while very many clients flood, a client can be closed for
// unanswered pings before its turn comes. It fails with errExcess when the client's burst does not end. For
// that a wait counts divided by longer: what the client owes is no flood.
func (m *MeteredConn) throttle(now time.Duration, own *bucket, pod *budget, n, longer int) error {
	turns, inBurst := pod.calm, own.above(now)
	if inBurst {
		turns = pod.bursts
	}
	if turns.take(now, n) {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background()) // only here, because few connections ever need it
	defer cancel()
	if !m.onClose(cancel) {
		return net.ErrClosed
	}
	defer m.onClose(nil)
	if !inBurst {
		_, err := m.await(ctx, now, turns, own, n)
		return err
	}
	ctx, cancelWait := context.WithTimeout(ctx, time.Duration(longer)*excessTime)
	defer cancelWait()
	contended, err := m.await(ctx, now, turns, own, n)
	if contended {
		if m.excess == nil {
			m.excess = newExcess()
		}
		if waited := (m.budget().now() - now) / time.Duration(longer); !m.excess.AllowN(time.Now(), int(waited.Microseconds())) && !errors.Is(err, context.Canceled) {
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

func (m *MeteredConn) await(ctx context.Context, since time.Duration, t *turns, own *bucket, n int) (contended bool, err error) {
	defer func() { own.hold(since, m.budget().now()) }()
	return t.wait(ctx, m.Key, n)
}

// hijacker puts a MeteredConn between the HTTP server's connection and the upgrader.
type hijacker struct {
	http.ResponseWriter
	metered *MeteredConn
}

// Hijack is called by the upgrader.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	server, ok := h.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, http.ErrNotSupported
	}
	c, rw, err := server.Hijack()
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
