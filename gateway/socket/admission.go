package socket

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/waiting"
)

// Rejection is the limit that rejected a connection: a label value of wcs_refusals_total. "" is none.
type Rejection string

// Rejections of Acquire and ConnState.
const (
	RejectConnections Rejection = "connections" // Limits.Connections
	RejectAddress     Rejection = "address"     // Limits.ConnectionsPerAddress
	RejectPending     Rejection = "pending"     // Limits.Pending, of sockets: the one that waited longest
	RejectHandshakes  Rejection = "handshakes"  // Limits.Pending or ConnectionsPerAddress, of TCP connections: the oldest
)

// Rejections of sockets that are open (Reason.Rejection).
const (
	RejectHello       Rejection = "hello_timeout" // no connection in time
	RejectMessages    Rejection = "messages"      // too many at a time
	RejectBytes       Rejection = "bytes"         // too many at a time
	RejectExcess      Rejection = "excess"        // a burst did not end while others waited
	RejectMessageSize Rejection = "message_size"  // one message
	RejectSlow        Rejection = "slow"          // the client does not read
	RejectUnanswered  Rejection = "ping_timeout"  // also a frame that never ends
)

// Admission counts TCP connections and sockets, from the first byte to the session, and rejects those over a
// limit. Where too many wait, it closes the oldest of the address that has most, not the newcomer. Its
// methods may be called from any goroutine.
type Admission struct {
	// set once
	budget   *burstBudget
	rejected func(Rejection) // is called for each connection that it closes

	mu         sync.Mutex
	handshakes waiting.Table[net.Conn] // TCP connections whose request has not come, or that are kept open after one
	opened     map[net.Conn]*waiting.Entry[net.Conn]
	sockets    int                         // open ones
	byAddress  map[netip.Addr]int          // the sockets of each known realip.LimitKey
	pending    waiting.Table[*MeteredConn] // sockets without a session yet
}

// NewAdmission returns an Admission without connections. It calls rejected for each connection that it
// closes.
func NewAdmission(rejected func(Rejection)) *Admission {
	return &Admission{
		budget: newBurstBudget(), rejected: rejected, opened: make(map[net.Conn]*waiting.Entry[net.Conn]), byAddress: make(map[netip.Addr]int),
	}
}

// count adds n sockets of a client; n can be negative. It needs mu.
func (a *Admission) count(key netip.Addr, n int) {
	a.sockets += n
	if !key.IsValid() {
		return
	}
	if a.byAddress[key] += n; a.byAddress[key] == 0 {
		delete(a.byAddress, key)
	}
}

// Slot is a socket's share of the limits. Its methods may be called from any goroutine, and repeatedly.
type Slot struct {
	Key netip.Addr // the client's realip.LimitKey

	admission *Admission

	// guarded by admission.mu
	pending  *waiting.Entry[*MeteredConn] // nil: not pending
	released bool
}

// Acquire returns a connection with a slot for a client with the given realip.LimitKey, or the limit that
// rejects it. The caller passes the connection to Upgrade, which makes the socket release the slot when it is
// closed.
func (a *Admission) Acquire(key netip.Addr, l *Limits) (*MeteredConn, Rejection) {
	m := newMeteredConn(key, l, a)
	lost, r := a.reserve(m, l)
	if lost != nil {
		_ = lost.Value.Close()
		a.rejected(RejectPending)
	}
	if r != "" {
		return nil, r
	}
	return m, ""
}

func (a *Admission) reserve(m *MeteredConn, l *Limits) (lost *waiting.Entry[*MeteredConn], r Rejection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.Connections > 0 && a.sockets >= l.Connections:
		return nil, RejectConnections
	case l.ConnectionsPerAddress > 0 && a.byAddress[m.Key] >= l.ConnectionsPerAddress:
		return nil, RejectAddress
	}
	a.count(m.Key, 1)
	m.Slot.pending, lost = a.pending.Add(m.Key, m, 0, l.Pending)
	return lost, ""
}

// Pending returns the number of sockets without a session yet.
func (a *Admission) Pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pending.Len()
}

// Established records that the client sent its connection command: the socket is no longer pending.
func (s *Slot) Established() {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	s.established()
}

// established needs admission.mu.
func (s *Slot) established() {
	s.admission.pending.Remove(s.pending)
	s.pending = nil
}

// Release releases the slot.
func (s *Slot) Release() {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	s.established()
	if !s.released {
		s.released = true
		s.admission.count(s.Key, -1)
	}
}

// ConnState is for the http.Server of a public listener. It bounds the TCP connections that are not a socket,
// which wait for a request for as long as the server's timeouts allow. A connection that must make room is
// closed without a response. Connections from addresses that trusted accepts count as those of one address,
// because a proxy's address stands for many clients, and are not bounded by the limit per address. A nil
// trusted accepts all, without asking for their addresses: that would wait for a PROXY header.
func (a *Admission) ConnState(c net.Conn, s http.ConnState, trusted func(netip.Addr) bool, l *Limits) {
	switch s {
	case http.StateNew:
		if lost := a.open(c, limitKey(c, trusted), l); lost != nil {
			abort(lost)
			a.rejected(RejectHandshakes)
		}
	case http.StateHijacked, http.StateClosed:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.handshakes.Remove(a.opened[c])
		delete(a.opened, c)
	case http.StateActive, http.StateIdle: // still not a socket
	}
}

// open counts a TCP connection and returns the one that must make room for it, nil if none.
func (a *Admission) open(c net.Conn, key netip.Addr, l *Limits) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, lost := a.handshakes.Add(key, c, l.ConnectionsPerAddress, l.Pending)
	a.opened[c] = e
	if lost == nil {
		return nil
	}
	return lost.Value
}

// AbortHandshakes closes all TCP connections that are not a socket.
func (a *Admission) AbortHandshakes() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.opened {
		abort(c)
	}
}

// abort closes a connection at once. Closing a TLS connection could wait for its peer.
func abort(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.Close() // ended either way
}

// limitKey returns the key of a TCP connection, or the zero value if it is not known before the first byte is
// read.
func limitKey(c net.Conn, trusted func(netip.Addr) bool) netip.Addr {
	if trusted == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if a := ap.Addr().Unmap(); err == nil && !trusted(a) {
		return realip.LimitKey(a)
	}
	return netip.Addr{}
}
