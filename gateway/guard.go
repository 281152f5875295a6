package gateway

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"time"
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
	limits *Limits // when the socket was opened

	// reader
	bytes, messages bucket
}

// bucket is a limit of a rate in 8 bytes, of which each socket has two (rate.Limiter takes 80): the time, since the door
// was made, at which all that was taken from it is paid back.
type bucket time.Duration

// take takes n, unless the debt would then be more than what burst is worth. No rate is no limit.
func (b *bucket) take(now time.Duration, n, perSecond, burst int64) bool {
	if perSecond <= 0 {
		return true
	}
	worth := func(n int64) time.Duration {
		return time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
	}
	paid := max(time.Duration(*b), now) + worth(n)
	if paid-now > worth(burst) {
		return false
	}
	*b = bucket(paid)
	return true
}

// Read fails with errTooManyBytes when the client has sent too much.
func (g *guard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if n > 0 && !g.bytes.take(time.Since(g.door.made), int64(n), g.limits.BytesPerSecond, g.limits.ByteBurst) {
		return 0, errTooManyBytes
	}
	return n, err
}

// Close closes the connection and gives its place back.
func (g *guard) Close() error {
	g.leave()
	return g.Conn.Close()
}

// countMessage fails with errTooManyMessages when the client has said too much. A nil guard counts nothing.
func (g *guard) countMessage() error {
	if g == nil || g.messages.take(time.Since(g.door.made), 1, int64(g.limits.MessagesPerSecond), int64(g.limits.MessageBurst)) {
		return nil
	}
	return errTooManyMessages
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
