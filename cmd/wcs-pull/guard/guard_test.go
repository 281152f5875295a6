package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnlyAddressesOfTheInternetArePublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "2a00:1450:4001::5": true,
		"::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "100.64.0.1": false, "127.0.0.1": false, "127.1.2.3": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.1": false, "192.0.2.1": false,
		"192.168.1.1": false, "198.18.0.1": false, "203.0.113.9": false, "224.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a00:1": false, "64:ff9b:1::a00:1": false, "2002:7f00:1::": false,
		"2001:0:7f00:1::": false, "2001:db8::1": false, "fc00::1": false, "fd12::1": false, "fe80::1": false,
		"fec0::1": false, "ff02::1": false, "100::1": false, "::ffff:0:127.0.0.1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v, want %v", text, got, want)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// fakeNet resolves names from a table, one answer after the other, and records what is dialled.
type fakeNet struct {
	answers map[string][][]string
	dialled []string
	fail    map[string]error
}

func (f *fakeNet) guard(private ...string) *Guard {
	g := New(prefixes(private...))
	g.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		left := f.answers[host]
		if len(left) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		if len(left) > 1 {
			f.answers[host] = left[1:]
		}
		var list []netip.Addr
		for _, text := range left[0] {
			list = append(list, netip.MustParseAddr(text))
		}
		return list, nil
	}
	g.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		f.dialled = append(f.dialled, address)
		if err := f.fail[address]; err != nil {
			return nil, err
		}
		conn, other := net.Pipe()
		_ = other.Close()
		return conn, nil
	}
	return g
}

// try dials, and returns what was dialled since.
func (f *fakeNet) try(t *testing.T, n *Network, address string) ([]string, error) {
	t.Helper()
	f.dialled = nil
	conn, err := n.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return f.dialled, err
}

func TestForbiddenAddressesAreNotDialled(t *testing.T) {
	f := &fakeNet{answers: map[string][][]string{
		"private.example":    {{"10.0.0.1"}},
		"mapped.example":     {{"::ffff:127.0.0.1"}},
		"translated.example": {{"64:ff9b::7f00:1"}},
		"metadata.example":   {{"169.254.169.254"}},
		"2130706433":         {{"127.0.0.1"}}, // as a resolver of the C library reads it
		"0x7f.1":             {{"127.0.0.1"}},
		"0177.0.0.1":         {{"127.0.0.1"}},
	}}
	for _, address := range []string{
		"127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80", "[64:ff9b::7f00:1]:80", "[fe80::1%eth0]:80",
		"[2606:4700::1111%eth0]:80", "0.0.0.0:80", "[::]:80", "private.example:80", "mapped.example:80", "translated.example:80",
		"metadata.example:80", "2130706433:80", "0x7f.1:80", "0177.0.0.1:80", "8.8.8.8:0", "8.8.8.8:http", "8.8.8.8:65536",
	} {
		host, _, _ := net.SplitHostPort(address)
		dialled, err := f.try(t, f.guard().Network(host), address)
		if !errors.Is(err, ErrForbidden) || len(dialled) != 0 {
			t.Errorf("%s: dialled %q, error %v, want ErrForbidden", address, dialled, err)
		}
	}
}

func TestNameThatChangesIsDialledAtItsCheckedAddress(t *testing.T) {
	f := &fakeNet{answers: map[string][][]string{"changes.example": {{"8.8.8.8"}, {"127.0.0.1"}}}}
	n := f.guard().Network("changes.example")
	if dialled, err := f.try(t, n, "changes.example:554"); err != nil || !slices.Equal(dialled, []string{"8.8.8.8:554"}) {
		t.Fatalf("dialled %q, error %v, want the address that was checked", dialled, err)
	}
	if dialled, err := f.try(t, n, "changes.example:554"); !errors.Is(err, ErrForbidden) || len(dialled) != 0 {
		t.Errorf("after the change: dialled %q, error %v, want ErrForbidden", dialled, err)
	}
}

func TestAddressesOfANameAreTriedInOrderWithoutTheForbidden(t *testing.T) {
	f := &fakeNet{
		answers: map[string][][]string{"many.example": {{"10.0.0.1", "8.8.8.8", "127.0.0.1", "::ffff:1.1.1.1", "9.9.9.9"}}},
		fail:    map[string]error{"8.8.8.8:80": errors.New("refused")},
	}
	dialled, err := f.try(t, f.guard().Network("many.example"), "many.example:80")
	if err != nil || !slices.Equal(dialled, []string{"8.8.8.8:80", "1.1.1.1:80"}) {
		t.Errorf("dialled %q, error %v", dialled, err)
	}
}

func TestPrivateNetworksAreReachedOnlyIfNamedAndFromInside(t *testing.T) {
	f := &fakeNet{answers: map[string][][]string{
		"camera.example": {{"10.1.0.5"}}, "other.example": {{"10.2.0.5"}}, "public.example": {{"8.8.8.8"}},
	}}
	g := f.guard("10.1.0.0/16")
	inside := g.Network("Camera.example.")
	if _, err := f.try(t, inside, "10.1.0.9:80"); !errors.Is(err, ErrForbidden) {
		t.Errorf("private address before the source: error %v, want ErrForbidden", err)
	}
	for address, want := range map[string]bool{"camera.example:554": true, "other.example:554": false, "public.example:80": true} {
		if _, err := f.try(t, inside, address); (err == nil) != want {
			t.Errorf("from a camera to %s: error %v, want reached: %v", address, err, want)
		}
	}
	if _, err := f.try(t, inside, "10.1.0.9:80"); err != nil {
		t.Errorf("private address after the source: %v", err)
	}
	outside := g.Network("public.example")
	for _, address := range []string{"public.example:80", "camera.example:80", "10.1.0.5:80"} {
		_, err := f.try(t, outside, address)
		if want := address == "public.example:80"; (err == nil) != want {
			t.Errorf("from a public source to %s: error %v, want reached: %v", address, err, want)
		}
	}
}

func TestUnknownNameIsAnErrorOfDNS(t *testing.T) {
	f := &fakeNet{}
	_, err := f.try(t, f.guard().Network("none.example"), "none.example:80")
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		t.Errorf("error %v, want one of DNS", err)
	}
}
