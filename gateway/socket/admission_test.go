package socket

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

func TestAdmissionRejectsAboveEachLimit(t *testing.T) {
	var closed []Rejection
	a := NewAdmission(func(r Rejection) { closed = append(closed, r) })
	limits := Limits{Connections: 3, ConnectionsPerAddress: 2}
	acquire := func(address string, want Rejection) *MeteredConn {
		t.Helper()
		m, got := a.Acquire(netip.MustParseAddr(address), &limits)
		if got != want || (m != nil) != (want == "") {
			t.Fatalf("%s: %q, want %q", address, got, want)
		}
		return m
	}
	first, second := acquire("192.0.2.1", ""), acquire("192.0.2.1", "")
	acquire("192.0.2.1", RejectAddress)
	third := acquire("192.0.2.2", "")
	acquire("192.0.2.3", RejectConnections)
	first.Established()
	first.Established()
	second.Release()
	second.Release()
	third.Established()
	if third.pending != nil {
		t.Error("an established socket keeps its entry of those that wait")
	}
	acquire("192.0.2.3", "").Release()
	first.Release()
	third.Release()
	if a.sockets != 0 || a.pending.Len() != 0 || len(a.byAddress) != 0 || len(closed) != 0 {
		t.Errorf("left over: %+v, pending %d, closed %v", a.sockets, a.pending.Len(), closed)
	}
}

// fakeTCP is a connection that records its end.
type fakeTCP struct {
	net.Conn
	remote net.Addr
	closed bool
}

func (c *fakeTCP) RemoteAddr() net.Addr { return c.remote }
func (c *fakeTCP) Close() error         { c.closed = true; return nil }

func tcpFrom(ip string) *fakeTCP { return &fakeTCP{remote: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}} }

// Clients are admitted while one address holds thousands of sockets that never send their connection command.
func TestNewcomerIsAdmittedWhileOneAddressHoldsAllPendingSockets(t *testing.T) {
	rejections := 0
	a := NewAdmission(func(r Rejection) {
		if r == RejectPending {
			rejections++
		}
	})
	limits := Limits{Pending: 100}
	attacker, client := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var silent []*fakeTCP
	for range 300 {
		m, r := a.Acquire(attacker, &limits)
		if r != "" {
			t.Fatal(r)
		}
		c := tcpFrom("192.0.2.1")
		m.Conn = c
		silent = append(silent, c)
	}
	modest, r := a.Acquire(client, &limits)
	if r != "" {
		t.Fatal(r)
	}
	newer, _ := a.Acquire(attacker, &limits)
	own := tcpFrom("192.0.2.2")
	modest.Conn = own
	open := 0
	for i, c := range silent {
		if !c.closed {
			open++
		} else if i > 0 && !silent[i-1].closed {
			t.Errorf("socket %d is closed before an older one", i)
		}
	}
	if own.closed || a.Pending() != 100 || open != 98 || rejections != 202 {
		t.Errorf("client closed %v, %d pending, %d of the attacker open, %d rejections", own.closed, a.Pending(), open+1, rejections)
	}
	// A socket that must go before its upgrade fails to upgrade.
	if err := newer.Close(); err != nil || a.Pending() != 99 {
		t.Errorf("%v, %d pending", err, a.Pending())
	}
	if _, _, err := (hijacker{hijackable{tcpFrom("192.0.2.1")}, newer}).Hijack(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("upgrade of a closed connection: %v", err)
	}
}

func TestNewcomerIsServedWhileOneAddressHoldsAllHandshakes(t *testing.T) {
	rejections := 0
	a := NewAdmission(func(Rejection) { rejections++ })
	limits := Limits{Pending: 50}
	direct := func(netip.Addr) bool { return false }
	var silent []*fakeTCP
	for range 5100 {
		c := tcpFrom("192.0.2.1")
		silent = append(silent, c)
		a.ConnState(c, http.StateNew, direct, &limits)
		for _, s := range silent[max(0, len(silent)-60):] { // as net/http does
			if s.closed {
				a.ConnState(s, http.StateClosed, direct, &limits)
			}
		}
	}
	own := tcpFrom("192.0.2.2")
	a.ConnState(own, http.StateNew, direct, &limits)
	a.ConnState(tcpFrom("192.0.2.1"), http.StateNew, direct, &limits)
	if own.closed || a.handshakes.Len() != 50 || rejections != 5052 {
		t.Errorf("client closed %v, %d handshakes, %d rejections", own.closed, a.handshakes.Len(), rejections)
	}
	a.ConnState(own, http.StateHijacked, direct, &limits)
	for _, s := range silent {
		a.ConnState(s, http.StateClosed, direct, &limits)
	}
	if a.handshakes.Len() != 1 || len(a.opened) != 1 {
		t.Errorf("left over: %d, %d", a.handshakes.Len(), len(a.opened))
	}
}

// Behind a proxy the address is not known: the oldest connection makes room, and the limit per address does
// not count.
func TestOldestHandshakeMakesRoomBehindProxy(t *testing.T) {
	a := NewAdmission(func(Rejection) {})
	limits := Limits{Pending: 2, ConnectionsPerAddress: 1}
	proxied := func(netip.Addr) bool { return true }
	conns := []*fakeTCP{tcpFrom("10.0.0.1"), tcpFrom("10.0.0.1"), tcpFrom("10.0.0.1")}
	for _, c := range conns {
		a.ConnState(c, http.StateNew, proxied, &limits)
	}
	if !conns[0].closed || conns[1].closed || conns[2].closed {
		t.Errorf("closed: %v %v %v, want the oldest", conns[0].closed, conns[1].closed, conns[2].closed)
	}
}

// hijackable is a response whose connection can be taken.
type hijackable struct{ conn net.Conn }

func (h hijackable) Header() http.Header         { return nil }
func (h hijackable) Write(b []byte) (int, error) { return len(b), nil }
func (h hijackable) WriteHeader(int)             {}

// Hijack implements http.Hijacker.
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }
