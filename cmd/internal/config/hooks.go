package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"wcsgateway/gateway/hooks"
)

// Hooks configures the REST hooks: calls to an application's backend.
type Hooks struct {
	// Address of the backend, `http(s)://host[:port][/path]`. A method is called at this address, `/` and its
	// name. Empty: no backend, and all requests of clients are allowed.
	URL string `koanf:"url" pattern:"^([hH][tT][tT][pP][sS]?://.+)?$"`
	// Methods that are called.
	Methods []string `koanf:"methods"`
	// Deadline of one call, including queueing and retries.
	Timeout time.Duration `koanf:"timeout" rule:"min=100ms"`
	// How often a call that could not be sent is retried. A call that the backend answers, or does not answer
	// in time, is not retried.
	Retries int `koanf:"retries" rule:"min=0,max=10"`
	// Calls that a pod makes at the same time. The calls of one client are made one after the other.
	MaxInFlight int `koanf:"maxInFlight" rule:"min=1"`
	// Calls that may be queued. Further calls fail at once.
	MaxWaiting int `koanf:"maxWaiting" rule:"min=0"`
	// Largest response body, in bytes; a larger one counts as a failed call. 0: twice
	// `session.maxMessageBytes`, so that a response can repeat the largest request.
	MaxResponseBytes int64 `koanf:"maxResponseBytes" rule:"min=1024,or=0"`
	// User for HTTP Basic authentication at the backend.
	Username string `koanf:"username"`
	// Password of the user.
	Password Secret `koanf:"password"`
	// Secret that signs the calls, as `rest_hook_secret_key` in WCS: `Authorization: WCS` and the HMAC-MD5 of
	// the body. Excludes user and password.
	HMACSecret Secret `koanf:"hmacSecret"`
	// Reject `publishStream`, `playStream`, `snapshot` and `sendData` when their call fails, even if the
	// backend did not set `restOnError: FAIL`. WCS lets them continue.
	FailClosed bool `koanf:"failClosed"`
	// Time between calls of `StreamKeepAliveEvent` for each stream. 0: no such calls.
	KeepAliveInterval time.Duration `koanf:"keepAliveInterval" rule:"min=1s,or=0"`
	TLS               HooksTLS      `koanf:"tls"`
}

// HooksTLS configures TLS for a backend with an https address.
type HooksTLS struct {
	// PEM file with the authorities that may sign the backend's certificate. Empty: the system's.
	CA string `koanf:"ca"`
	// Name that the backend's certificate must contain. Empty: the host of the address.
	ServerName string `koanf:"serverName"`
}

// Config returns the TLS configuration of the backend's client.
func (t HooksTLS) Config() (*tls.Config, error) {
	roots, err := authorities(t.CA)
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, RootCAs: roots}, err
}

// CalledMethods returns the parsed methods.
func (h Hooks) CalledMethods() ([]hooks.Method, error) {
	methods := make([]hooks.Method, len(h.Methods))
	for i, name := range h.Methods {
		m, err := hooks.ParseMethod(name)
		if err != nil {
			return nil, err
		}
		methods[i] = m
	}
	return methods, nil
}

func defaultHooks() Hooks {
	h := Hooks{Timeout: 15 * time.Second, Retries: 3, MaxInFlight: 20, MaxWaiting: 1000}
	for _, m := range hooks.Methods {
		h.Methods = append(h.Methods, string(m))
	}
	return h
}

// ResponseBytes returns the largest accepted body of a backend's response. maxMessage is
// session.maxMessageBytes: by default a response that repeats the request is accepted.
func (h Hooks) ResponseBytes(maxMessage int64) int64 { return cmp.Or(h.MaxResponseBytes, 2*maxMessage) }

func (h Hooks) validate(f *faults, at string) {
	basic := h.Username != "" || h.Password != ""
	if h.URL == "" {
		idle := !basic && h.HMACSecret == "" && !h.FailClosed && h.KeepAliveInterval == 0 && h.TLS == HooksTLS{}
		f.check(idle, at, "has settings, but no url")
		return
	}
	f.failed(at+".url", hooks.CheckURL(h.URL))
	methods, err := h.CalledMethods()
	if err != nil {
		f.add(at+".methods", "%v", err)
	}
	f.check(len(h.Methods) > 0, at+".methods", "is empty: without a url nothing is called")
	if basic && (h.Username == "" || h.Password == "") {
		f.add(at+".username", "and password are needed together")
	} else {
		f.check(!strings.Contains(h.Username, ":"), at+".username", "must not have a colon")
	}
	f.check(!basic || h.HMACSecret == "", at+".hmacSecret", "cannot be with username and password: both would be the same header")
	if h.KeepAliveInterval != 0 {
		f.check(err != nil || slices.Contains(methods, hooks.StreamKeepAliveEvent), at+".keepAliveInterval",
			"is for %s, which is not in methods", hooks.StreamKeepAliveEvent)
	}
	f.check(h.TLS == HooksTLS{} || strings.HasPrefix(strings.ToLower(h.URL), "https:"), at+".tls", "is for a url with https")
	f.failed(at+".tls", errorOf(h.TLS.Config()))
}

func (c Config) validatePlayFrom(f *faults, at string, keys []string) {
	for i, key := range keys {
		_, known := c.Applications[key]
		f.check(known, fmt.Sprintf("%s[%d]", at, i), "%q is no application", key)
	}
}
