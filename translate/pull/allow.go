package pull

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Pattern allows sources: rtsp://cam.example.com, rtsp://*.cams.example.com:8554, https://10.1.0.0/16,
// rtsps://[fd00::]/8:*, srt://*:*, vod://* or vod://folder/*.
//
// Without a port it allows the scheme's default port, with :* every port. *.name stands for all names below
// name, * for every host, and a network for the addresses in it, not for names that resolve to them.
type Pattern struct {
	scheme string
	host   string // a name or address; "*" for all; ".name" for all below name
	net    netip.Prefix
	port   int    // 0: all
	folder string // of files, with its last slash; "" for all
}

// ErrPattern is wrapped by the errors of ParsePattern.
var ErrPattern = errors.New("must be scheme://host, scheme://host:port, scheme://host:*, or vod://*")

// ParsePattern parses a pattern. The host of a pattern can be *, *.name, a name, an address or a network.
func ParsePattern(text string) (Pattern, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !slices.Contains(Schemes, scheme) {
		return Pattern{}, fmt.Errorf("%w; the schemes are %s", ErrPattern, strings.Join(Schemes, ", "))
	}
	p := Pattern{scheme: scheme}
	if scheme == VOD || scheme == VODLive {
		folder, star := strings.CutSuffix(rest, "*")
		if _, err := parseFile(scheme, folder+"x"); !star || err != nil || folder != "" && !strings.HasSuffix(folder, "/") {
			return Pattern{}, fmt.Errorf("%w; files are allowed by %s://* or %s://folder/*", ErrPattern, scheme, scheme)
		}
		p.folder = folder
		return p, nil
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return Pattern{}, err
	}
	switch {
	case port == "*":
	case port == "" && scheme == SRT:
		return Pattern{}, fmt.Errorf("%w; srt has no default port: add one, or :*", ErrPattern)
	default:
		if p.port, err = portOf(scheme, port); err != nil {
			return Pattern{}, fmt.Errorf("%w; the port must be a number between 1 and 65535, or *", ErrPattern)
		}
	}
	return p, p.setHost(host)
}

// splitPort splits host and port. A network's slash is part of the host.
func splitPort(text string) (host, port string, err error) {
	host = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "", "", fmt.Errorf("%w; an IPv6 address needs brackets", ErrPattern)
	}
	return strings.NewReplacer("[", "", "]", "").Replace(host), port, nil
}

func (p *Pattern) setHost(host string) (err error) {
	if host == "*" {
		p.host = host
		return nil
	}
	if strings.Contains(host, "/") {
		if p.net, err = netip.ParsePrefix(host); err != nil || p.net != p.net.Masked() || p.net.Addr().Is4In6() {
			return fmt.Errorf("%w; a network is an address that ends with zeros, and its length, such as 10.1.0.0/16", ErrPattern)
		}
		return nil
	}
	name, below := strings.CutPrefix(host, "*.")
	if p.host, err = canonicalHost(name); err != nil {
		return fmt.Errorf("%w; the host must be *, *.name, a name, an address or a network", ErrPattern)
	}
	if below {
		p.host = "." + p.host
	}
	return nil
}

// allows reports whether the pattern allows a source.
func (p Pattern) allows(s Source) bool {
	switch {
	case p.scheme != s.scheme:
		return false
	case s.IsFile():
		return strings.HasPrefix(s.path, p.folder)
	case p.port != 0 && p.port != s.port:
		return false
	case p.net.IsValid():
		addr, err := netip.ParseAddr(s.host)
		return err == nil && p.net.Contains(addr)
	case strings.HasPrefix(p.host, "."):
		return strings.HasSuffix(s.host, p.host)
	}
	return p.host == "*" || p.host == s.host
}

// Allow is a list of patterns. An empty list allows nothing.
type Allow []Pattern

// ParseAllow parses patterns. Its error names the item.
func ParseAllow(texts []string) (Allow, error) {
	var all Allow
	for i, text := range texts {
		p, err := ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("[%s] %q: %w", strconv.Itoa(i), text, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Allowed returns an *Error with Forbidden unless a pattern allows the source. public reports that only
// patterns for every host do: such a source must be on public networks.
func (a Allow) Allowed(s Source) (public bool, err error) {
	for _, p := range a {
		switch {
		case !p.allows(s):
		case p.host != "*":
			return false, nil
		default:
			public = true
		}
	}
	if !public {
		err = &Error{Fault: Forbidden, Detail: "no pattern allows the source"}
	}
	return public, err
}
