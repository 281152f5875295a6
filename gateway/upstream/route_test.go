package upstream

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"wcsgateway/gateway/realip"
	"wcsgateway/translate/wcs"
)

func client(t *testing.T, arg, address string) Client {
	t.Helper()
	c := Client{App: "shop", Address: netip.MustParseAddr(address)}
	c.Party = realip.LimitKey(c.Address)
	cmd, err := wcs.Decode([]byte(`{"message":"connection","data":[` + arg + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Bind(&c.Connection); err != nil {
		t.Fatal(err)
	}
	return c
}

func loginOf(t *testing.T, i int) Client {
	return client(t, fmt.Sprintf(`{"custom":{"login":"user-%d@example.com"}}`, i), "192.0.2.1")
}

func server(t *testing.T, name string) *Server {
	t.Helper()
	s, err := NewServer(ServerConfig{Name: name, URL: "ws://" + name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShareTakesItsPercentOfLogins(t *testing.T) {
	old := server(t, "old")
	here := 0
	for i := range 500 {
		r := Route{Share: 10, Salt: "2024", Default: old}
		if r.For(loginOf(t, i)) == nil {
			here++
		}
	}
	if here < 30 || here > 70 { // 10 % ± 4 points
		t.Errorf("%d of 500 logins are in a share of 10 %%", here)
	}
	t.Logf("%d of 500", here)
}

func TestLargerShareKeepsMovedLogins(t *testing.T) {
	old := server(t, "old")
	for i := range 500 {
		c, was := loginOf(t, i), false
		for share := 0; share <= 100; share++ {
			r := Route{Share: share, Salt: "s", Default: old}
			here := r.For(c) == nil
			if was && !here {
				t.Fatalf("user %d is here with a share of %d and not with %d", i, share-1, share)
			}
			was = here
		}
		if !was {
			t.Fatalf("user %d is not here with a share of 100", i)
		}
	}
}

func TestShareDependsOnSaltApplicationAndIdentityOnly(t *testing.T) {
	old := server(t, "old")
	r, salted := Route{Share: 50, Default: old}, Route{Share: 50, Salt: "x", Default: old}
	moved, otherApp := 0, 0
	for i := range 200 {
		c := loginOf(t, i)
		side := r.For(c)
		elsewhere := c
		elsewhere.Address, elsewhere.Party = netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.9")
		if r.For(elsewhere) != side {
			t.Errorf("user %d changes sides with the address", i)
		}
		if salted.For(c) != side {
			moved++
		}
		c.App = "other"
		if r.For(c) != side {
			otherApp++
		}
	}
	if moved < 50 || otherApp < 50 {
		t.Errorf("%d of 200 users move with the salt, %d with the application", moved, otherApp)
	}
}

func TestClientsWithoutLoginAreOnTheSideOfTheirNetwork(t *testing.T) {
	r := Route{Share: 50, Default: server(t, "old")}
	sides := map[bool]int{}
	for i := range 100 {
		a := client(t, `{}`, fmt.Sprintf("2001:db8:0:%x::1", i))
		b := client(t, `{"custom":{"login":""}}`, fmt.Sprintf("2001:db8:0:%x:ffff::2", i))
		if r.For(a) != r.For(b) {
			t.Errorf("two addresses of network %d have different sides", i)
		}
		sides[r.For(a) == nil]++
	}
	if len(sides) != 2 {
		t.Errorf("all networks are on one side: %v", sides)
	}
}

func TestFirstMatchingRuleSelectsServer(t *testing.T) {
	pattern := func(expr string) *Pattern {
		p, err := ParsePattern(expr)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	phone, media, plan, version, office, chained := server(t, "phone"), server(t, "media"), server(t, "plan"), server(t, "version"), server(t, "office"), server(t, "chained")
	r := Route{
		Default: server(t, "rest"),
		Rules: []Rule{
			{Login: pattern("test-.*|qa")},
			{SIP: true, To: phone},
			{Provider: "MSE", To: media},
			{Custom: map[string]*Pattern{"plan": pattern("gold"), "level": pattern("[1-3]")}, To: plan},
			{ClientVersion: pattern(`0\.5\..*`), To: version},
			{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, To: office},
			{ClientVersion: pattern("2.0"), Provider: "Flash", To: chained},
		},
	}
	for _, tt := range []struct{ arg, address, want string }{
		{`{"login":"test-1","sipLogin":"100"}`, "192.0.2.1", ""},
		{`{"login":"qa"}`, "192.0.2.1", ""},
		{`{"login":"my-test-1"}`, "192.0.2.1", "rest"},
		{`{"login":"qa2"}`, "192.0.2.1", "rest"},
		{`{"sipLogin":"100"}`, "192.0.2.1", "phone"},
		{`{"sipRegisterRequired":true}`, "192.0.2.1", "phone"},
		{`{"sipLogin":null,"sipDomain":""}`, "192.0.2.1", "rest"},
		{`{"mediaProviders":["MSE","WebRTC"]}`, "192.0.2.1", "media"},
		{`{"mediaProviders":["WebRTC","MSE"]}`, "192.0.2.1", "rest"},
		{`{"custom":{"plan":"gold","level":2}}`, "192.0.2.1", "plan"},
		{`{"custom":{"plan":"gold","level":4}}`, "192.0.2.1", "rest"},
		{`{"custom":{"plan":"gold"}}`, "192.0.2.1", "rest"},
		{`{"custom":{"plan":{"x":"gold"},"level":2}}`, "192.0.2.1", "rest"},
		{`{"custom":"gold"}`, "192.0.2.1", "rest"},
		{`{"clientVersion":"0.5.28"}`, "192.0.2.1", "version"},
		{`{"clientVersion":"0x5.28"}`, "192.0.2.1", "rest"},
		{`{}`, "10.1.2.3", "office"},
		{`{}`, "fd00::1", "office"},
		{`{"clientVersion":"2.0","mediaProviders":["Flash"]}`, "192.0.2.1", "chained"},
		{`{"clientVersion":"2.0"}`, "192.0.2.1", "rest"},
	} {
		got := ""
		if s := r.For(client(t, tt.arg, tt.address)); s != nil {
			got = s.Name()
		}
		if got != tt.want {
			t.Errorf("%s from %s goes to %q, want %q", tt.arg, tt.address, got, tt.want)
		}
	}
}

func TestPatternsMatchWholeTextsOfBoundedSize(t *testing.T) {
	for _, tt := range []struct {
		expr, text string
		want       bool
	}{
		{"a|b", "ab", false}, {"a|b", "b", true}, {"a", "a\n", false}, {"(?i)A.*", "abc", true}, {"a", "", false}, {"", "", true},
		{"x*", strings.Repeat("x", maxText), true}, {"x*", strings.Repeat("x", maxText+1), false},
	} {
		p, err := ParsePattern(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if p.matches(tt.text) != tt.want {
			t.Errorf("%q and %.20q: %v", tt.expr, tt.text, !tt.want)
		}
	}
	for _, expr := range []string{"(", "a)|(b", strings.Repeat("x", maxPattern+1), "x{1001}", "(?=a)"} {
		if _, err := ParsePattern(expr); err == nil {
			t.Errorf("%.20q is accepted", expr)
		}
	}
}

func TestRouteReportsWhetherItHasUpstream(t *testing.T) {
	old := server(t, "old")
	for want, routes := range map[bool][]Route{
		true:  {{Default: old}, {Rules: []Rule{{SIP: true, To: old}}}},
		false: {{}, {Rules: []Rule{{SIP: true}}}},
	} {
		for _, r := range routes {
			if r.Upstream() != want {
				t.Errorf("%+v: %v", r, !want)
			}
		}
	}
}
