package guard

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// proxied is a client that uses the proxy of a source as ffmpeg does.
func proxied(t *testing.T, source string, roots *x509.CertPool, private ...string) (*Proxy, *http.Client) {
	t.Helper()
	origin, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(prefixes(private...)).Network(origin.Hostname()).Proxy(origin, roots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	at, err := url.Parse(p.Address())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(at)}
	t.Cleanup(transport.CloseIdleConnections)
	return p, &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	res, err := c.Get(address)
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

func TestProgramKnowsNoSecretOfTheSource(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, r.Host+r.URL.String()+" "+user+":"+password)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	p, client := proxied(t, "http://admin:se%40cret@"+host+"/live/a.m3u8?token=abc", nil, "127.0.0.0/8")
	if got := p.Source(); got != "http://source.invalid/live/a.m3u8" {
		t.Errorf("program gets %s", got)
	}
	get(t, client, p.Source())
	get(t, client, "http://source.invalid/live/1.ts?n=1")
	want := []string{host + "/live/a.m3u8?token=abc admin:se@cret", host + "/live/1.ts?n=1 admin:se@cret"}
	if strings.Join(asked, "|") != strings.Join(want, "|") {
		t.Errorf("server got %q, want %q", asked, want)
	}
}

func TestOtherServersGetNoCredentials(t *testing.T) {
	auth := "none"
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { auth = r.Header.Get("Authorization") }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/x", http.StatusFound))
	defer first.Close()
	p, client := proxied(t, strings.Replace(first.URL, "//", "//user:password@", 1)+"/x", nil, "127.0.0.0/8")
	if status, _ := get(t, client, p.Source()); status != http.StatusOK || auth != "" {
		t.Errorf("status %d, authorization %q, want none", status, auth)
	}
}

func TestProxyRefusesWhatLeadsInside(t *testing.T) {
	touched := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched = true }))
	defer inside.Close()
	// The source itself is allowed by its exact address, everything else on loopback is not.
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	var server httptest.Server
	server.Listener = l
	server.Config = &http.Server{Handler: http.RedirectHandler(inside.URL, http.StatusFound)}
	server.Start()
	defer server.Close()
	p, client := proxied(t, server.URL+"/a.m3u8", nil, "127.0.0.2/32")
	port := inside.Listener.Addr().(*net.TCPAddr).Port
	for _, address := range []string{
		p.Source(), inside.URL, "http://localhost:" + netip.MustParseAddrPort(inside.Listener.Addr().String()).String()[len("127.0.0.1:"):],
		"http://127.0.0.1.tls.invalid:1/", "http://[::ffff:127.0.0.1]:80/", "http://2130706433/", "http://0177.0.0.1/", "http://[::1]/",
		p.Address() + "/",
	} {
		if status, _ := get(t, client, address); status != http.StatusBadGateway {
			t.Errorf("%s: status %d, want it refused", address, status)
		}
	}
	if !errors.Is(p.Fault(), ErrForbidden) {
		t.Errorf("fault is %v, want ErrForbidden", p.Fault())
	}
	if touched {
		t.Errorf("the server on port %d was reached", port)
	}
}

func TestProxyMakesNoTunnels(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	p, _ := proxied(t, server.URL, nil, "127.0.0.0/8")
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	host := strings.TrimPrefix(server.URL, "http://")
	if _, err := io.WriteString(conn, "CONNECT "+host+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 502"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 502" {
		t.Errorf("answer %q, error %v", answer, err)
	}
}

func TestTLSIsVerifiedForSourcesRedirectsAndSegments(t *testing.T) {
	segment := "segment"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "https://"+r.Host+"/list", http.StatusFound)
		case "/list":
			_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"HTTPS://u:p@"+r.Host+"/key\"\nhttps://"+r.Host+"/1.ts\nhttps://cdn.example/2.ts?a=https://x.example\nrelative.ts\n")
		default:
			_, _ = io.WriteString(w, segment)
		}
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	port := server.Listener.Addr().(*net.TCPAddr).Port
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	p, client := proxied(t, server.URL+"/moved", roots, "127.0.0.0/8")
	status, list := get(t, client, p.Source())
	at := strings.TrimPrefix(server.URL, "https://127.0.0.1")
	want := "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"http://127.0.0.1.tls.invalid" + at + "/key\"\nhttp://127.0.0.1.tls.invalid" + at +
		"/1.ts\nhttp://cdn.example.tls.invalid/2.ts?a=https://x.example\nrelative.ts\n"
	if status != http.StatusOK || list != want {
		t.Errorf("status %d, playlist\n%s\nwant\n%s", status, list, want)
	}
	if _, body := get(t, client, "http://127.0.0.1.tls.invalid"+at+"/1.ts"); body != segment {
		t.Errorf("segment is %q", body)
	}
	// The certificate is for 127.0.0.1 and example.com.
	strict, client := proxied(t, server.URL+"/list", nil, "127.0.0.0/8")
	if status, _ := get(t, client, strict.Source()); status != http.StatusBadGateway {
		t.Errorf("port %d: status %d without the root, want the certificate refused", port, status)
	}
	if strict.Fault() == nil || !strings.Contains(strict.Fault().Error(), "certificate") {
		t.Errorf("fault is %v", strict.Fault())
	}
}

func TestStatusOfTheSourceIsItsFault(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	p, client := proxied(t, server.URL+"/none", nil, "127.0.0.0/8")
	get(t, client, p.Source())
	var status StatusError
	if !errors.As(p.Fault(), &status) || status != http.StatusNotFound {
		t.Errorf("fault is %v", p.Fault())
	}
}

func TestPlaylistWithoutAnEndIsRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "#EXTM3U\n"+strings.Repeat("#\n", maxPlaylist))
	}))
	defer server.Close()
	p, client := proxied(t, server.URL+"/list", nil, "127.0.0.0/8")
	if status, _ := get(t, client, p.Source()); status != http.StatusBadGateway {
		t.Errorf("status %d, want it refused", status)
	}
}
