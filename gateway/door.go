package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"wcsgateway/gateway/realip"
)

// door counts TCP connections and sockets, from the first byte to the session, and tells which ones are too many.
type door struct {
	mu         sync.Mutex
	handshakes tally // TCP connections whose request has not come, or that are kept open after one
	sockets    tally
	pending    int // sockets that are no session yet
}

// tally counts by party.
type tally struct {
	all int
	of  map[netip.Addr]int
}

// add counts one more, or fewer. Without an address only the sum is kept.
func (t *tally) add(a netip.Addr, n int) {
	t.all += n
	if !a.IsValid() {
		return
	}
	if t.of == nil {
		t.of = make(map[netip.Addr]int)
	}
	if t.of[a] += n; t.of[a] == 0 {
		delete(t.of, a)
	}
}

// place is what a socket takes up. Its methods may be called from any goroutine and repeated.
type place struct {
	door *door
	of   netip.Addr

	// guarded by door.mu
	pending bool
	left    bool
}

// enter takes a place for a socket, or tells why there is none.
func (d *door) enter(p *place, l *Limits) (r refusal, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.Connections > 0 && d.sockets.all >= l.Connections:
		return refusedConnections, false
	case l.ConnectionsPerAddress > 0 && d.sockets.of[p.of] >= l.ConnectionsPerAddress:
		return refusedAddress, false
	case l.Pending > 0 && d.pending >= l.Pending:
		return refusedPending, false
	}
	d.sockets.add(p.of, 1)
	d.pending++
	p.door, p.pending = d, true
	return "", true
}

// settle notes that the client has said who it is.
func (p *place) settle() {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	if p.pending {
		p.pending = false
		p.door.pending--
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.settle()
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	if !p.left {
		p.left = true
		p.door.sockets.add(p.of, -1)
	}
}

// knock counts a TCP connection and tells whether it may stay.
func (d *door) knock(a netip.Addr, l *Limits) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handshakes.add(a, 1)
	return (l.Pending == 0 || d.handshakes.all <= l.Pending) &&
		(l.ConnectionsPerAddress == 0 || d.handshakes.of[a] <= l.ConnectionsPerAddress)
}

// passed undoes knock.
func (d *door) passed(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handshakes.add(a, -1)
}

// ConnState is for the http.Server of a public listener: it bounds the TCP connections that are no socket, which wait for
// a request for as long as the server's timeouts let them. One too many is closed without a word: its request has not come.
func (g *Gateway) ConnState(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !g.door.knock(g.peerOf(c), &g.live().limits) {
			g.metrics.refused(refusedHandshakes)
			_ = c.Close() // nothing was said on it
		}
	case http.StateHijacked, http.StateClosed:
		g.door.passed(g.peerOf(c))
	case http.StateActive, http.StateIdle: // still no socket
	}
}

// peerOf is whose TCP connection it is, if it can be told before anything was read: a proxy's stands for many clients.
func (g *Gateway) peerOf(c net.Conn) netip.Addr {
	if g.cfg.ProxyProtocol {
		return netip.Addr{} // a header will tell
	}
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if a := ap.Addr().Unmap(); err == nil && !g.cfg.Proxies.Trust(a) {
		return realip.LimitKey(a)
	}
	return netip.Addr{}
}
