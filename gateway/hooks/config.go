package hooks

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Values that Config's zeros stand for.
const (
	defaultTimeout          = 15 * time.Second // rest_request_timeout of WCS
	defaultDialTimeout      = 5 * time.Second  // two repeated SYNs
	defaultMaxInFlight      = 20               // what the vendor recommends (integration.md §1.1)
	defaultMaxResponseBytes = 64 << 10
)

// maxHead bounds the head of an answer, in bytes.
const maxHead = 64 << 10

// Config says how an application's backend is reached. A zero is a default where one is named.
type Config struct {
	URL     string   // http or https, with host and maybe a path; no user, query or fragment
	Methods []Method // that are called

	Timeout     time.Duration // of a call with its waiting and repeating; 15 s
	DialTimeout time.Duration // of connecting, and again of the TLS handshake; 5 s
	Retries     int           // how often a call is repeated that could not be sent; 0: not

	MaxInFlight      int   // calls and connections at a time; 20
	MaxWaiting       int   // calls that may wait for their turn; 0: none
	MaxResponseBytes int64 // of an answer's body; 64 KiB

	Username, Password string      // HTTP Basic, or
	HMACSecret         string      // rest_hook_secret_key: calls are signed with it
	TLS                *tls.Config // for https; nil: the system's authorities. Certificates are always verified
}

func (c Config) withDefaults() Config {
	orDefault(&c.Timeout, defaultTimeout)
	orDefault(&c.DialTimeout, defaultDialTimeout)
	orDefault(&c.MaxInFlight, defaultMaxInFlight)
	orDefault(&c.MaxResponseBytes, defaultMaxResponseBytes)
	return c
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// CheckURL tells what is wrong with the address of a backend. The error does not show it: a mistake may have put a password in it.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be http(s)://host[:port][/path]")
	case u.User != nil:
		return errors.New("must not have a user or password: they have settings of their own")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return errors.New("must end with the path")
	}
	return nil
}

// check finds all faults. It does not show the URL, in which a mistake may have put a password.
func (c Config) check() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	if err := CheckURL(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("url %w", err))
	}
	for _, m := range c.Methods {
		if _, err := ParseMethod(string(m)); err != nil {
			faults = append(faults, err)
		}
	}
	fault(c.Timeout < 0 || c.DialTimeout < 0, "timeouts must not be negative")
	fault(c.Retries < 0, "retries must not be negative")
	fault(c.MaxInFlight < 0 || c.MaxWaiting < 0 || c.MaxResponseBytes < 0, "limits must not be negative")
	fault((c.Username == "") != (c.Password == ""), "username and password belong together")
	fault(strings.Contains(c.Username, ":"), "username must not have a colon")
	fault(c.HMACSecret != "" && c.Username != "", "hmacSecret cannot be with a username: both would be the same header")
	fault(c.TLS != nil && c.TLS.InsecureSkipVerify, "the backend's certificate must be verified")
	return errors.Join(faults...)
}

func (c Config) tls() *tls.Config {
	if c.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t := c.TLS.Clone()
	t.NextProtos = nil // it may name HTTP/2, which we do not speak here
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t
}

// endpoints are the addresses of the methods. Joined by hand: url.JoinPath would tidy up a path that the backend may
// want as it is.
func (c Config) endpoints() map[Method]string {
	e := make(map[Method]string, len(c.Methods))
	for _, m := range c.Methods {
		e[m] = strings.TrimRight(c.URL, "/") + "/" + string(m)
	}
	return e
}
