package app

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/upstream"
)

func TestRESTListensOverHTTPAndHTTPS(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its own certificate
	}}
	for name, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			cfg := base(t)
			cfg.REST.Listen = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
			cfg.REST.Users = map[string]config.Secret{"ops": config.Secret(hash)}
			if secure {
				dir := t.TempDir()
				cfg.REST.TLS = config.KeyPair{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
				pair(t, cfg.REST.TLS, "127.0.0.1")
			}
			g := start(t, cfg)
			for password, want := range map[string]int{"secret": http.StatusOK, "wrong": http.StatusUnauthorized} {
				res, err := client.Get(name + "://ops:" + password + "@" + cfg.REST.Listen + "/?action=stat&groups=connection_stats")
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close() // only the status matters
				if want == http.StatusOK {
					want = http.StatusServiceUnavailable // without Redis a pod accepts no clients, and the statistics serve as a health check
				}
				if res.StatusCode != want {
					t.Errorf("password %s: %d, want %d", password, res.StatusCode, want)
				}
			}
			if v := g.metric(t, `wcs_rest_requests_total{path="/",status="401"}`); v != "1" {
				t.Errorf("rejected requests %s", v)
			}
		})
	}
}

func TestRESTRequestIsPassedOnWithConfiguredPassword(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "gateway" || password != "other" || r.URL.Path != "/rest-api/call/find_all" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer other.Close()
	cfg := base(t)
	cfg.REST.Listen = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cfg.REST.Users = map[string]config.Secret{"ops": config.Secret(hash), "guest": config.Secret(hash)}
	old := config.DefaultUpstream()
	old.URL = "ws://127.0.0.1:1"
	old.REST = config.UpstreamREST{URL: other.URL, Username: "gateway", Password: "other", Users: []string{"ops"}}
	cfg.Upstreams = map[string]config.Upstream{"old": old}
	start(t, cfg)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	for user, want := range map[string]int{"ops": http.StatusOK, "guest": http.StatusForbidden} {
		res, err := client.Get("http://" + user + ":secret@" + cfg.REST.Listen + "/rest-api/call/find_all")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // only the status matters
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", user, res.StatusCode, want)
		}
	}
}

func TestReloadReplacesOtherRESTServer(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	var others [2]string
	for i := range others {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot + i) }))
		defer other.Close()
		others[i] = other.URL
	}
	cfg := base(t)
	cfg.REST.Listen = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cfg.REST.Users = map[string]config.Secret{"ops": config.Secret(hash)}
	g := start(t, cfg)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	want := func(status int) {
		t.Helper()
		res, err := client.Get("http://ops:secret@" + cfg.REST.Listen + "/rest-api/call/find_all")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // only the status matters
		if res.StatusCode != status {
			t.Errorf("status %d, want %d", res.StatusCode, status)
		}
	}
	want(http.StatusNotImplemented)
	for i, url := range []string{others[0], others[1], ""} {
		next := cfg
		if next.Upstreams = nil; url != "" {
			old := config.DefaultUpstream()
			old.URL, old.REST.URL = "ws://127.0.0.1:1", url
			next.Upstreams = map[string]config.Upstream{"old": old}
		}
		next.Complete()
		g.reload(func() (config.Config, error) { return next, nil })
		want([]int{http.StatusTeapot, http.StatusTeapot + 1, http.StatusNotImplemented}[i])
	}
	if !g.log.has("configuration reloaded", `"keys":["upstreams"]`) {
		t.Error("the reload is not logged")
	}
}

// All clients of a REST API without users would have the rights at the other servers.
func TestRESTOfUpstreamsIsUnusedWithoutUsers(t *testing.T) {
	var now, next config.Config
	now.REST.Auth, next.REST.Auth = config.AuthNone, config.AuthBasic
	next.Upstreams = map[string]config.Upstream{"b": {}, "c": {REST: config.UpstreamREST{URL: "http://c"}}, "a": {REST: config.UpstreamREST{URL: "http://a"}}}
	if all, err := otherREST(now.Take(next)); err != nil || len(all) > 0 {
		t.Errorf("after a reload: %+v, %v", all, err)
	}
	all, err := otherREST(next)
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "c" {
		t.Errorf("after a restart: %+v, %v", all, err)
	}
}

// A server keeps its count of links.
func TestUpstreamStaysWhenItsRESTChanges(t *testing.T) {
	old := config.DefaultUpstream()
	old.URL = "ws://old"
	var all upstreams
	load := func() *upstream.Server {
		t.Helper()
		servers, err := all.load(map[string]config.Upstream{"old": old})
		if err != nil {
			t.Fatal(err)
		}
		return servers["old"]
	}
	first := load()
	old.REST = config.UpstreamREST{URL: "http://old", Users: []string{"ops"}}
	if load() != first {
		t.Error("another server after a change of rest")
	}
	if old.MaxLinks = 1; load() == first {
		t.Error("the same server after a change of maxLinks")
	}
}

// Connections to the REST API are limited; waiting ones are served when another one closes.
func TestRESTConnectionsAreBounded(t *testing.T) {
	cfg := base(t)
	cfg.REST.Listen = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cfg.REST.Auth = "none"
	start(t, cfg)
	var held []net.Conn
	for range restConns {
		c, err := net.Dial("tcp", cfg.REST.Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET /rest-api/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil { // the connection is accepted and stays open
			t.Fatal(err)
		}
		held = append(held, c)
	}
	answered := make(chan error, 1)
	go func() {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + cfg.REST.Listen + "/rest-api/nothing")
		if err == nil {
			err = res.Body.Close()
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("excess connection was answered: %v", err)
	case <-time.After(200 * time.Millisecond): // absence of an answer cannot be awaited
	}
	_ = held[0].Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// The REST API is off by default: without users it is not served.
func TestRESTIsOffWithoutUsers(t *testing.T) {
	cfg := base(t)
	cfg.REST.Listen = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	start(t, cfg)
	if c, err := net.Dial("tcp", cfg.REST.Listen); err == nil {
		_ = c.Close()
		t.Error("REST API listens")
	}
}

func TestAgentReportsDrainWithoutRedis(t *testing.T) {
	cfg := base(t)
	cfg.REST.Agent = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	start(t, cfg)
	c, err := net.Dial("tcp", cfg.REST.Agent)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if line, err := io.ReadAll(c); string(line) != "drain\n" || err != nil { // Redis was never reached
		t.Errorf("got %q, %v", line, err)
	}
	for percent, want := range map[int]string{0: "ready up 100%\n", 99: "ready up 1%\n", 100: "ready up 0%\n"} {
		if got := agentLine(percent, true); got != want {
			t.Errorf("%d %% full: %q", percent, got)
		}
	}
}
