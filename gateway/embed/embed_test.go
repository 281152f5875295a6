package embed

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func serve(t *testing.T, cfg Config, method string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	rec, r := httptest.NewRecorder(), httptest.NewRequest(method, Path+"?streamName=%3Cscript%3E&urlServer=wss://evil.example", nil)
	for name := range header {
		r.Header.Set(name, header.Get(name))
	}
	New(cfg).ServeHTTP(rec, r)
	return rec
}

// TestPolicyAllowsOnlyOwnScriptAndStyle checks the policy against what the page contains.
func TestPolicyAllowsOnlyOwnScriptAndStyle(t *testing.T) {
	res := serve(t, Config{AppKey: "defaultApp"}, http.MethodGet, nil)
	body, policy := res.Body.String(), res.Header().Get("Content-Security-Policy")
	for _, kind := range []string{"script", "style"} {
		all := regexp.MustCompile(`(?s)<`+kind+`>(.*?)</`+kind+`>`).FindAllStringSubmatch(body, -1)
		if len(all) != 1 || strings.Contains(all[0][1], "</") || strings.Contains(all[0][1], "{{") {
			t.Fatalf("%d elements %s, or one whose text ends it", len(all), kind)
		}
		sum := sha256.Sum256([]byte(all[0][1]))
		if want := kind + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; "; !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	for _, want := range []string{"default-src 'none'; ", "connect-src 'self'; ", "base-uri 'none'; ", "form-action 'none'; "} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.HasSuffix(policy, "; frame-ancestors 'self'") {
		t.Errorf("policy %q", policy)
	}
	if strings.Contains(body, "evil.example") || strings.Contains(body, "{{") {
		t.Error("the page contains a part of the request, or a place that is not filled in")
	}
}

func TestPageNamesConfiguredFramesAndServers(t *testing.T) {
	res := serve(t, Config{AppKey: `a"<b`, Frames: []string{"https://a.example", "http://localhost:*"}, Servers: []string{"wss://b.example:8443", "wss://c.example"}}, http.MethodGet, nil)
	policy := res.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "connect-src 'self' wss://b.example:8443 wss://c.example; ") || !strings.HasSuffix(policy, "; frame-ancestors https://a.example http://localhost:*") {
		t.Errorf("policy %q", policy)
	}
	if want := `data-app-key="a&#34;&lt;b" data-servers="wss://b.example:8443 wss://c.example"`; !strings.Contains(res.Body.String(), want) {
		t.Errorf("the page lacks %s", want)
	}
}

func TestPageAnswersReadsOnly(t *testing.T) {
	first := serve(t, Config{}, http.MethodHead, nil)
	if first.Code != http.StatusOK || first.Header().Get("Connection") != "close" {
		t.Errorf("HEAD: %d %v", first.Code, first.Header())
	}
	tag := http.Header{"If-None-Match": {first.Header().Get("ETag")}}
	if again := serve(t, Config{}, http.MethodGet, tag); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("the same page again: %d, %d bytes", again.Code, again.Body.Len())
	}
	if other := serve(t, Config{AppKey: "other"}, http.MethodGet, tag); other.Code != http.StatusOK {
		t.Errorf("page of another configuration: %d", other.Code)
	}
	if post := serve(t, Config{}, http.MethodPost, nil); post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", post.Code, post.Header())
	}
}

// The configured texts become parts of a header and of an attribute, so nothing else may be in them.
func TestChecksAcceptAddressesOnly(t *testing.T) {
	for text, want := range map[string]bool{
		"*": true, "https://a.example": true, "https://*.a.example": true, "http://localhost:*": true, "https://[::1]:8443": true,
		"": false, "a.example": false, "https://": false, "https://a.*": false, "https://*": false, "'self'": false, "https://a b": false,
		"https://a;sandbox": false, "https://a,b": false, "https://a/": false, "https://u@a": false, "null": false, "data:": false, "https://a\n": false,
	} {
		if got := CheckFrame(text) == nil; got != want {
			t.Errorf("CheckFrame(%q) is %v", text, got)
		}
	}
	for text, want := range map[string]bool{
		"ws://a": true, "wss://a.example:8443": true, "wss://[::1]:1": true,
		"": false, "*": false, "https://a": false, "wss://*.a": false, "wss://a:*": false, "wss://a/": false, "wss://a b": false, "wss://a;b": false,
	} {
		if got := CheckServer(text) == nil; got != want {
			t.Errorf("CheckServer(%q) is %v", text, got)
		}
	}
}
