package hooks

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Defaults of Config.
const (
	defaultTimeout          = 15 * time.Second // rest_request_timeout of WCS
	defaultMaxInFlight      = 20               // recommended by the vendor
	defaultMaxResponseBytes = 64 << 10
)

// dialTimeout bounds connecting, and separately the TLS handshake. It allows two SYN retransmissions.
const dialTimeout = 5 * time.Second

// maxHead is the maximum size of a response's header in bytes.
const maxHead = 64 << 10

// Config configures the calls to an application's backend. A zero field means the default that its comment
// names.
type Config struct {
	URL     string   // http or https, with a host and an optional path; no user, query or fragment
	Methods []Method // methods that the backend receives; others are not called

	Timeout time.Duration // limit of a call, including waiting and retries; default 15 s
	Retries int           // retries of a call that could not be sent; 0: none

	MaxInFlight      int   // concurrent calls and connections; default 20
	MaxWaiting       int   // calls that can wait for one of these; 0: none
	MaxResponseBytes int64 // size of a response body; default 64 KiB

	Username, Password string      // HTTP Basic credentials; exclude HMACSecret
	HMACSecret         string      // rest_hook_secret_key: key with which calls are signed
	TLS                *tls.Config // for https; nil: the system's CAs. Certificates are always verified
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, defaultMaxInFlight)
	c.MaxResponseBytes = cmp.Or(c.MaxResponseBytes, defaultMaxResponseBytes)
	return c
}

// CheckURL validates the address of a backend. The error does not contain the address, which might have a
// password in it by mistake.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be http(s)://host[:port][/path]")
	case u.User != nil:
		return errors.New("must not have a user or password: use the separate settings")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return errors.New("must end with the path")
	}
	return nil
}

// check returns all faults joined.
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
	fault(c.Timeout < 0, "timeout must not be negative")
	fault(c.Retries < 0, "retries must not be negative")
	fault(c.MaxInFlight < 0 || c.MaxWaiting < 0 || c.MaxResponseBytes < 0, "limits must not be negative")
	fault((c.Username == "") != (c.Password == ""), "username and password must be set together")
	fault(strings.Contains(c.Username, ":"), "username must not contain a colon")
	fault(c.HMACSecret != "" && c.Username != "", "hmacSecret and username exclude each other: both set the Authorization header")
	fault(c.TLS != nil && c.TLS.InsecureSkipVerify, "the backend's certificate must be verified")
	return errors.Join(faults...)
}

func (c Config) tls() *tls.Config {
	if c.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t := c.TLS.Clone()
	t.NextProtos = nil // might offer HTTP/2, which is not supported here
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t
}

// endpoints returns the URL of each method. It does not use url.JoinPath, which would normalize the
// configured path.
func (c Config) endpoints() map[Method]string {
	e := make(map[Method]string, len(c.Methods))
	for _, m := range c.Methods {
		e[m] = strings.TrimRight(c.URL, "/") + "/" + string(m)
	}
	return e
}
