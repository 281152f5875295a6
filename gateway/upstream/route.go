package upstream

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// Route decides which server serves a client of an application. The zero value is for applications whose
// clients are all served by this gateway.
type Route struct {
	Rules   []Rule  // the first that matches decides
	Share   int     // percent of the other clients that this gateway serves instead of Default
	Salt    string  // another salt selects other clients for the share
	Default *Server // of all other clients; nil: this gateway

	// Transcripts is how many transcripts of spliced sessions are kept (docs/migrate-from-wcs.md#transcripts).
	Transcripts int
}

// Rule is a condition on clients, and the server of those that match. All members that are set must match.
type Rule struct {
	SIP           bool                // the client sent a SIP account
	Login         *Pattern            // of the SIP account or of the room API
	Custom        map[string]*Pattern // members of custom
	ClientVersion *Pattern
	Provider      string         // the client's first media provider
	Networks      []netip.Prefix // one of them has the client's address
	To            *Server        // nil: this gateway
}

// Client is what the gateway knows of a client when it chooses the client's server.
type Client struct {
	App        string
	Connection wcs.Connection
	Address    netip.Addr
	Party      netip.Addr // realip.LimitKey of Address
}

// Upstream reports whether the route can lead to another server.
func (r *Route) Upstream() bool {
	return r.Default != nil || slices.ContainsFunc(r.Rules, func(rule Rule) bool { return rule.To != nil })
}

// For returns the server of a client, nil for this gateway.
func (r *Route) For(c Client) *Server {
	for i := range r.Rules {
		if r.Rules[i].matches(c) {
			return r.Rules[i].To
		}
	}
	if r.Default == nil || r.inShare(c) {
		return nil
	}
	return r.Default
}

// inShare reports whether a client belongs to the share. The same client always has the same position, on
// every pod, so that a larger share has all clients of a smaller one. Without a login the client's address
// counts, for IPv6 its /64 network.
func (r *Route) inShare(c Client) bool {
	identity := "login\x00" + c.Connection.Login()
	if c.Connection.Login() == "" {
		identity = "address\x00" + c.Party.String()
	}
	sum := sha256.Sum256([]byte(c.App + "\x00" + r.Salt + "\x00" + identity))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(max(r.Share, 0))
}

func (r *Rule) matches(c Client) bool {
	switch {
	case r.SIP && !c.SIP(),
		!r.Login.matches(c.Connection.Login()),
		!r.ClientVersion.matches(text(c.Connection.Sent["clientVersion"])),
		r.Provider != "" && (len(c.Connection.MediaProviders) == 0 || c.Connection.MediaProviders[0] != r.Provider),
		len(r.Networks) > 0 && !slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(c.Address) }):
		return false
	}
	if len(r.Custom) == 0 {
		return true
	}
	var custom map[string]json.RawMessage
	_ = json.Unmarshal(c.Connection.Sent["custom"], &custom) // custom is any JSON; without members nothing matches
	for member, pattern := range r.Custom {
		if !pattern.matches(text(custom[member])) {
			return false
		}
	}
	return true
}

// SIP reports whether the client sent any member of a SIP account (docs/wcs-protocol.md#connection).
func (c Client) SIP() bool {
	for member, value := range c.Connection.Sent {
		if strings.HasPrefix(member, "sip") && string(value) != "null" && string(value) != `""` {
			return true
		}
	}
	return false
}

// text returns a member as text: a string without quotes, numbers and booleans as JSON, "" for anything else.
func text(raw json.RawMessage) string {
	if len(raw) == 0 || len(raw) > 4*maxText {
		return ""
	}
	switch raw[0] {
	case '"':
		var s string
		_ = json.Unmarshal(raw, &s) // "" if it is not text
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}

const (
	maxPattern = 256  // bytes of a pattern
	maxText    = 1024 // bytes of a text that is matched
)

// Pattern is a regular expression of a rule. It must match the whole text. A nil Pattern matches everything.
type Pattern struct{ re *regexp.Regexp }

var errPatternSize = errors.New("is longer than 256 bytes")

// ParsePattern parses a pattern in the syntax of RE2. The time of a match is linear in the text.
func ParsePattern(expr string) (*Pattern, error) {
	if len(expr) > maxPattern {
		return nil, errPatternSize
	}
	if _, err := regexp.Compile(expr); err != nil { // before the addition, which would show in the error
		return nil, fmt.Errorf("is not a regular expression: %w", err)
	}
	re, err := regexp.Compile(`^(?:` + expr + `)$`)
	if err != nil {
		return nil, fmt.Errorf("is not a regular expression: %w", err)
	}
	return &Pattern{re}, nil
}

// matches reports whether the whole text matches. A text that is too long does not match.
func (p *Pattern) matches(text string) bool {
	return p == nil || len(text) <= maxText && p.re.MatchString(text)
}
