package guard

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// digestServer is a server that lets in who knows the password, by Digest as RFC 7616 has it.
type digestServer struct {
	algorithm string
	qop       string // "" as in RFC 2069
	also      string // another way that it offers
	serve     http.HandlerFunc

	mu     sync.Mutex
	nonce  int // the current one: each challenge has a new one
	counts map[string]bool
	asked  int      // requests that were rejected
	clear  []string // headers that are not of Digest
}

var digestParameter = regexp.MustCompile(`([a-z]+)=(?:"([^"]*)"|([^",]+))`)

func (d *digestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	header := r.Header.Get("Authorization")
	if header != "" && !strings.HasPrefix(header, "Digest ") {
		d.clear = append(d.clear, header)
	}
	if d.knows(r, header) {
		d.serve(w, r)
		return
	}
	d.asked++
	d.nonce++
	if d.also != "" {
		w.Header().Add("WWW-Authenticate", d.also)
	}
	challenge := fmt.Sprintf(`Digest realm="the \"web\"", nonce="%d", opaque="o"`, d.nonce)
	if d.algorithm != "" {
		challenge += ", algorithm=" + d.algorithm
	}
	if d.qop != "" {
		challenge += fmt.Sprintf(", qop=%q", d.qop)
	}
	w.Header().Add("WWW-Authenticate", challenge)
	http.Error(w, "who are you?", http.StatusUnauthorized)
}

// knows reports whether an answer is that of the user "admin" with the password "se@cret".
func (d *digestServer) knows(r *http.Request, header string) bool {
	p := map[string]string{}
	for _, m := range digestParameter.FindAllStringSubmatch(strings.ReplaceAll(header, `\"`, "'"), -1) {
		p[m[1]] = m[2] + m[3]
	}
	sum := func(parts ...string) string {
		h := map[string]func() hash.Hash{"": md5.New, "MD5": md5.New, "SHA-256": sha256.New}[d.algorithm]()
		_, _ = io.WriteString(h, strings.Join(parts, ":"))
		return hex.EncodeToString(h.Sum(nil))
	}
	if p["nonce"] != fmt.Sprint(d.nonce) || p["opaque"] != "o" || p["username"] != "admin" || p["uri"] != r.RequestURI || p["realm"] != "the 'web'" {
		return false
	}
	a1, a2 := sum("admin", `the "web"`, "se@cret"), sum(r.Method, r.RequestURI)
	if d.qop == "" {
		return p["response"] == sum(a1, p["nonce"], a2)
	}
	once := p["nonce"] + p["nc"]
	if d.counts[once] || len(p["nc"]) != 8 || p["cnonce"] == "" {
		return false
	}
	d.counts[once] = true
	return p["response"] == sum(a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2)
}

func startDigest(t *testing.T, d *digestServer) (host string) {
	t.Helper()
	d.counts = map[string]bool{}
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestServersGetPasswordsByDigest(t *testing.T) {
	for name, d := range map[string]*digestServer{
		"MD5": {algorithm: "MD5", qop: "auth"}, "SHA-256": {algorithm: "SHA-256", qop: "auth"}, "no algorithm": {qop: "auth,auth-int"},
		"RFC 2069": {}, "beside Basic": {algorithm: "SHA-256", qop: "auth", also: `Basic realm="web"`},
	} {
		t.Run(name, func(t *testing.T) {
			d.serve = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "#EXTM3U\n#EXTINF:1,\n1.ts?n=1\n")
			}
			p := proxied(t, "http://admin:se%40cret@"+startDigest(t, d)+"/live/a.m3u8?token=abc", nil, "127.0.0.0/8")
			for range 3 {
				if status, _ := get(t, p.Source()); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
			}
			_, list := get(t, p.Source())
			if status, _ := get(t, strings.Split(list, "\n")[2]); status != http.StatusOK || d.asked != 1 {
				t.Errorf("segment: status %d; the server asked %d times, want 1", status, d.asked)
			}
			d.nonce++
			if status, _ := get(t, p.Source()); status != http.StatusOK || d.asked != 2 {
				t.Errorf("with a new nonce: status %d; the server asked %d times, want 2", status, d.asked)
			}
			if d.clear != nil {
				t.Errorf("the server got %q", d.clear)
			}
		})
	}
}

func TestWrongPasswordIsAFault(t *testing.T) {
	d := &digestServer{algorithm: "SHA-256", qop: "auth"}
	host := startDigest(t, d)
	for url, rejected := range map[string]int{"http://admin:wrong@" + host + "/": 2, "http://" + host + "/": 1} {
		d.asked = 0
		p := proxied(t, url, nil, "127.0.0.0/8")
		if status, _ := get(t, p.Source()); status != http.StatusUnauthorized || p.Fault() != StatusError(http.StatusUnauthorized) { //nolint:errorlint // a value
			t.Errorf("status %d, fault %v", status, p.Fault())
		}
		if d.asked != rejected {
			t.Errorf("%d requests, want %d", d.asked, rejected)
		}
	}
}

// Only what the server asks for is answered, and the password goes in clear only where it wants that.
func TestPasswordsInClearNeedARequest(t *testing.T) {
	for offer, want := range map[string]string{"": "Basic", `Basic realm="x"`: "Basic", `basic realm="x"`: "Basic", "Negotiate": "", `Digest nonce="1", algorithm=MD4`: ""} {
		var got []string
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			got = append(got, scheme)
			if offer != "" {
				w.Header().Set("WWW-Authenticate", offer)
			}
			w.WriteHeader(http.StatusUnauthorized)
		})
		p := proxied(t, strings.Replace(s.URL, "//", "//admin:wrong@", 1)+"/", nil, "127.0.0.0/8")
		get(t, p.Source())
		if first, last := got[0], got[len(got)-1]; first != "" || last != want || len(got) > 2 {
			t.Errorf("%q: the server got %q, want at last %q", offer, got, want)
		}
	}
}

// A server that wants the password sends it to no other one by a redirect, which asks for it, too.
func TestOtherServersGetNoDigest(t *testing.T) {
	other := &digestServer{algorithm: "MD5", qop: "auth", serve: func(http.ResponseWriter, *http.Request) {}}
	otherHost := startDigest(t, other)
	var headers []string
	spy := server(t, func(_ http.ResponseWriter, r *http.Request) { headers = append(headers, r.Header.Get("Authorization")) })
	first := &digestServer{algorithm: "MD5", qop: "auth"}
	first.serve = func(w http.ResponseWriter, r *http.Request) {
		target := spy.URL + "/y"
		if r.URL.Path == "/asks" {
			target = "http://" + otherHost + "/y"
		}
		http.Redirect(w, r, target, http.StatusFound)
	}
	host := startDigest(t, first)
	for path, want := range map[string]int{"/x": http.StatusOK, "/asks": http.StatusUnauthorized} {
		p := proxied(t, "http://admin:se%40cret@"+host+path, nil, "127.0.0.0/8")
		if status, _ := get(t, p.Source()); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
	if len(headers) != 1 || headers[0] != "" || other.asked != 1 || other.clear != nil {
		t.Errorf("the other servers got %q, and were asked %d times, %q", headers, other.asked, other.clear)
	}
}
