// Package origins matches the Origin headers of WebSocket upgrades and HTTP requests against lists of
// patterns. It does no I/O. Any package can use it.
package origins

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Null is the origin of pages without one, such as local files and sandboxed frames.
const Null = "null"

// fileOrigin is the origin that web views of apps send for local files. It counts as Null, as browsers send
// it.
const fileOrigin = "file://"

// MaxLength bounds an Origin header in bytes. A scheme, a host name of 253 bytes and a port are shorter.
const MaxLength = 300

// Errors of Parse, wrapped together with the pattern.
var (
	ErrSyntax   = errors.New("must be [!][scheme://]host[:port], * or null")
	ErrWildcard = errors.New("* must replace whole labels at the front, as in *.example.com, or the rest of one label, as in pr-*.example.com")
)

// List is an ordered list of patterns. The first match decides, as in WCS' allow_domains. An empty list
// allows every origin; a list without a match rejects it.
type List struct {
	patterns []pattern
}

type pattern struct {
	negated bool
	any     bool   // *
	null    bool   // null
	scheme  string // "": any, with any port
	host    *regexp.Regexp
	port    string // "*": any
}

// Parse reads patterns: `https://app.example.com`, `https://*.example.com:8443`, `http://localhost:*`,
// `example.com` (any scheme and port), `*` (any origin, including null), `null`. A pattern with the prefix
// `!` rejects the origins that it matches. `*.` matches one or more labels, but not the bare domain. A
// missing port is the scheme's default. The error joins one error for each bad pattern.
func Parse(texts []string) (List, error) {
	var (
		list   List
		faults []error
	)
	for _, text := range texts {
		p, err := parse(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%q: %w", text, err))
			continue
		}
		list.patterns = append(list.patterns, p)
	}
	return list, errors.Join(faults...)
}

func parse(text string) (p pattern, err error) {
	text, p.negated = strings.CutPrefix(text, "!")
	switch text {
	case "*":
		p.any = true
		return p, nil
	case Null:
		p.null = true
		return p, nil
	}
	rest := text
	if scheme, after, found := strings.Cut(text, "://"); found {
		if defaultPort(scheme) == "" {
			return p, fmt.Errorf("%w; the scheme is http or https", ErrSyntax)
		}
		p.scheme, rest = scheme, after
	}
	host, port := splitPort(rest)
	switch {
	case port != "":
		p.port = port
	case p.scheme == "":
		p.port = "*"
	default:
		p.port = defaultPort(p.scheme)
	}
	if !portPattern.MatchString(p.port) || !hostPattern.MatchString(host) {
		return p, ErrSyntax
	}
	p.host, err = compile(strings.ToLower(host))
	return p, err
}

var (
	portPattern = regexp.MustCompile(`^(\*|[1-9][0-9]{0,4})$`)
	hostPattern = regexp.MustCompile(`^([A-Za-z0-9_*-]+(\.[A-Za-z0-9_*-]+)*|\[[0-9A-Fa-f:.]+\])$`)
)

// compile converts a host with wildcards to a regular expression.
func compile(host string) (*regexp.Regexp, error) {
	labels := strings.Split(host, ".")
	for i, label := range labels {
		switch {
		case label == "*" && i == 0 && len(labels) > 1:
			labels[i] = `[^.]+(\.[^.]+)*`
		case strings.HasPrefix(label, "*"):
			return nil, ErrWildcard // *example.co.uk would match domains of other owners
		default:
			parts := strings.Split(label, "*")
			for j := range parts {
				parts[j] = regexp.QuoteMeta(parts[j])
			}
			labels[i] = strings.Join(parts, `[^.]*`)
		}
	}
	return regexp.Compile(`^` + strings.Join(labels, `\.`) + `$`)
}

// splitPort splits host[:port]; port is empty if absent.
func splitPort(hostPort string) (host, port string) {
	i := strings.LastIndexByte(hostPort, ':')
	if i < 0 || strings.HasSuffix(hostPort, "]") {
		return hostPort, ""
	}
	return hostPort[:i], hostPort[i+1:]
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// Allows reports whether a page of this origin is allowed to connect. An empty origin, which non-browser
// clients send, is allowed: such a client can send any Origin, so a check would not stop an attacker.
func (l List) Allows(origin string) bool {
	if origin == "" || len(l.patterns) == 0 {
		return true
	}
	o, ok := parseOrigin(origin)
	for _, p := range l.patterns {
		if p.any || ok && p.matches(o) {
			return !p.negated
		}
	}
	return false
}

// origin is a parsed header.
type origin struct{ scheme, host, port string }

func (p pattern) matches(o origin) bool {
	switch {
	case o.host == "": // null
		return p.null
	case p.null, p.scheme != "" && p.scheme != o.scheme:
		return false
	}
	return (p.port == "*" || p.port == o.port) && p.host.MatchString(o.host)
}

// Valid reports whether an Origin header is absent or has the form that browsers send.
func Valid(header string) bool {
	if header == "" {
		return true
	}
	_, ok := parseOrigin(header)
	return ok
}

// Own reports whether an Origin header is the address that the request was sent to, according to its Host
// header. WebSocket libraries that are not browsers send it, and pages of that address. The owner of a DNS
// name can point it to this server (DNS rebinding), so that a name says nothing about the page; it counts
// only if the caller has verified that the name is this server's. Addresses and localhost always count.
func Own(header, host string, verified bool) bool {
	o, ok := parseOrigin(header)
	if !ok || defaultPort(o.scheme) == "" {
		return false
	}
	name, port := splitPort(strings.ToLower(host))
	if name != o.host || cmp.Or(port, defaultPort(o.scheme)) != o.port {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return verified || err == nil || name == "localhost"
}

// parseOrigin parses a header. Schemes other than http and https, as sent by web views of apps and by browser
// extensions, are matched by patterns without a scheme.
func parseOrigin(header string) (o origin, ok bool) {
	if header == Null || header == fileOrigin {
		return origin{}, true
	}
	if header == "" || len(header) > MaxLength {
		return origin{}, false
	}
	u, err := url.Parse(header)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return origin{}, false
	}
	o = origin{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if strings.Contains(o.host, ":") {
		o.host = "[" + o.host + "]"
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, o.host != ""
}
