// Package rtmp tells to which RTMP servers streams may be sent. It imports nothing of ours and does no I/O.
package rtmp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Hosts are the RTMP servers that an application's clients may have their streams sent to. The zero value allows none.
type Hosts struct {
	patterns []pattern
}

type pattern struct {
	host string // lower case; with any: the part behind the *
	any  bool   // *.example.com and *
	port string // "": any
}

// ErrSyntax is wrapped by the errors of Parse.
var ErrSyntax = errors.New("must be host, *.example.com or *, with :port or without")

var patternText = regexp.MustCompile(`^(\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?$`)

// Parse reads patterns: a host with or without its port, *.example.com (not the bare domain), * (any host).
// The error joins one for each bad pattern.
func Parse(texts []string) (Hosts, error) {
	var (
		hosts  Hosts
		faults []error
	)
	for _, text := range texts {
		m := patternText.FindStringSubmatch(text)
		if m == nil {
			faults = append(faults, fmt.Errorf("%q: %w", text, ErrSyntax))
			continue
		}
		p := pattern{host: strings.ToLower(m[1]), port: m[2]}
		p.host, p.any = strings.CutPrefix(p.host, "*")
		hosts.patterns = append(hosts.patterns, p)
	}
	return hosts, errors.Join(faults...)
}

// address takes an RTMP address apart. It is narrower than the standard, so that no two programs can disagree on the host that is meant:
// no user, no backslash, no space.
var address = regexp.MustCompile(`^rtmps?://([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$`)

// maxLength bounds an address, in bytes.
const maxLength = 1024

// Allow tells whether an address is one of an allowed server's.
func (h Hosts) Allow(url string) bool {
	m := address.FindStringSubmatch(url)
	if m == nil || len(url) > maxLength {
		return false
	}
	host, port := strings.ToLower(m[1]), m[2]
	if port == "" {
		port = "1935"
		if strings.HasPrefix(url, "rtmps:") {
			port = "443"
		}
	}
	for _, p := range h.patterns {
		if (p.host == host && !p.any || p.any && strings.HasSuffix(host, p.host)) && (p.port == "" || p.port == port) {
			return true
		}
	}
	return false
}
