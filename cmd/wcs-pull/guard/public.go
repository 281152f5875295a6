package guard

import (
	"net/netip"
	"slices"
)

// reserved are the networks that are not reachable through the Internet, or lead to others: the special
// registries of IANA for IPv4, and those for IPv6 inside 2000::/3, outside of which nothing is public.
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23",                  // protocol assignments, among them Teredo
	"2001:db8::/32", "3fff::/20", // documentation
	"2002::/16",         // 6to4: contains any IPv4 address
	"2620:4f:8000::/48", // AS112
)

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // an IPv4 address behind a translator
	global = netip.MustParsePrefix("2000::/3")
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// Public reports whether an address belongs to the public Internet. An IPv4 address in IPv6 form counts as
// the IPv4 address.
func Public(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsValid() || a.Is6() && !global.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}
