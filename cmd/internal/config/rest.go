package config

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/crypto/bcrypt"
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
