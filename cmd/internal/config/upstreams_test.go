package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRouteIsReadFromFile(t *testing.T) {
	cfg, err := Load(write(t, `
upstreams:
  old: {url: "wss://old.example", maxLinks: 5, tls: {serverName: wcs.example.com}}
applications:
  shop:
    route:
      default: old
      share: 10
      salt: x
      rules:
        - {sip: true, to: old}
        - {login: "test-.*", custom: {plan: gold, level: "[0-9]"}, clientVersion: "2.*", provider: MSE, networks: [10.0.0.0/8], to: here}
  other: {}
`), required)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultUpstream()
	want.URL, want.MaxLinks, want.TLS.ServerName = "wss://old.example", 5, "wcs.example.com"
	check(t, "upstreams", cfg.Upstreams, map[string]Upstream{"old": want})
	check(t, "connectTimeout by default", cfg.Upstreams["old"].ConnectTimeout, 5*time.Second)
	check(t, "route", cfg.Applications["shop"].Route, Route{Default: "old", Share: 10, Salt: "x", Rules: []RouteRule{
		{SIP: true, To: "old"},
		{Login: "test-.*", Custom: map[string]string{"plan": "gold", "level": "[0-9]"}, ClientVersion: "2.*", Provider: "MSE", Networks: []string{"10.0.0.0/8"}, To: "here"},
	}})
	check(t, "route by default", cfg.Applications["other"].Route, Route{Default: RouteHere})
	parsed, err := cfg.Applications["shop"].Route.Rules[1].Parse(nil)
	if err != nil || len(parsed.Custom) != 2 || !slices.Equal(parsed.Networks, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}) {
		t.Errorf("parsed rule %+v, %v", parsed, err)
	}
	shown, err := cfg.YAML()
	if err != nil || !strings.Contains(shown, "rules: [{to: old, sip: true},") {
		t.Errorf("%v in\n%s", err, shown)
	}
	again, err := Load(write(t, shown), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "what is shown", again.Applications["shop"].Route, cfg.Applications["shop"].Route)
}

func TestHybridIsReadFromFile(t *testing.T) {
	cfg, err := Load(write(t, `
upstreams: {old: {url: "ws://old"}}
applications:
  shop: {hybrid: {upstream: old, default: old, share: 10, salt: x, rules: [{login: "a.*", to: here}], sendData: old, fallback: true}}
  other: {}
`), required)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "hybrid", cfg.Applications["shop"].Hybrid, Hybrid{
		Upstream: "old", Default: "old", Share: 10, Salt: "x", Rules: []RouteRule{{Login: "a.*", To: "here"}}, SendData: "old", Fallback: true,
	})
	check(t, "hybrid by default", cfg.Applications["other"].Hybrid, Hybrid{Default: RouteHere, SendData: RouteHere})
}

func TestFaultyUpstreamsAndRoutesAreRejected(t *testing.T) {
	for text, want := range map[string]string{
		"upstreams: {here: {url: 'ws://h'}}":                                                                                                "upstreams[here]",
		"upstreams: {Old: {url: 'ws://h'}}":                                                                                                 "upstreams[Old]",
		"upstreams: {old: {}}":                                                                                                              "upstreams[old].url: is missing",
		"upstreams: {old: {url: 'http://h'}}":                                                                                               "without a path",
		"upstreams: {old: {url: 'ws://h/path'}}":                                                                                            "without a path",
		"upstreams: {old: {url: 'ws://u:secret@h'}}":                                                                                        "without a path",
		"upstreams: {old: {url: 'ws://h:99999'}}":                                                                                           "with a port up to 65535",
		"upstreams: {old: {url: 'wss://h:0'}}":                                                                                              "with a port up to 65535",
		"upstreams: {old: {url: 'ws://h', tls: {serverName: x}}}":                                                                           "upstreams[old].tls: is for a url with wss",
		"upstreams: {old: {url: 'ws://h', bufferBytes: 1}}":                                                                                 "upstreams[old].bufferBytes",
		"upstreams: {old: {url: 'ws://h', conectTimeout: 1s}}":                                                                              "unknown key",
		"upstreams: {old: {url: 'wss://h', tls: {ca: /none}}}":                                                                              "upstreams[old].tls",
		"upstreams: {a: {url: 'ws://h', mediaSockets: true}, b: {url: 'ws://h', mediaSockets: true}}":                                       "is set for a too",
		"applications: {a: {route: {default: old}}}":                                                                                        `"old" is no upstream`,
		"applications: {a: {route: {share: 5}}}":                                                                                            "route.share",
		"applications: {a: {route: {share: 101}}}":                                                                                          "must be 0 to 100",
		"applications: {a: {route: {rules: [{to: old}]}}}":                                                                                  "rules[0].to",
		"applications: {a: {route: {rules: [{sip: true}]}}}":                                                                                "rules[0].to",
		"applications: {a: {route: {rules: [{to: here, login: '('}]}}}":                                                                     "is not a regular expression",
		"applications: {a: {route: {rules: [{to: here, custom: {a: '('}}]}}}":                                                               "custom.a",
		"applications: {a: {route: {rules: [{to: here, login: '" + strings.Repeat("x", 257) + "'}]}}}":                                      "is longer than 256 bytes",
		"applications: {a: {route: {rules: [{to: here, provider: mse}]}}}":                                                                  "rules[0].provider",
		"applications: {a: {route: {rules: [{to: here, networks: [10.0.0.1]}]}}}":                                                           "must be a network",
		"applications: {a: {route: {rules: [{to: here, user: x}]}}}":                                                                        "unknown key",
		"applications: {a: {hybrid: {upstream: old}}}":                                                                                      "hybrid.upstream: \"old\" is no upstream",
		"applications: {a: {hybrid: {share: 5}}}":                                                                                           "has settings, but no upstream",
		"applications: {a: {hybrid: {fallback: true}}}":                                                                                     "has settings, but no upstream",
		"upstreams: {old: {url: 'ws://h'}}\napplications: {a: {hybrid: {upstream: old, share: 5}}}":                                         "hybrid.share",
		"upstreams: {old: {url: 'ws://h'}, b: {url: 'ws://h'}}\napplications: {a: {hybrid: {upstream: old, default: b}}}":                   `hybrid.default: "b" is not old, and not here`,
		"upstreams: {old: {url: 'ws://h'}, b: {url: 'ws://h'}}\napplications: {a: {hybrid: {upstream: old, sendData: b}}}":                  `hybrid.sendData: "b" is not old`,
		"upstreams: {old: {url: 'ws://h'}, b: {url: 'ws://h'}}\napplications: {a: {hybrid: {upstream: old, rules: [{to: here}, {to: b}]}}}": `hybrid.rules: "b" is not old`,
		"applications: {a: {route: {rules: [x]}}}":                                                                                          "must be",
	} {
		_, err := Load(write(t, text), required)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestInvalidRESTOfUpstreamIsReported(t *testing.T) {
	ops := "WCS_REST_USERS={ops: " + hash + "}"
	for text, want := range map[string]string{
		"{url: 'https://old/rest-api'}":                                "upstreams[old].rest.url",
		"{url: 'https://old:84440'}":                                   "with a port up to",
		"{url: 'http://old:8081', tls: {serverName: old}}":             "upstreams[old].rest.tls: is for a url with https",
		"{url: 'https://old', username: u}":                            "upstreams[old].rest.username: and password",
		"{url: 'https://old', username: 'u:v', password: p}":           "must not have a colon",
		"{url: 'https://old', users: [ops, other]}":                    `upstreams[old].rest.users: "other" is not in rest.users`,
		"{url: 'https://old', tls: {ca: none.pem}}":                    "upstreams[old].rest.tls",
		"{username: u, password: p}":                                   "upstreams[old].rest: has settings, but no url",
		"{url: 'https://old', user: u}":                                "unknown key",
		"{url: 'https://old', username: u, password: p, users: [ops]}": "",
	} {
		_, err := Load("", append([]string{ops, "WCS_UPSTREAMS={old: {url: 'ws://h', rest: " + text + "}}"}, required...))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want a fault of %s", text, err, want)
		}
	}
	_, err := Load("", append([]string{"WCS_REST_AUTH=none", "WCS_UPSTREAMS={old: {url: 'ws://h', rest: {url: 'http://old'}}}"}, required...))
	if err == nil || !strings.Contains(err.Error(), "upstreams[old].rest: needs rest.auth: basic") {
		t.Errorf("a REST API without users: %v", err)
	}
	if _, err := Load(write(t, "rest: {passOn: {url: 'http://old'}}"), required); err == nil || !strings.Contains(err.Error(), "rest.passOn: unknown key") {
		t.Errorf("the former place: %v", err)
	}
}
