package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"wcsgateway/gateway/rest"
	"wcsgateway/gateway/upstream"
)

// Upstream is another WCS server that can serve clients of the gateway.
type Upstream struct {
	// Address of the server, `ws://host[:port]` or `wss://host[:port]`. Required. The path is the client's.
	URL string `koanf:"url" pattern:"^(wss?://.+)?$"`
	// Deadline of the connection and of the server's answer to the upgrade request.
	ConnectTimeout time.Duration `koanf:"connectTimeout" rule:"min=100ms"`
	// Clients of this pod that the server may serve at the same time. Further ones are rejected with `Upstream
	// server is busy`. 0: no limit but `limits.connections`.
	MaxLinks int `koanf:"maxLinks" rule:"min=0"`
	// Bytes of one client that may wait in the gateway, in each direction. A sender is not read while its
	// receiver is behind by more.
	BufferBytes int `koanf:"bufferBytes" rule:"min=4096,max=1048576"`
	// The server also serves second sockets of MSE and WSPlayer clients (`connectMediaTransport`) with a token
	// that no session of the deployment is known to have. One server may have it. `false` for all: such sockets
	// are closed. Those of spliced sessions, and of sessions with `hybrid`, find their server without it.
	MediaSockets bool         `koanf:"mediaSockets"`
	TLS          UpstreamTLS  `koanf:"tls"`
	REST         UpstreamREST `koanf:"rest"`
}

// UpstreamREST configures the REST API of an upstream.
type UpstreamREST struct {
	// Address of the server's REST API, `http(s)://host[:port]`. Its streams and sessions are in the lists of
	// the gateway's REST API, and it gets the requests that the gateway [answers with 501 or
	// 404](rest-api.md#with-another-wcs-server) otherwise. Empty: none.
	URL string `koanf:"url" pattern:"^(https?://.+)?$"`
	// User name and password of the server (HTTP Basic), if it needs them.
	Username string `koanf:"username"`
	// Password of the server.
	Password Secret `koanf:"password"`
	// Users of `rest.users` whose requests reach the server. Empty: all.
	Users []string    `koanf:"users"`
	TLS   UpstreamTLS `koanf:"tls"`
}

func (u UpstreamREST) validate(f *faults, at string, r REST) {
	if u.URL == "" {
		f.check(u.Username == "" && u.Password == "" && len(u.Users) == 0 && u.TLS == UpstreamTLS{}, at, "has settings, but no url")
		return
	}
	f.failed(at+".url", errorOf(rest.ParseOther(u.URL)))
	f.check((u.Username == "") == (u.Password == ""), at+".username", "and password are needed together")
	f.check(!strings.Contains(u.Username, ":"), at+".username", "must not have a colon")
	for _, user := range u.Users {
		f.check(r.Users[user] != "", at+".users", "%q is not in rest.users", user)
	}
	f.check(u.TLS == UpstreamTLS{} || strings.HasPrefix(u.URL, "https:"), at+".tls", "is for a url with https")
	f.failed(at+".tls", errorOf(u.TLS.Config()))
	f.check(r.Auth != AuthNone, at, "needs rest.auth: basic, because all clients would have the rights at the other server")
}

// UpstreamTLS configures TLS for a server with a wss or https address.
type UpstreamTLS struct {
	// PEM file with the authorities that may sign the server's certificate. Empty: the system's.
	CA string `koanf:"ca"`
	// Name that the server's certificate must contain. Empty: the host of the address.
	ServerName string `koanf:"serverName"`
}

// Config returns the TLS configuration of connections to the server.
func (t UpstreamTLS) Config() (*tls.Config, error) { return HooksTLS(t).Config() }

// Route selects the server of each client of an application.
type Route struct {
	// Server of the clients that neither a rule nor the share takes: a name in `upstreams`, or `here`.
	Default string `koanf:"default"`
	// Percent of the clients without a rule that are served here instead of by `route.default`.
	//
	// A client is chosen by its login (`custom.login`, `login` or `sipLogin`), without one by its address, so
	// that it stays on its side over reconnects and pods. A larger share adds clients and moves none back. All
	// clients without a login behind one address are on the same side.
	Share int `koanf:"share" rule:"min=0,max=100"`
	// Text that the choice of clients for the share depends on. Another text chooses other clients.
	Salt string `koanf:"salt"`
	// Rules, in order. The first one whose conditions all hold decides. See [rules](#rules-of-a-route).
	Rules []RouteRule `koanf:"rules"`
	// [Transcripts](migrate-from-wcs.md#transcripts) of spliced sessions that are kept in Redis, the last ones,
	// each of at most 64 KB. They have names of messages and members, no contents. 0: none are written.
	Transcripts int `koanf:"transcripts" rule:"min=0,max=1000"`
}

// RouteRule is a condition on what a client sends in connection. Patterns are regular expressions (RE2) of at
// most 256 bytes that must match the whole text.
type RouteRule struct {
	// Server of the clients that match: a name in `upstreams`, or `here`. Required.
	To string `koanf:"to" yaml:"to"`
	// `true`: the client sends a SIP account (`sipLogin` or another member that begins with `sip`).
	SIP bool `koanf:"sip" yaml:"sip,omitempty"`
	// Pattern of the login: `custom.login`, else `login`, else `sipLogin`. It is empty text without one.
	Login string `koanf:"login" yaml:"login,omitempty"`
	// Patterns of members of `custom`, by name. Texts, numbers and booleans can match.
	Custom map[string]string `koanf:"custom" yaml:"custom,omitempty"`
	// Pattern of `clientVersion`.
	ClientVersion string `koanf:"clientVersion" yaml:"clientVersion,omitempty"`
	// First entry of `mediaProviders`: `WebRTC`, `MSE`, `WSPlayer` or `Flash`.
	Provider string `koanf:"provider" yaml:"provider,omitempty" pattern:"^(WebRTC|MSE|WSPlayer|Flash)?$"`
	// Networks of which one has the client's address, such as `10.0.0.0/8`.
	Networks []string `koanf:"networks" yaml:"networks,omitempty" pattern:"^[0-9a-fA-F.:]+/[0-9]+$"`
}

// Hybrid lets the sessions of an application that this gateway serves use an upstream, too.
type Hybrid struct {
	// Name in `upstreams` of a server that the sessions use beside this gateway. Empty: none.
	//
	// Each stream is on one side. A client plays the streams of both. See
	// [one session, both servers](migrate-from-wcs.md#one-session-both-servers).
	Upstream string `koanf:"upstream"`
	// Side of the streams that clients publish, for clients that neither a rule nor the share takes: `here`, or
	// the name of the upstream.
	Default string `koanf:"default"`
	// Percent of the clients without a rule that publish here instead of on `hybrid.default`. Clients are chosen
	// as by `route.share`.
	Share int `koanf:"share" rule:"min=0,max=100"`
	// Text that the choice of clients for the share depends on.
	Salt string `koanf:"salt"`
	// Rules on clients, as in `route.rules`: `to` is the side of what the client publishes.
	Rules []RouteRule `koanf:"rules"`
	// Side of `sendData`, the room API and the streams in its rooms, and of the data that clients get: `here`, or
	// the name of the upstream.
	SendData string `koanf:"sendData"`
	// What this gateway does not have goes to the upstream: calls, with clients' SIP accounts, and commands that
	// are not known here. See [calls](migrate-from-wcs.md#calls-and-other-commands).
	Fallback bool `koanf:"fallback"`
}

// Publishes returns the sides of what clients publish.
func (h Hybrid) Publishes() Route {
	return Route{Default: h.Default, Share: h.Share, Salt: h.Salt, Rules: h.Rules}
}

// RouteHere is the name of this gateway in a Route.
const RouteHere = "here"

// DefaultUpstream returns the settings of an upstream that sets nothing.
func DefaultUpstream() Upstream {
	return Upstream{ConnectTimeout: 5 * time.Second, BufferBytes: 32 << 10}
}

var (
	upstreamPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	providerPattern = regexp.MustCompile(`^(WebRTC|MSE|WSPlayer|Flash)?$`)
)

func (c Config) validateUpstreams(f *faults) {
	media := ""
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u, at := c.Upstreams[name], fmt.Sprintf("upstreams[%s]", name)
		f.check(upstreamPattern.MatchString(name) && name != RouteHere, at, "needs a name of 1 to 32 of a-z, 0-9 and -, other than here")
		if u.URL == "" {
			f.add(at+".url", "is missing")
		} else if err := upstream.CheckURL(u.URL); err != nil {
			f.add(at+".url", "%v", err)
		}
		f.check(u.TLS == UpstreamTLS{} || strings.HasPrefix(strings.ToLower(u.URL), "wss:"), at+".tls", "is for a url with wss")
		f.failed(at+".tls", errorOf(u.TLS.Config()))
		u.REST.validate(f, at+".rest", c.REST)
		f.check(!u.MediaSockets || media == "", at+".mediaSockets", "is set for %s too: the sockets do not say whose they are", media)
		if u.MediaSockets {
			media = name
		}
	}
}

func (c Config) validateRoute(f *faults, at string, r Route) {
	_, known := c.Upstreams[r.Default]
	f.check(known || r.Default == RouteHere, at+".default", "%q is no upstream, and not here", r.Default)
	f.check(r.Share == 0 || r.Default != RouteHere, at+".share", "is for a default other than here")
	for i, rule := range r.Rules {
		at := fmt.Sprintf("%s.rules[%d]", at, i)
		if _, known := c.Upstreams[rule.To]; !known && rule.To != RouteHere {
			f.add(at+".to", "%q is no upstream, and not here", rule.To)
		}
		f.check(providerPattern.MatchString(rule.Provider), at+".provider", "must be WebRTC, MSE, WSPlayer or Flash")
		f.failed(at, errorOf(rule.Parse(nil)))
	}
}

func (c Config) validateHybrid(f *faults, at string, h Hybrid) {
	if h.Upstream == "" {
		f.check(h.Default == RouteHere && h.SendData == RouteHere && h.Share == 0 && len(h.Rules) == 0 && !h.Fallback, at, "has settings, but no upstream")
		return
	}
	_, known := c.Upstreams[h.Upstream]
	f.check(known, at+".upstream", "%q is no upstream", h.Upstream)
	c.validateRoute(f, at, h.Publishes())
	for i, side := range slices.Concat([]string{h.Default, h.SendData}, sidesOf(h.Rules)) {
		key := at + []string{".default", ".sendData", ".rules"}[min(i, 2)]
		f.check(side == RouteHere || side == h.Upstream, key, "%q is not %s, and not here", side, h.Upstream)
	}
}

func sidesOf(rules []RouteRule) (sides []string) {
	for _, r := range rules {
		sides = append(sides, r.To)
	}
	return sides
}

// Parse returns the rule with its server, nil for this gateway.
func (r RouteRule) Parse(to *upstream.Server) (parsed upstream.Rule, err error) {
	parsed = upstream.Rule{SIP: r.SIP, Provider: r.Provider, To: to}
	if parsed.Login, err = parsePattern("login", r.Login); err != nil {
		return parsed, err
	}
	if parsed.ClientVersion, err = parsePattern("clientVersion", r.ClientVersion); err != nil {
		return parsed, err
	}
	for _, member := range slices.Sorted(maps.Keys(r.Custom)) {
		if parsed.Custom == nil {
			parsed.Custom = make(map[string]*upstream.Pattern)
		}
		if parsed.Custom[member], err = upstream.ParsePattern(r.Custom[member]); err != nil {
			return parsed, fmt.Errorf("custom.%s %w", member, err)
		}
	}
	for _, text := range r.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return parsed, fmt.Errorf("networks: %q must be a network such as 10.0.0.0/8 or 192.0.2.7/32", text)
		}
		parsed.Networks = append(parsed.Networks, network)
	}
	return parsed, nil
}

func parsePattern(name, expr string) (*upstream.Pattern, error) {
	if expr == "" {
		return nil, nil
	}
	p, err := upstream.ParsePattern(expr)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return p, nil
}
