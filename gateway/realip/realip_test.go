package realip

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddressIsLastUntrusted(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.9:4711", nil, "203.0.113.9:4711"},
		{"a header from an untrusted sender", "203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9:4711"},
		{"a proxy", "10.0.0.1:4711", []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"a proxy that sends the port", "10.0.0.1:4711", []string{"203.0.113.9:5555"}, "203.0.113.9:5555"},
		{"a forged address", "10.0.0.1:4711", []string{"1.1.1.1, 10.9.9.9, 203.0.113.9"}, "203.0.113.9:0"},
		{"a forged second header", "10.0.0.1:4711", []string{"1.1.1.1", "203.0.113.9"}, "203.0.113.9:0"},
		{"two proxies", "10.0.0.1:4711", []string{"1.1.1.1,203.0.113.9 , 10.0.0.2"}, "203.0.113.9:0"},
		{"two proxies, two headers", "10.0.0.1:4711", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9:0"},
		{"a client in a trusted network", "10.0.0.1:4711", []string{"10.0.0.7, 10.0.0.2"}, "10.0.0.7:0"},
		{"an empty header", "10.0.0.1:4711", []string{""}, "10.0.0.1:4711"},
		{"garbage from the proxy", "10.0.0.1:4711", []string{"203.0.113.9, unknown"}, "10.0.0.1:4711"},
		{"garbage from the client", "10.0.0.1:4711", []string{"unknown, 203.0.113.9"}, "203.0.113.9:0"},
		{"IPv6", "[fd00::1]:4711", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 with port and zone", "[fd00::1]:4711", []string{"[fe80::1%eth0]:77"}, "[fe80::1]:77"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:4711", []string{"::ffff:203.0.113.9"}, "203.0.113.9:0"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.forwarded != nil {
			r.Header["X-Forwarded-For"] = tt.forwarded
		}
		if got := proxies.Client(r).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestLimitKeyOfIPv6IsItsNetwork(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2")
	if LimitKey(a) != LimitKey(b) || LimitKey(a) == LimitKey(netip.MustParseAddr("2001:db8:0:2::1")) {
		t.Error("addresses of one /64 have different keys, or two networks have the same")
	}
	if v4 := netip.MustParseAddr("203.0.113.9"); LimitKey(v4) != v4 {
		t.Errorf("key of %v is %v", v4, LimitKey(v4))
	}
}
