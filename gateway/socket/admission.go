package socket

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"wcsgateway/gateway/realip"
)

// Rejection is the limit that rejected a connection: a label value of wcs_refusals_total. "" is none.
type Rejection string

// Rejections of Acquire and ConnState.
const (
	RejectConnections Rejection = "connections" // Limits.Connections
	RejectAddress     Rejection = "address"     // Limits.ConnectionsPerAddress
	RejectPending     Rejection = "pending"     // Limits.Pending, of sockets
	RejectHandshakes  Rejection = "handshakes"  // Limits.Pending or ConnectionsPerAddress, of TCP connections
)

// Admission counts TCP connections and sockets, from the first byte to the session, and rejects those over a
// limit. Its methods may be called from any goroutine.
type Admission struct {
	budget *burstBudget

	mu         sync.Mutex
	handshakes PerAddressCount // TCP connections whose request has not come, or that are kept open after one
	sockets    PerAddressCount
	pending    int // sockets without a session yet
}

// NewAdmission returns an Admission without connections.
func NewAdmission() *Admission { return &Admission{budget: newBurstBudget()} }

// PerAddressCount counts by realip.LimitKey. It is not safe for concurrent use.
type PerAddressCount struct {
	all   int
	byKey map[netip.Addr]int
}

// Add adds n, which can be negative. With an invalid key only the total changes.
func (c *PerAddressCount) Add(key netip.Addr, n int) {
	c.all += n
	if !key.IsValid() {
		return
	}
	if c.byKey == nil {
		c.byKey = make(map[netip.Addr]int)
	}
	if c.byKey[key] += n; c.byKey[key] == 0 {
		delete(c.byKey, key)
	}
}

// All returns the total.
func (c *PerAddressCount) All() int { return c.all }

// Of returns the count of a key.
func (c *PerAddressCount) Of(key netip.Addr) int { return c.byKey[key] }

// Slot is a socket's share of the limits. Its methods may be called from any goroutine, and repeatedly.
type Slot struct {
	Key netip.Addr // the client's realip.LimitKey

	admission *Admission

	// guarded by admission.mu
	pending  bool
	released bool
}

// Acquire returns a connection with a slot for a client with the given realip.LimitKey, or the limit that
// rejects it. The caller passes the connection to Upgrade, which makes the socket release the slot when it is
// closed.
func (a *Admission) Acquire(key netip.Addr, l *Limits) (*MeteredConn, Rejection) {
	if r := a.reserve(key, l); r != "" {
		return nil, r
	}
	m := newMeteredConn(l, a.budget)
	m.Slot = Slot{Key: key, admission: a, pending: true}
	return m, ""
}

func (a *Admission) reserve(key netip.Addr, l *Limits) Rejection {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.Connections > 0 && a.sockets.all >= l.Connections:
		return RejectConnections
	case l.ConnectionsPerAddress > 0 && a.sockets.byKey[key] >= l.ConnectionsPerAddress:
		return RejectAddress
	case l.Pending > 0 && a.pending >= l.Pending:
		return RejectPending
	}
	a.sockets.Add(key, 1)
	a.pending++
	return ""
}

// Pending returns the number of sockets without a session yet.
func (a *Admission) Pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pending
}

// Established records that the client sent its connection command: the socket is no longer pending.
func (s *Slot) Established() {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	s.establish()
}

// establish needs admission.mu.
func (s *Slot) establish() {
	if s.pending {
		s.pending = false
		s.admission.pending--
	}
}

// Release releases the slot.
func (s *Slot) Release() {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	s.establish()
	if !s.released {
		s.released = true
		s.admission.sockets.Add(s.Key, -1)
	}
}

// TCPOpened counts a TCP connection and reports whether it is within the limits.
func (a *Admission) TCPOpened(key netip.Addr, l *Limits) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.Add(key, 1)
	return (l.Pending == 0 || a.handshakes.all <= l.Pending) &&
		(l.ConnectionsPerAddress == 0 || a.handshakes.byKey[key] <= l.ConnectionsPerAddress)
}

// TCPClosed undoes TCPOpened.
func (a *Admission) TCPClosed(key netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.Add(key, -1)
}

// ConnState is for the http.Server of a public listener. It bounds the TCP connections that are not a socket,
// which wait for a request for as long as the server's timeouts allow. A connection over a limit is closed
// without a response, because its request has not come; the result is then RejectHandshakes. Connections from
// addresses that trusted accepts are only counted in total, because a proxy's address stands for many
// clients.
func (a *Admission) ConnState(c net.Conn, s http.ConnState, trusted func(netip.Addr) bool, l *Limits) Rejection {
	switch s {
	case http.StateNew:
		if !a.TCPOpened(limitKey(c, trusted), l) {
			_ = c.Close() // no byte was sent or read on it
			return RejectHandshakes
		}
	case http.StateHijacked, http.StateClosed:
		a.TCPClosed(limitKey(c, trusted))
	case http.StateActive, http.StateIdle: // still not a socket
	}
	return ""
}

// limitKey returns the key of a TCP connection, or the zero value if it is not known before the first byte is
// read.
func limitKey(c net.Conn, trusted func(netip.Addr) bool) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if a := ap.Addr().Unmap(); err == nil && !trusted(a) {
		return realip.LimitKey(a)
	}
	return netip.Addr{}
}
