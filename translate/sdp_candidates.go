package translate

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Candidate is an ICE candidate of an SDP.
type Candidate struct {
	Type      string // host, srflx, prflx or relay
	Transport string // udp or tcp
	Address   string // an IP address or a name
	Port      string
}

// String returns the candidate as udp 192.0.2.1:7882.
func (c Candidate) String() string {
	if strings.Contains(c.Address, ":") {
		return c.Transport + " [" + c.Address + "]:" + c.Port
	}
	return c.Transport + " " + c.Address + ":" + c.Port
}

// AnswerCandidates returns the candidates of all m-lines of an answer, each once. The error wraps
// ErrMalformedSDP.
func AnswerCandidates(answer string) ([]Candidate, error) {
	d, err := parseSDP(answer)
	if err != nil {
		return nil, err
	}
	var all []Candidate
	for c := range candidates(d) {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all, nil
}

// candidates iterates over the candidates of all m-lines. Other text is left out.
func candidates(d *sdp.SessionDescription) iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for _, m := range d.MediaDescriptions {
			for _, a := range m.Attributes {
				if !a.IsICECandidate() {
					continue
				}
				if c, ok := parseCandidate(a.Value); ok && !yield(c) {
					return
				}
			}
		}
	}
}

// parseCandidate parses <foundation> <component> <transport> <priority> <address> <port> typ <type> …
// (RFC 8839 §5.1).
func parseCandidate(text string) (c Candidate, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 8 {
		return c, false
	}
	c = Candidate{Type: strings.ToLower(fields[7]), Transport: strings.ToLower(fields[2]), Address: fields[4], Port: fields[5]}
	return c, slices.Contains(candidateTypes, c.Type) && slices.Contains(candidateTransports, c.Transport)
}

// Scope is which clients can reach an address.
type Scope string

// Scopes of addresses: that of a name depends on the resolver.
const (
	ScopeLoopback Scope = "loopback" // those on the same machine
	ScopePrivate  Scope = "private"  // those in the same network
	ScopePublic   Scope = "public"
	ScopeName     Scope = "name"
)

// sharedAddresses are those between a provider's NAT and its customers (RFC 6598).
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// Scope returns the scope of the candidate's address.
func (c Candidate) Scope() Scope {
	ip, err := netip.ParseAddr(c.Address)
	ip = ip.Unmap()
	switch {
	case err != nil:
		return ScopeName
	case ip.IsLoopback():
		return ScopeLoopback
	case ip.IsPrivate(), ip.IsLinkLocalUnicast(), sharedAddresses.Contains(ip):
		return ScopePrivate
	}
	return ScopePublic
}

// Candidates is the set of the kinds of ICE candidates in an SDP: the type, the transport and the scope of
// the address. It is for logs, and holds no addresses.
type Candidates uint32

// The parts of a kind.
var (
	candidateTypes      = []string{"host", "srflx", "prflx", "relay"}
	candidateTransports = []string{"udp", "tcp"}
	candidateScopes     = []Scope{ScopeLoopback, ScopePrivate, ScopePublic, ScopeName}
)

// candidatesOf returns the kinds of the candidates of all m-lines.
func candidatesOf(d *sdp.SessionDescription) (kinds Candidates) {
	for c := range candidates(d) {
		kinds |= c.kind()
	}
	return kinds
}

func (c Candidate) kind() Candidates {
	return 1 << candidateBit(slices.Index(candidateTypes, c.Type), slices.Index(candidateTransports, c.Transport), slices.Index(candidateScopes, c.Scope()))
}

func candidateBit(typ, transport, scope int) int {
	return (typ*len(candidateTransports)+transport)*len(candidateScopes) + scope
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
