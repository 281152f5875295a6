package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"wcsgateway/gateway/rest"
)

// REST configures the REST API and the statistics, for backends and operators.
type REST struct {
	// Address of the REST API (`/rest-api/…`) and of the statistics (`/?action=stat`). Empty: no listener.
	Listen string `koanf:"listen" pattern:"^(.*:[0-9]+)?$"`
	// Certificate and key, for `https`. They may be those of `listen.tls`.
	TLS KeyPair `koanf:"tls"`
	// `basic`: users with passwords (HTTP Basic); without `rest.users` the REST API is not served. `none`:
	// every client that reaches the address has full access.
	Auth string `koanf:"auth" rule:"one=basic|none"`
	// Users with the bcrypt hashes of their passwords, as `wcs-gateway hash-password` prints them.
	Users map[string]Secret `koanf:"users"`
	// Pages that may use the REST API from a browser, besides those of its own address, in the form of
	// `listen.origins`. Empty: none.
	Origins []string `koanf:"origins"`
	// Let `/rest-api/stream/terminate` without a filter end every stream of the deployment, as in WCS.
	TerminateAll bool `koanf:"terminateAll"`
	// Serve the statistics without a password, for load balancers that use them as a health check.
	OpenStatistics bool `koanf:"openStatistics"`
	// Serve the operators' console under `/console/`, to the same users. Each session then keeps the types,
	// sizes and times of its last 50 messages, about 4 KB.
	Console bool `koanf:"console"`
	// Address of the agent check for HAProxy. It answers `drain`, or `ready up` and the free share of
	// `limits.connections`. Empty: no listener.
	Agent string `koanf:"agent" pattern:"^(.*:[0-9]+)?$"`
	// Another WCS server, whose streams and sessions are in the lists, and which gets the requests that are
	// answered with 501 or 404 otherwise. Reloaded without a restart.
	PassOn PassOn `koanf:"passOn"`
}

// PassOn configures the REST API of another WCS server.
type PassOn struct {
	// Address of the REST API of another WCS server, `http(s)://host[:port]`. Its streams and sessions are in
	// the lists, and it gets the requests that the gateway [answers with 501 or
	// 404](rest-api.md#with-another-wcs-server) otherwise. Empty: none.
	URL string `koanf:"url" pattern:"^(https?://.+)?$"`
	// User name and password of the other server (HTTP Basic), if it needs them.
	Username string `koanf:"username"`
	// Password of the other server.
	Password Secret `koanf:"password"`
	// Users of `rest.users` whose requests reach the other server. Empty: all.
	Users []string    `koanf:"users"`
	TLS   UpstreamTLS `koanf:"tls"`
}

func (p PassOn) validate(f *faults, users map[string]Secret) {
	if p.URL == "" {
		f.check(p.Username == "" && p.Password == "" && len(p.Users) == 0 && p.TLS == UpstreamTLS{}, "rest.passOn", "has settings, but no url")
		return
	}
	f.failed("rest.passOn.url", errorOf(rest.ParseOther(p.URL)))
	f.check((p.Username == "") == (p.Password == ""), "rest.passOn.username", "and password are needed together")
	f.check(!strings.Contains(p.Username, ":"), "rest.passOn.username", "must not have a colon")
	for _, user := range p.Users {
		f.check(users[user] != "", "rest.passOn.users", "%q is not in rest.users", user)
	}
	f.check(p.TLS == UpstreamTLS{} || strings.HasPrefix(p.URL, "https:"), "rest.passOn.tls", "is for a url with https")
	f.failed("rest.passOn.tls", errorOf(p.TLS.Config()))
}

// Values of REST.Auth.
const (
	AuthBasic = "basic"
	AuthNone  = "none"
)

// Range of the cost of a bcrypt hash: below, passwords can be guessed; above, a login takes seconds.
const (
	minBcryptCost = bcrypt.MinCost
	maxBcryptCost = 14
)

// Serves reports whether the REST API is served: it needs users, unless authentication is disabled.
func (r REST) Serves() bool { return r.Listen != "" && (len(r.Users) > 0 || r.Auth == AuthNone) }

func (r REST) validate(f *faults) {
	f.check(r.Auth != AuthNone || len(r.Users) == 0, "rest.users", "are set, but rest.auth is none")
	for _, user := range slices.Sorted(maps.Keys(r.Users)) {
		key := fmt.Sprintf("rest.users[%s]", user)
		cost, err := bcrypt.Cost([]byte(r.Users[user].Reveal()))
		f.check(err == nil, key, "must be a bcrypt hash, such as wcs-gateway hash-password prints; not a password")
		f.check(err != nil || cost >= minBcryptCost && cost <= maxBcryptCost, key, "must have a cost of %d to %d", minBcryptCost, maxBcryptCost)
		f.check(user != "", key, "needs a name")
	}
	if r.TLS != (KeyPair{}) {
		f.failed("rest.tls", errorOf(r.TLS.Load()))
	}
	if r.Listen != "" {
		f.address("rest.listen", r.Listen)
	}
	f.check(!r.Console || r.Serves(), "rest.console", "is on, but there is no REST API: it needs rest.listen, and rest.users or rest.auth: none")
	if r.Agent != "" {
		f.address("rest.agent", r.Agent)
	}
	f.origins("rest.origins", r.Origins)
	r.PassOn.validate(f, r.Users)
	f.check(r.PassOn.URL == "" || r.Auth != AuthNone, "rest.passOn", "needs rest.auth: basic, because all clients would have the rights at the other server")
}

// warnings returns the warnings about the REST API; see Config.Warnings.
func (r REST) warnings() (w []string) {
	switch {
	case r.Listen == "":
	case r.Auth == AuthNone:
		w = append(w, "rest.auth is none: every client that reaches rest.listen can list and end all streams")
	case len(r.Users) == 0:
		w = append(w, "the REST API is not served: rest.users is empty, and rest.auth is not none")
	}
	if r.Serves() && r.Auth != AuthNone && r.TLS == (KeyPair{}) {
		w = append(w, "rest.tls is not set: passwords for the REST API are sent in the clear unless a proxy in front adds TLS")
	}
	return w
}
