package guard

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"wcsgateway/cmd/wcs-pull/sandbox"
)

// proxied starts the proxy of a source.
func proxied(t *testing.T, source string, roots *x509.CertPool, private ...string) *Proxy {
	t.Helper()
	origin, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	socket, address, err := sandbox.Listen(sandbox.TCP, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	p, err := New(prefixes(private...)).Network(origin.Hostname()).Proxy(origin, roots, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if _, err := p.Serve(socket); err != nil {
		t.Fatal(err)
	}
	return p
}

// get reads a URL of the proxy as ffmpeg does.
func get(t *testing.T, address string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func server(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func TestProgramKnowsNothingOfTheSource(t *testing.T) {
	var asked []string
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked = append(asked, r.Host+r.URL.String()+" "+user+":"+password+" "+r.Header.Get("Range"))
		_, _ = io.WriteString(w, "#EXTM3U\n#EXTINF:1,\n1.ts?n=1\n")
	})
	host := strings.TrimPrefix(s.URL, "http://")
	p := proxied(t, "http://admin:se%40cret@"+host+"/user=x/a.m3u8?token=abc", nil, "127.0.0.0/8")
	if got := p.Source(); strings.ContainsAny(got, "?=@") || !strings.HasPrefix(got, "http://127.0.0.1:") || strings.Contains(got, "user") {
		t.Errorf("program gets %s", got)
	}
	_, list := get(t, p.Source())
	get(t, strings.Split(list, "\n")[2], "Range", "bytes=5-")
	want := []string{host + "/user=x/a.m3u8?token=abc admin:se@cret ", host + "/user=x/1.ts?n=1 admin:se@cret bytes=5-"}
	if strings.Join(asked, "|") != strings.Join(want, "|") {
		t.Errorf("server got %q, want %q", asked, want)
	}
}

func TestOthersGetNothingFromTheProxy(t *testing.T) {
	touched := false
	s := server(t, func(http.ResponseWriter, *http.Request) { touched = true })
	p := proxied(t, s.URL+"/a.m3u8", nil, "127.0.0.0/8")
	at := p.Address()
	foreign := proxied(t, s.URL+"/a.m3u8", nil, "127.0.0.0/8").Source()
	for _, path := range []string{"/", "/a.m3u8", "/" + s.URL, "/AAAA", foreign[strings.LastIndexByte(foreign, '/'):]} {
		if status, _ := get(t, at+path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
	via, err := url.Parse(p.Address())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return via, nil }, DisableKeepAlives: true}}
	for address, want := range map[string]int{p.Source(): http.StatusOK, s.URL: http.StatusNotFound, strings.Replace(p.Source(), "127.0.0.1", "127.0.0.2", 1): http.StatusNotFound} {
		touched = false
		res, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || touched != (want == http.StatusOK) {
			t.Errorf("%s by way of the proxy: status %d, reached %v", address, res.StatusCode, touched)
		}
	}
	touched = false
	conn, err := net.Dial("tcp", p.host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	host := strings.TrimPrefix(s.URL, "http://")
	if _, err := io.WriteString(conn, "CONNECT "+host+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 404"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 404" {
		t.Errorf("answer to CONNECT is %q, error %v", answer, err)
	}
	if touched {
		t.Error("the server was reached")
	}
}

func TestOtherServersGetNoCredentials(t *testing.T) {
	auth := "none"
	other := server(t, func(_ http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization") + r.Header.Get("Referer") + r.Header.Get("Cookie")
	})
	first := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/x"})
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "127.0.0.2", 1)+"/y", http.StatusFound)
	})
	// The other server listens on 127.0.0.1 only, so the redirect to 127.0.0.2 fails: the same port is
	// another host.
	p := proxied(t, strings.Replace(first.URL, "//", "//user:password@", 1)+"/x", nil, "127.0.0.0/8")
	if status, _ := get(t, p.Source()); status != http.StatusBadGateway || auth != "none" {
		t.Errorf("status %d, credentials %q", status, auth)
	}
	second := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/y", http.StatusFound) })
	p = proxied(t, strings.Replace(second.URL, "//", "//user:password@", 1)+"/x", nil, "127.0.0.0/8")
	if status, _ := get(t, p.Source()); status != http.StatusOK || auth != "" {
		t.Errorf("status %d, credentials %q, want none", status, auth)
	}
}

func TestRedirectsLeadNowhereInside(t *testing.T) {
	touched := false
	inside := server(t, func(http.ResponseWriter, *http.Request) { touched = true })
	port := inside.Listener.Addr().(*net.TCPAddr).Port
	for _, location := range []string{
		inside.URL, fmt.Sprintf("http://localhost:%d/", port), fmt.Sprintf("http://[::ffff:127.0.0.1]:%d/", port), fmt.Sprintf("//127.0.0.1:%d/", port),
		fmt.Sprintf("http://2130706433:%d/", port), fmt.Sprintf("http://0177.0.0.1:%d/", port), fmt.Sprintf("http://127.1:%d/", port),
		fmt.Sprintf("http://127.0.0.2@127.0.0.1:%d/", port), "file:///etc/passwd", fmt.Sprintf("tcp://127.0.0.1:%d", port), "http://169.254.169.254/",
	} {
		l, err := net.Listen("tcp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		})}}
		s.Start()
		p := proxied(t, s.URL+"/a.m3u8", nil, "127.0.0.2/32")
		if status, _ := get(t, p.Source()); status != http.StatusBadGateway || p.Fault() == nil {
			t.Errorf("%s: status %d, fault %v", location, status, p.Fault())
		}
		p.Close()
		s.Close()
	}
	if touched {
		t.Error("the server inside was reached")
	}
}

// Addresses that ffmpeg would open by itself, or that an attacker hopes so.
func TestPlaylistsWithOtherAddressesAreRefused(t *testing.T) {
	for _, address := range []string{
		"tcp://127.0.0.1:6379/x", "tcp://0.0.0.0:9999?listen=1", "file:///etc/passwd", "file:x", "concat:a|b", "crypto:tcp://127.0.0.1", "crypto+http://x/y",
		"data:,x", "udp://127.0.0.1:1", "HTTP:x", "http:x", "subfile,,start,0,end,0,,:/etc/passwd", "javascript:x", "http://", "http:///x", "ftp://x/y",
	} {
		for _, form := range []string{
			"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n", "#EXTM3U\r#EXTINF:1,\r%s\r", "#EXTM3U\n#EXT-X-MAP:URI=\"%s\"\n", "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"%s\"\n",
			"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=%s\n", "#EXTM3U\n#EXT-X-MEDIA:URI=\"http://x/a\",URI=%s\n", "#EXTM3U\n#EXT-X-KEY:X=\"\\\",URI=\"%s\"\n",
		} {
			s := server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, form, address) })
			p := proxied(t, s.URL+"/a.m3u8", nil, "127.0.0.0/8")
			status, body := get(t, p.Source())
			if sealed := status == http.StatusOK && !strings.Contains(body, address) && strings.Contains(body, "http://127.0.0.1"); status != http.StatusBadGateway && !sealed {
				t.Errorf("%q: status %d\n%s", fmt.Sprintf(form, address), status, body)
			}
			if status == http.StatusOK && strings.Contains(address, "://") {
				t.Errorf("%q passes", fmt.Sprintf(form, address))
			}
		}
	}
}

// However a server sends it, a playlist does not pass unchanged.
func TestPlaylistsAreFoundInEveryAnswer(t *testing.T) {
	const list = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ntcp://127.0.0.1:6379/x\n"
	tag := "ID3\x03\x00\x00\x00\x00\x00\x05hello"
	long := "ID3\x03\x00\x00\x00\x08\x00\x00" + strings.Repeat("x", 8<<14)
	for name, answer := range map[string]http.HandlerFunc{
		"partial": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(list)-1, len(list)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, list)
		},
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1f\x8b")
		},
		"created": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, list)
		},
		"tag":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tag+list) },
		"tags":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tag+tag+tag+list) },
		"large tag": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long+list) },
		"zero": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "#EXTM3U\x00tcp://127.0.0.1:6379\n")
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "#EXTM3U\n"+strings.Repeat("#\n", maxPlaylist))
		},
	} {
		s := server(t, answer)
		p := proxied(t, s.URL+"/a.m3u8", nil, "127.0.0.0/8")
		if status, body := get(t, p.Source()); status != http.StatusBadGateway {
			t.Errorf("%s: status %d, %q", name, status, body[:min(len(body), 100)])
		}
	}
}

func TestMediaPassesUnchanged(t *testing.T) {
	for _, body := range []string{"", "x", "media", "\x00#EXTM3U\n", "ID3\x03\x00\x00\x00\x00\x00\x05hello" + strings.Repeat("audio", 1000), strings.Repeat("G", 1<<20)} {
		s := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		p := proxied(t, s.URL+"/a.ts", nil, "127.0.0.0/8")
		if status, got := get(t, p.Source()); status != http.StatusOK || got != body {
			t.Errorf("%.20q: status %d, %d bytes of %d", body, status, len(got), len(body))
		}
	}
}

func TestTLSIsVerifiedForSourcesRedirectsAndSegments(t *testing.T) {
	var plain *httptest.Server
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "https://"+r.Host+"/list", http.StatusFound)
		case "/down":
			http.Redirect(w, r, plain.URL, http.StatusFound)
		case "/list":
			_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"HTTPS://u:p@"+r.Host+"/key\"\nhttps://"+r.Host+"/1.ts\n//"+r.Host+"/2.ts\n3.ts\n")
		default:
			_, _ = io.WriteString(w, "TLS "+r.URL.Path)
		}
	}))
	defer s.Close()
	plain = server(t, func(http.ResponseWriter, *http.Request) { t.Error("the server without TLS was reached") })
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := proxied(t, s.URL+"/moved", roots, "127.0.0.0/8")
	status, list := get(t, p.Source())
	lines := strings.Split(list, "\n")
	if status != http.StatusOK || len(lines) != 6 {
		t.Fatalf("status %d, playlist\n%s", status, list)
	}
	key := quotedAddress.FindStringSubmatch(lines[1])[1]
	for address, want := range map[string]string{key: "TLS /key", lines[2]: "TLS /1.ts", lines[3]: "TLS /2.ts", lines[4]: "TLS /3.ts"} {
		if _, body := get(t, address); body != want {
			t.Errorf("segment is %q, want %q", body, want)
		}
	}
	if again := strings.Split(func() string { _, l := get(t, p.Source()); return l }(), "\n"); again[2] != lines[2] {
		t.Error("an address of a playlist changes")
	}
	if status, _ := get(t, proxied(t, s.URL+"/down", roots, "127.0.0.0/8").Source()); status != http.StatusBadGateway {
		t.Errorf("redirect from TLS: status %d", status)
	}
	strict := proxied(t, s.URL+"/list", nil, "127.0.0.0/8")
	if status, _ := get(t, strict.Source()); status != http.StatusBadGateway {
		t.Errorf("status %d without the root, want the certificate refused", status)
	}
	if strict.Fault() == nil || !strings.Contains(strict.Fault().Error(), "certificate") {
		t.Errorf("fault is %v", strict.Fault())
	}
}

func TestStatusOfTheSourceIsItsFault(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	p := proxied(t, s.URL+"/none", nil, "127.0.0.0/8")
	get(t, p.Source())
	var status StatusError
	if !errors.As(p.Fault(), &status) || status != http.StatusNotFound {
		t.Errorf("fault is %v", p.Fault())
	}
}

func TestSourceLeadsToFewHosts(t *testing.T) {
	f := &fakeNet{}
	n := f.guard().Network("8.8.8.8")
	for i := range maxHosts + 10 {
		_, err := f.try(t, n, fmt.Sprintf("9.9.9.%d:80", i))
		if (err == nil) != (i < maxHosts) {
			t.Errorf("host %d: error %v", i, err)
		}
	}
	if _, err := f.try(t, n, "9.9.9.1:80"); err != nil {
		t.Errorf("known host: %v", err)
	}
}
