package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Candidates is the set of the kinds of ICE candidates in an SDP: the type, the transport and the scope of
// the address. It is for logs, and holds no addresses.
type Candidates uint32

// The parts of a kind. Scopes are those of candidateScope.
var (
	candidateTypes      = []string{"host", "srflx", "prflx", "relay"}
	candidateTransports = []string{"udp", "tcp"}
	candidateScopes     = []string{"loopback", "private", "public", "name"}
)

// candidatesOf returns the kinds of the candidates of all m-lines.
func candidatesOf(d *sdp.SessionDescription) (c Candidates) {
	for _, m := range d.MediaDescriptions {
		for _, a := range m.Attributes {
			if a.IsICECandidate() {
				c.add(a.Value)
			}
		}
	}
	return c
}

// add parses <foundation> <component> <transport> <priority> <address> <port> typ <type> … (RFC 8839 §5.1).
// Other text has no effect.
func (c *Candidates) add(candidate string) {
	fields := strings.Fields(candidate)
	if len(fields) < 8 {
		return
	}
	typ := slices.Index(candidateTypes, strings.ToLower(fields[7]))
	transport := slices.Index(candidateTransports, strings.ToLower(fields[2]))
	if typ >= 0 && transport >= 0 {
		*c |= 1 << candidateBit(typ, transport, candidateScope(fields[4]))
	}
}

func candidateBit(typ, transport, scope int) int {
	return (typ*len(candidateTransports)+transport)*len(candidateScopes) + scope
}

// sharedAddresses are those between a provider's NAT and its customers (RFC 6598).
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// candidateScope returns the index of an address in candidateScopes: whether the same machine, the same
// network or every client can reach it.
func candidateScope(address string) int {
	ip, err := netip.ParseAddr(address)
	ip = ip.Unmap()
	switch {
	case err != nil:
		return 3
	case ip.IsLoopback():
		return 0
	case ip.IsPrivate(), ip.IsLinkLocalUnicast(), sharedAddresses.Contains(ip):
		return 1
	}
	return 2
}

// String lists the kinds, as in "host udp private, host tcp private"; "none" without candidates.
func (c Candidates) String() string {
	var kinds []string
	for t, typ := range candidateTypes {
		for p, transport := range candidateTransports {
			for s, scope := range candidateScopes {
				if c&(1<<candidateBit(t, p, s)) != 0 {
					kinds = append(kinds, fmt.Sprintf("%s %s %s", typ, transport, scope))
				}
			}
		}
	}
	if kinds == nil {
		return "none"
	}
	return strings.Join(kinds, ", ")
}
