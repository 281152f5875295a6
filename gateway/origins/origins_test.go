package origins

import (
	"errors"
	"strings"
	"testing"
)

func TestAllowsMatchesPatterns(t *testing.T) {
	for _, tt := range []struct {
		list    string // separated by blanks
		allowed string
		refused string
	}{
		{"", "https://a.example null http://10.0.0.1:81", ""},
		{"https://a.example", "https://a.example https://A.EXAMPLE https://a.example:443",
			"http://a.example https://a.example:444 https://b.a.example https://a.example.evil https://xa.example null https://a.example/ https://a.example@evil"},
		{"https://*.example.com", "https://a.example.com https://a.b.example.com",
			"https://example.com https://example.com.evil https://aexample.com http://a.example.com https://a.example.com:8443 https://.example.com"},
		{"https://*.example.com:*", "https://a.example.com https://a.example.com:8443", "http://a.example.com"},
		{"http://localhost:*", "http://localhost http://localhost:3000", "https://localhost http://localhost.evil"},
		{"example.com", "https://example.com http://example.com:81 capacitor://example.com", "https://www.example.com"},
		{"*.b.com a.com", "http://x.b.com https://a.com", "https://b.com https://x.a.com"}, // WCS' form
		{"https://pr-*.example.com", "https://pr-1.example.com https://pr-.example.com", "https://pr-1.evil.example.com https://xpr-1.example.com"},
		{"!https://bad.example.com https://*.example.com", "https://good.example.com", "https://bad.example.com https://other"},
		{"https://*.example.com !https://bad.example.com", "https://bad.example.com", "https://other"}, // the first match decides
		{"!*.evil.com *", "https://a.com null garbage", "https://x.evil.com http://x.evil.com:8"},
		{"!null *", "https://a.com", "null"},
		{"null", "null file://", "https://null https://a.com file:///x"},
		{"https://a.example null", "file:// https://a.example", "file://x"},
		{"https://a.example", "https://a.example", "file://"},
		{"!null *", "https://a.com", "file://"},
		{"http://[::1]:8080", "http://[::1]:8080", "http://[::1] http://[::2]:8080"},
		{"http://10.0.0.1", "http://10.0.0.1", "http://10x0.0.1"},
		{"https://a.example", "", "garbage https:// //a.example https://a.example?x https://u@a.example https://a.example#f a.example"},
	} {
		list, err := Parse(strings.Fields(tt.list))
		if err != nil {
			t.Errorf("%q: %v", tt.list, err)
			continue
		}
		if !list.Allows("") {
			t.Errorf("%q rejects a non-browser client", tt.list)
		}
		for _, o := range strings.Fields(tt.allowed) {
			if !list.Allows(o) {
				t.Errorf("%q rejects %s", tt.list, o)
			}
		}
		for _, o := range strings.Fields(tt.refused) {
			if list.Allows(o) {
				t.Errorf("%q allows %s", tt.list, o)
			}
		}
	}
}

func TestParseRejectsBadPatterns(t *testing.T) {
	for text, want := range map[string]error{
		"":                      ErrSyntax,
		"!":                     ErrSyntax,
		"ftp://a.example":       ErrSyntax,
		"https://":              ErrSyntax,
		"https://a.example/":    ErrSyntax,
		"https://a.example:x":   ErrSyntax,
		"https://a.example:0":   ErrSyntax,
		"https://u@a.example":   ErrSyntax,
		"https://a b.example":   ErrSyntax,
		"https://*":             ErrWildcard,
		"https://a.*.example":   ErrWildcard,
		"https://*example.com":  ErrWildcard,
		"*example.co.uk":        ErrWildcard,
		"https://app.example.*": ErrWildcard,
	} {
		if _, err := Parse([]string{"https://good.example", text}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	_, err := Parse([]string{"https://*", "nonsense/"})
	if err == nil || !strings.Contains(err.Error(), "https://*") || !strings.Contains(err.Error(), "nonsense/") {
		t.Errorf("the error lacks a bad pattern: %v", err)
	}
}

func TestValidRejectsMalformedOrigins(t *testing.T) {
	for header, want := range map[string]bool{
		"": true, "null": true, "file://": true, "file:///x": false, "https://a.example": true, "capacitor://localhost": true, "https://a.example/x": false, "x": false,
		"https://" + strings.Repeat("a", 300): false,
	} {
		if Valid(header) != want {
			t.Errorf("%.40q: %v", header, !want)
		}
	}
}

func TestOwnComparesOriginWithHost(t *testing.T) {
	for _, tt := range []struct {
		origin, host    string
		own, ifVerified bool
	}{
		{"http://10.0.0.1:8080", "10.0.0.1:8080", true, true},
		{"http://10.0.0.1", "10.0.0.1:80", true, true},
		{"https://10.0.0.1:443", "10.0.0.1", true, true},
		{"http://[2001:DB8::1]:8080", "[2001:db8::1]:8080", true, true},
		{"http://localhost:8080", "localhost:8080", true, true},
		{"https://wcs.example.com", "wcs.example.com", false, true},
		{"https://WCS.example.com:8443", "wcs.example.com:8443", false, true},
		{"http://wcs.example.com", "wcs.example.com:443", false, false},
		{"http://10.0.0.1:8081", "10.0.0.1:8080", false, false}, // a page of the same machine
		{"https://10.0.0.1", "10.0.0.2", false, false},
		{"http://localhost.example", "localhost.example", false, true},
		{"capacitor://localhost", "localhost", false, false}, // an app's page
		{"file://", "", false, false},
		{"null", "null", false, false},
		{"", "", false, false},
		{"http://10.0.0.1:8080/", "10.0.0.1:8080", false, false},
	} {
		if own, verified := Own(tt.origin, tt.host, false), Own(tt.origin, tt.host, true); own != tt.own || verified != tt.ifVerified {
			t.Errorf("%s at %s: %v and verified %v", tt.origin, tt.host, own, verified)
		}
	}
}

// FuzzAllows checks that no header panics, and that origins without a matching pattern are rejected.
func FuzzAllows(f *testing.F) {
	for _, s := range []string{"https://a.example.com", "null", "https://[::1]:80", "a://b:c@d", "https://%zz"} {
		f.Add(s)
	}
	list, err := Parse([]string{"!https://bad.example.com", "https://*.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if header != "" && list.Allows(header) && !strings.HasSuffix(strings.TrimSuffix(strings.ToLower(header), ":443"), ".example.com") {
			t.Errorf("%q is allowed", header)
		}
	})
}
