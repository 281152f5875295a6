// Package realip finds the address of the client behind an HTTP request that came through proxies, and the
// key by which limits per address count. The WebSocket listeners and the REST API use it.
package realip

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the trusted proxy networks. X-Forwarded-For is honoured only from these.
type Proxies []netip.Prefix

// Trust reports whether a is the address of a trusted proxy.
func (p Proxies) Trust(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(a) })
}

// Client returns the address of the client that sent the request: the nearest hop that is not a trusted
// proxy. Each proxy appends the address it saw to X-Forwarded-For, so a client can only forge what is left of
// that hop, or the whole header if no trusted proxy sent it. The port is 0 unless the proxy sends it. The
// result is the zero value if the request has no valid remote address.
func (p Proxies) Client(r *http.Request) netip.AddrPort {
	hop, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	hop = netip.AddrPortFrom(hop.Addr().Unmap(), hop.Port())
	headers := r.Header["X-Forwarded-For"]
	for len(headers) > 0 && p.Trust(hop.Addr()) {
		last := len(headers) - 1
		for rest := headers[last]; rest != "" && p.Trust(hop.Addr()); {
			i := strings.LastIndexByte(rest, ',')
			next, ok := parseHop(rest[i+1:])
			if !ok {
				return hop // the trusted proxy wrote something else: only its own address is known
			}
			hop, rest = next, rest[:max(i, 0)]
		}
		headers = headers[:last]
	}
	return hop
}

// parseHop parses an element of X-Forwarded-For: an address, with a port if the proxy adds one.
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

// LimitKey returns the address by which limits count a client: an IPv4 address itself, or the /64 network of
// an IPv6 address, because one client has all addresses of its network.
func LimitKey(a netip.Addr) netip.Addr {
	if a.Is6() {
		if network, err := a.WithZone("").Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}
