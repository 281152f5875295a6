package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks of the proxies whose word about a client's address is taken.
type Proxies []netip.Prefix

func (p Proxies) trust(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(a) })
}

// clientOf is the address of the client that a request comes from: the nearest hop that is no trusted proxy. Each proxy
// appends the address that it saw to X-Forwarded-For, so everything left of that hop is the client's own invention, and the
// whole header is if no trusted proxy sent it. The port is 0 unless the proxy tells it.
func (p Proxies) clientOf(r *http.Request) netip.AddrPort {
	hop, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	hop = netip.AddrPortFrom(hop.Addr().Unmap(), hop.Port())
	headers := r.Header["X-Forwarded-For"]
	for len(headers) > 0 && p.trust(hop.Addr()) {
		last := len(headers) - 1
		for rest := headers[last]; rest != "" && p.trust(hop.Addr()); {
			i := strings.LastIndexByte(rest, ',')
			next, ok := parseHop(rest[i+1:])
			if !ok {
				return hop // a trusted proxy that writes something else: its own address is all there is
			}
			hop, rest = next, rest[:max(i, 0)]
		}
		headers = headers[:last]
	}
	return hop
}

// parseHop reads an element of X-Forwarded-For: an address, with a port if the proxy adds one.
func parseHop(text string) (netip.AddrPort, bool) {
	text = strings.TrimSpace(text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(ap.Addr().WithZone("").Unmap(), ap.Port()), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.WithZone("").Unmap(), 0), true
}

// party is what limits per address count: an IPv4 address, or the /64 network of an IPv6 one, since a client has all of it.
func party(a netip.Addr) netip.Addr {
	if a.Is6() {
		if network, err := a.WithZone("").Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}

// Party is what limits by address count: an IPv4 address, or the /64 network of an IPv6 one.
func Party(a netip.Addr) netip.Addr { return party(a) }

// Client is the address of whoever has sent a request; see listen.trustedProxies.
func (p Proxies) Client(r *http.Request) netip.AddrPort { return p.clientOf(r) }
