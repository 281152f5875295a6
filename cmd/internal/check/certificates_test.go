package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/translate"
)

// keyPair writes a self-signed certificate for wcs.example.com.
func keyPair(t *testing.T, from, until time.Duration) config.KeyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), DNSNames: []string{"wcs.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pair := config.KeyPair{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for path, block := range map[string]*pem.Block{pair.Cert: {Type: "CERTIFICATE", Bytes: der}, pair.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

func TestCertificatesAreExamined(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		server      string
		level       Level
		part        string
	}{
		{"good", -day, 100 * day, "wcs.example.com", OK, "wcs.example.com, until 20"},
		{"ends soon", -day, 5 * day, "", Warning, "renew"},
		{"ended", -2 * day, -day, "", Fault, "ended on 20"},
		{"not yet valid", day, 2 * day, "", Fault, "not valid before 20"},
		{"another name", -day, 100 * day, "other.example.com", Fault, "is not for other.example.com, which listen.lb names, but for wcs.example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Listen.TLS, cfg.Listen.LB.Server = keyPair(t, tt.from, tt.until), tt.server
			wantResult(t, (&connection{cfg: cfg}).certificates(t.Context()), "listen.tls", tt.level, tt.part)
		})
	}
	if found := (&connection{cfg: config.Default()}).certificates(t.Context()); len(found) > 0 {
		t.Errorf("results without certificates: %+v", found)
	}
}

func TestBackendsAreExaminedWithoutHook(t *testing.T) {
	status := http.StatusNotFound
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("%s %s was called", r.Method, r.URL)
		}
		w.WriteHeader(status)
	}))
	defer backend.Close()
	secure := httptest.NewTLSServer(backend.Config.Handler)
	defer secure.Close()
	examine := func(url string) []Result {
		cfg := config.Default()
		cfg.Applications = map[string]config.Application{"shop": {Hooks: config.Hooks{URL: url}}, "none": {}}
		return (&connection{cfg: cfg}).backends(t.Context())
	}
	const check = "applications[shop].hooks.url"
	wantResult(t, examine(backend.URL), check, OK)
	wantResult(t, examine(secure.URL), check, Fault, "certificate")
	status = http.StatusBadGateway
	wantResult(t, examine(backend.URL), check, Warning, "502")
	backend.Close()
	wantResult(t, examine(backend.URL), check, Fault, "refused", "must run")
}

func TestCandidatesAreExamined(t *testing.T) {
	list := func(texts ...string) (all []translate.Candidate) {
		for _, text := range texts {
			at := netip.MustParseAddrPort(text[4:])
			all = append(all, translate.Candidate{Type: "host", Transport: text[:3], Address: at.Addr().String(), Port: fmt.Sprint(at.Port())})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		list  []translate.Candidate
		level Level
		part  string
	}{
		{"public", list("udp 192.0.2.1:7882", "tcp 192.0.2.1:7881", "udp 10.0.0.1:7882"), OK, "udp 192.0.2.1:7882"},
		{"private", list("udp 10.0.0.1:7882", "tcp [fd00::1]:7881"), Warning, "private"},
		{"loopback", list("udp 127.0.0.1:7882", "tcp 127.0.0.1:7881"), Warning, "loopback"},
		{"loopback and private", list("udp 127.0.0.1:7882", "tcp 127.0.0.1:7881", "udp 10.0.0.1:7882"), Warning, "private"},
		{"none", nil, Fault, "none in the answer"},
		{"no TCP", list("udp 192.0.2.1:7882"), Warning, "rtc.tcp_port"},
		{"no UDP", list("tcp 192.0.2.1:7881"), Warning, "rtc.udp_port"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantResult(t, candidates(tt.list), "livekit candidates", tt.level, tt.part) })
	}
}

func TestVersionsAreCompared(t *testing.T) {
	for _, tt := range []struct {
		version string
		want    bool
	}{{"1.8.4", true}, {"1.9.0", false}, {"1.13.5", false}, {"", false}, {"unknown", false}} {
		if got := older(tt.version, minLiveKit); got != tt.want {
			t.Errorf("%q is older than %s: %t", tt.version, minLiveKit, got)
		}
	}
}
