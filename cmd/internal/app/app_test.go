package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
)

// gatewayUnderTest is a gateway without Redis and LiveKit, which sessions do not need.
type gatewayUnderTest struct {
	public, secure, internal string
	log                      *logged
	changed                  chan struct{}

	mu   sync.Mutex
	next func() (config.Config, error)
}

// logged collects the log.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return true
		}
	}
	return false
}

// base returns a configuration with free ports of this machine.
func base(t *testing.T) config.Config {
	t.Helper()
	addr := func() string { return fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t)) }
	unreachable := addr()
	cfg := config.Default()
	cfg.Listen.Public, cfg.Listen.Secure, cfg.Listen.Internal = addr(), addr(), addr()
	cfg.LiveKit.URL, cfg.LiveKit.APIKey, cfg.LiveKit.APISecret = "http://"+unreachable, "key", "secret"
	cfg.Redis.Addrs = []string{unreachable}
	cfg.Drain = config.Drain{}
	return cfg
}

func start(t *testing.T, cfg config.Config) *gatewayUnderTest {
	t.Helper()
	cfg.Complete()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	g := &gatewayUnderTest{
		public: cfg.Listen.Public, secure: cfg.Listen.Secure, internal: cfg.Listen.Internal,
		log: &logged{}, changed: make(chan struct{}), next: func() (config.Config, error) { return cfg, nil },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, cfg, Options{Log: zerolog.New(g.log), Version: "test", Source: Source{
			Load: func() (config.Config, error) {
				g.mu.Lock()
				defer g.mu.Unlock()
				return g.next()
			},
			Changed: g.changed, SetLogLevel: func(level string) { _, _ = fmt.Fprintln(g.log, "log level is "+level) },
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("end of the gateway: %v", err)
		}
	})
	rig.Eventually(t, time.Minute, "the gateway listens", func() bool { return g.log.has("listening: listen.internal") })
	return g
}

// reload offers another configuration, and waits until it was processed.
func (g *gatewayUnderTest) reload(next func() (config.Config, error)) {
	g.mu.Lock()
	g.next = next
	g.mu.Unlock()
	g.changed <- struct{}{}
	g.changed <- struct{}{} // received once the first one is done
}

func (g *gatewayUnderTest) metric(t *testing.T, series string) string {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + g.internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s", series)
	return ""
}

func TestReloadAppliesToNewSessionsOnly(t *testing.T) {
	cfg := base(t)
	cfg.Applications = map[string]config.Application{"old": {}}
	g := start(t, cfg)
	url := "ws://" + g.public
	running := rig.Connect(t, url, "old")

	next := cfg
	if v := g.metric(t, `wcs_limit{limit="pending"}`); v != strconv.Itoa(cfg.Limits.Pending) {
		t.Errorf("wcs_limit of pending %s, want %d", v, cfg.Limits.Pending)
	}
	next.Applications = map[string]config.Application{"new": {}}
	next.Limits.Pending++
	next.Log.Level, next.LiveKit.CallTimeout, next.Listen.Origins = "warn", time.Minute, []string{"https://a.example"}
	next.Complete()
	g.reload(func() (config.Config, error) { return next, nil })
	rig.Connect(t, url, "new")
	refused := rig.Dial(t, url)
	refused.Send("connection", map[string]any{"appKey": "old"})
	if m := refused.Await("fail"); !strings.Contains(m.Raw, "Application not found") {
		t.Errorf("got %s", m.Raw)
	}
	if _, res, _ := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://b.example"}}); res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("new list of origins not applied: %v", res)
	}
	for _, words := range [][]string{
		{"configuration reloaded", `"applications":1`, "listen.origins", "log.level"},
		{"changed settings need a restart", `"keys":["livekit.callTimeout"]`},
		{"log level is warn"},
	} {
		if !g.log.has(words...) {
			t.Errorf("the log lacks a line with %q", words)
		}
	}
	if v := g.metric(t, `wcs_limit{limit="pending"}`); v != strconv.Itoa(next.Limits.Pending) {
		t.Errorf("wcs_limit of pending %s after the reload, want %d", v, next.Limits.Pending)
	}
	if v := g.metric(t, "wcs_config_last_reload_successful"); v != "1" {
		t.Errorf("wcs_config_last_reload_successful %s", v)
	}

	g.reload(func() (config.Config, error) {
		return config.Load("", []string{"WCS_LIVEKIT_URL=ws://h", "WCS_LIVEKIT_APIKEY=k", "WCS_LIVEKIT_APISECRET=s", "WCS_REDIS_ADDRS=[h]", "WCS_APPLICATIONS={bad: {native: 1}}"})
	})
	for _, words := range [][]string{
		{"new configuration rejected", `"key":"redis.addrs[0]"`, "host:port"},
		{"new configuration rejected", `"key":"applications[bad].native"`},
	} {
		if !g.log.has(words...) {
			t.Errorf("the log lacks a line with %q", words)
		}
	}
	if v := g.metric(t, "wcs_config_last_reload_successful"); v != "0" {
		t.Errorf("wcs_config_last_reload_successful %s", v)
	}
	rig.Connect(t, url, "new") // as before

	running.Send("sendData", map[string]any{"operationId": "still-there"})
	running.Await("DataStatusEvent")
}

// pair writes a self-signed certificate for a name.
func pair(t *testing.T, files config.KeyPair, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{files.Cert: certPEM, files.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

func TestCertificateIsRenewed(t *testing.T) {
	cfg := base(t)
	cfg.Listen.TLS = config.KeyPair{Cert: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	first := pair(t, cfg.Listen.TLS, "first")
	g := start(t, cfg)
	url := "wss://" + g.secure
	open := func(roots *x509.CertPool) (*rig.Client, string) {
		t.Helper()
		name := ""
		c := rig.DialWith(t, &websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots, VerifyConnection: func(s tls.ConnectionState) error {
			name = s.PeerCertificates[0].Subject.CommonName
			return nil
		}}}, url)
		return c, name
	}
	running, name := open(first)
	if name != "first" {
		t.Errorf("certificate of %s", name)
	}

	const expiry = `wcs_certificate_expiry_timestamp_seconds{listener="listen_tls"}`
	before := g.metric(t, expiry)
	if seconds, err := strconv.ParseFloat(before, 64); err != nil || time.Until(time.Unix(int64(seconds), 0)) <= 0 {
		t.Errorf("%s is %s", expiry, before)
	}
	if err := os.WriteFile(cfg.Listen.TLS.Cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	same := func() (config.Config, error) { c := cfg; c.Complete(); return c, nil }
	g.reload(same)
	if !g.log.has("new certificate rejected") {
		t.Error("log does not name the broken certificate")
	}
	if v := g.metric(t, "wcs_config_last_reload_successful"); v != "0" {
		t.Errorf("wcs_config_last_reload_successful %s", v)
	}
	open(first) // the old certificate stays

	second := pair(t, cfg.Listen.TLS, "second")
	g.reload(same)
	if _, name := open(second); name != "second" {
		t.Errorf("certificate of %s", name)
	}
	if v := g.metric(t, "wcs_config_last_reload_successful"); v != "1" {
		t.Errorf("wcs_config_last_reload_successful %s", v)
	}
	running.Send("connection", map[string]any{"appKey": "defaultApp"}) // on the old certificate's connection
	running.Await("getUserData")
}

// Old TLS versions are rejected, and all ciphers have forward secrecy.
func TestTLSIsModern(t *testing.T) {
	cfg := base(t)
	cfg.Listen.TLS = config.KeyPair{Cert: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	roots := pair(t, cfg.Listen.TLS, "gateway")
	g := start(t, cfg)
	shake := func(c *tls.Config) (tls.ConnectionState, error) {
		c.RootCAs = roots
		conn, err := tls.Dial("tcp", g.secure, c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState(), nil
	}
	if _, err := shake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 accepted")
	}
	if _, err := shake(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}}); err == nil {
		t.Error("cipher without forward secrecy accepted")
	}
	if s, err := shake(&tls.Config{MaxVersion: tls.VersionTLS12}); err != nil || s.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %v", err)
	}
	if s, err := shake(&tls.Config{NextProtos: []string{"h2", "http/1.1"}}); err != nil || s.Version != tls.VersionTLS13 || s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("TLS 1.3: %x %q %v", s.Version, s.NegotiatedProtocol, err)
	}
}

// The PROXY header is accepted from trusted proxies only, which must send one.
func TestProxyHeaderIsAcceptedFromTrustedProxiesOnly(t *testing.T) {
	cfg := base(t)
	cfg.Listen.ProxyProtocol, cfg.Listen.TrustedProxies = true, []string{"127.0.0.9/32"}
	g := start(t, cfg)
	const v1 = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 8080\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xcb\x00\x71\x08\xc0\x00\x02\x01" + "\x12\x67\x1f\x90" // 203.0.113.8:4711
	const trusted = "PROXY TCP4 127.0.0.9 192.0.2.1 4711 8080\r\n"
	for _, tt := range []struct{ name, from, header, want string }{
		{"forged X-Forwarded-For of a trusted address", "127.0.0.9", trusted, "/127.0.0.9:4711/"},
		{"version 1", "127.0.0.9", v1, "/203.0.113.7:4711/"},
		{"version 2", "127.0.0.9", v2, "/203.0.113.8:4711/"},
		{"none from a proxy", "127.0.0.9", "", ""},
		{"forged", "127.0.0.2", v1, ""},
		{"none from elsewhere", "127.0.0.2", "", "/127.0.0.2:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := websocket.Dialer{HandshakeTimeout: time.Minute, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				local := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(tt.from)}}
				c, err := local.DialContext(ctx, network, addr)
				if err == nil {
					_, err = io.WriteString(c, tt.header)
				}
				return c, err
			}}
			ws, _, err := d.Dial("ws://"+g.public, http.Header{"X-Forwarded-For": {"203.0.113.99"}})
			if tt.want == "" {
				if err == nil {
					_ = ws.Close()
					t.Error("connection accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ws.Close() }()
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"defaultApp"}]}`)); err != nil {
				t.Fatal(err)
			}
			if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), `"authToken":"`+tt.want) {
				t.Errorf("got %.300s %v, want an authToken that begins %s", b, err, tt.want)
			}
		})
	}
}

// The limit of sockets follows the process's limit of open files, so that some are left for Redis and
// LiveKit.
func TestSocketsFollowOpenFiles(t *testing.T) {
	l := limits(config.Limits{})
	if n := openFiles(); l.Connections != n || n < 1 {
		t.Errorf("%d sockets, %d open files", l.Connections, n)
	}
	if l := limits(config.Limits{Connections: 7}); l.Connections != 7 {
		t.Errorf("%d sockets, want 7", l.Connections)
	}
}

func TestRunReportsTakenAddress(t *testing.T) {
	cfg := base(t)
	cfg.Complete()
	cfg.Listen.Internal = cfg.Listen.Public
	err := Run(t.Context(), cfg, Options{Log: zerolog.Nop()})
	var taken *net.OpError
	if !errors.As(err, &taken) || !strings.Contains(err.Error(), "listen.internal") {
		t.Errorf("error %v, want one that names listen.internal", err)
	}
}
