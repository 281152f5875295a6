// Package rtmp matches RTMP addresses against the hosts to which an application's streams can be sent. It
// does no I/O. Any package can use it.
package rtmp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Hosts lists the RTMP servers to which an application's clients are allowed to send streams. The zero value
// allows none.
type Hosts struct {
	patterns []pattern
}

type pattern struct {
	host string // lower case; with any: the part after the *
	any  bool   // *.example.com and *
	port string // "": any
}

// ErrSyntax is wrapped by the errors of Parse.
var ErrSyntax = errors.New("must be host, *.example.com or *, with an optional :port")

var patternText = regexp.MustCompile(`^(\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?$`)

// Parse reads patterns: a host, *.example.com (not the bare domain) or * (any host), each with an optional
// port. The error joins one error for each bad pattern.
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

// address parses an RTMP address. It is stricter than the standard (no user, backslash or space), so that all
// programs agree on the host of an accepted address.
var address = regexp.MustCompile(`^rtmps?://([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$`)

// maxLength bounds an address in bytes.
const maxLength = 1024

// Allow reports whether an address belongs to an allowed server.
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
