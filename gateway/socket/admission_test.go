package socket

import (
	"net/netip"
	"testing"
)

func TestAdmissionRejectsAboveEachLimit(t *testing.T) {
	a := NewAdmission()
	limits := Limits{Connections: 3, ConnectionsPerAddress: 2, Pending: 2}
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
	acquire("192.0.2.2", RejectPending)
	first.Established()
	first.Established()
	third := acquire("192.0.2.2", "")
	acquire("192.0.2.3", RejectConnections)
	second.Release()
	second.Release()
	third.Established()
	acquire("192.0.2.3", "").Release()
	first.Release()
	third.Release()
	if a.sockets.all != 0 || a.pending != 0 || len(a.sockets.byKey) != 0 {
		t.Errorf("left over: %+v, pending %d", a.sockets, a.pending)
	}
}

func TestHandshakesAreBounded(t *testing.T) {
	a := NewAdmission()
	key, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	limits := Limits{ConnectionsPerAddress: 1, Pending: 2}
	if !a.TCPOpened(key, &limits) || a.TCPOpened(key, &limits) {
		t.Error("the limit per address is not 1")
	}
	if a.TCPOpened(other, &limits) {
		t.Error("the limit of all handshakes is not 2")
	}
	a.TCPClosed(key)
	a.TCPClosed(key)
	a.TCPClosed(other)
	if a.handshakes.all != 0 || len(a.handshakes.byKey) != 0 {
		t.Errorf("left over: %+v", a.handshakes)
	}
}
