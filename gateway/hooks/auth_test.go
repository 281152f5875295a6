package hooks

import (
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func insecure() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // New must reject it
}

// hmacMD5 is RFC 2104, implemented without crypto/hmac.
func hmacMD5(key, text []byte) string {
	if len(key) > md5.BlockSize {
		sum := md5.Sum(key)
		key = sum[:]
	}
	inner, outer := make([]byte, md5.BlockSize), make([]byte, md5.BlockSize)
	copy(inner, key)
	copy(outer, key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := md5.Sum(append(inner, text...))
	sum = md5.Sum(append(outer, sum[:]...))
	return hex.EncodeToString(sum[:])
}

func TestCallsAreSignedWithHMAC(t *testing.T) {
	// RFC 2202, test case 2
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	newBackend(t, Config{URL: "http://host", HMACSecret: "Jefe"}, Deps{}).setHeaders(req, []byte("what do ya want for nothing?"))
	if got := req.Header.Get("Authorization"); got != "WCS 750c783e6ab0b503eaa86e310a5db738" {
		t.Errorf("got %s", got)
	}

	secret := "a secret that is longer than a block of MD5, which has sixty-four bytes"
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("Authorization") != "WCS "+hmacMD5([]byte(secret), body) {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	for s, ok := range map[string]bool{secret: true, secret + "x": false} {
		b := newBackend(t, Config{URL: srv.URL, HMACSecret: s}, Deps{})
		if _, err := b.Call(t.Context(), Connect, object(t, connectSample)); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCallsHaveBasicCredentials(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if user, password, ok := r.BasicAuth(); !ok || user != "jöe" || password != "a:b c" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	for password, ok := range map[string]bool{"a:b c": true, "a": false} {
		b := newBackend(t, Config{URL: srv.URL, Username: "jöe", Password: password}, Deps{})
		if _, err := b.Call(t.Context(), Connect, nil); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestTLSVerifiesCertificate(t *testing.T) {
	var calls atomic.Int32
	var handshakes atomic.Int32
	newServer := func(cfg *tls.Config) *httptest.Server {
		srv := httptest.NewUnstartedServer(reading(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			calls.Add(1)
			write(w, "{}")
		}))
		srv.TLS, srv.Config.ErrorLog = cfg, log.New(io.Discard, "", 0)
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				handshakes.Add(1)
			}
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	srv, old := newServer(nil), newServer(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	trusted := x509.NewCertPool()
	trusted.AddCert(srv.Certificate())
	trusted.AddCert(old.Certificate())
	tls10 := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS10}
	for _, tt := range []struct {
		name       string
		url        string
		tls        *tls.Config
		ok         bool
		handshakes int32
	}{
		{"trusted CA", srv.URL, &tls.Config{RootCAs: trusted, NextProtos: []string{"h2"}}, true, 1},
		{"configured server name", srv.URL, &tls.Config{RootCAs: trusted, ServerName: "example.com"}, true, 1},
		{"system CAs", srv.URL, nil, false, 1},
		{"unknown CA", srv.URL, &tls.Config{RootCAs: x509.NewCertPool()}, false, 1},
		{"wrong name", srv.URL, &tls.Config{RootCAs: trusted, ServerName: "example.org"}, false, 1},
		{"TLS 1.1", old.URL, tls10, false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls.Store(0)
			handshakes.Store(0)
			b := newBackend(t, Config{URL: tt.url, TLS: tt.tls, Retries: 1}, Deps{})
			_, err := b.Call(t.Context(), Connect, object(t, `{"custom":"secret"}`))
			switch {
			case tt.ok && (err != nil || calls.Load() != 1):
				t.Errorf("%v after %d calls", err, calls.Load())
			case !tt.ok && (!errors.Is(err, ErrUnavailable) || calls.Load() != 0):
				t.Errorf("%v after %d calls", err, calls.Load())
			}
			if n := handshakes.Load(); n != tt.handshakes {
				t.Errorf("%d handshakes, want %d", n, tt.handshakes)
			}
		})
	}
	if tls10.MinVersion != tls.VersionTLS10 {
		t.Error("New modified the caller's configuration")
	}
}
