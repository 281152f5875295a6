package main

import (
	"net"
	"net/netip"
)

// networkAddress returns an IPv4 address of this machine other than a loopback one: that of its default
// route, else the first one of an interface, which can be a virtual one. ok is false if there is none.
func networkAddress() (addr netip.Addr, ok bool) {
	if c, err := net.Dial("udp4", "198.51.100.1:9"); err == nil { // it chooses a route and sends nothing
		defer func() { _ = c.Close() }() // nothing was sent
		if local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); usable(local) {
			return local, true
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, false
	}
	return firstUsable(all)
}

func firstUsable(all []net.Addr) (netip.Addr, bool) {
	for _, one := range all {
		prefix, err := netip.ParsePrefix(one.String())
		if err == nil && usable(prefix.Addr()) {
			return prefix.Addr(), true
		}
	}
	return netip.Addr{}, false
}

func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast()
}
