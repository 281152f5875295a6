package check

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/upstream"
)

// oldServer takes WebSockets, and requests of the REST API with the password of gateway.
type oldServer struct {
	t      *testing.T
	closed chan error // what ended each WebSocket before a message
	status int        // of the REST API
	body   string
}

func (s *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/rest-api/connection/find":
		if user, password, _ := r.BasicAuth(); user != "gateway" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(s.status)
		_, _ = io.WriteString(w, s.body)
	case r.Header.Get(upstream.ViaHeader) != "media":
		s.t.Errorf("the deployment is %q", r.Header.Get(upstream.ViaHeader))
	default:
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			s.t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		_, _, err = ws.ReadMessage()
		s.closed <- err
	}
}

// quiet has no log of handshakes that fail on purpose.
func quiet(s *httptest.Server) *httptest.Server {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

// authority writes the certificate of a TLS server to a file.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// silent returns the address of a server that accepts connections and sends nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestUpstreamsAreExamined(t *testing.T) {
	old := &oldServer{t: t, closed: make(chan error, 10)}
	plain, secure := quiet(httptest.NewServer(old)), quiet(httptest.NewUnstartedServer(old))
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	answer := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_ = buf.Flush()
			_ = c.Close()
		}
	}))
	defer liar.Close()
	gone := httptest.NewServer(old)
	gone.Close()
	ca := authority(t, secure)
	for _, tt := range []struct {
		name, url string
		tls       config.UpstreamTLS
		level     Level
		parts     []string
	}{
		{"works", plain.URL, config.UpstreamTLS{}, OK, []string{"opens WebSockets at ws://"}},
		{"works with TLS", secure.URL, config.UpstreamTLS{CA: ca, ServerName: "example.com"}, OK, nil},
		{"is down", gone.URL, config.UpstreamTLS{}, Fault, []string{"refused", "must run and listen"}},
		{"has no name", "http://wcs-old.invalid", config.UpstreamTLS{}, Fault, []string{"correct the host name"}},
		{"does not answer", "http://" + silent(t), config.UpstreamTLS{}, Fault, []string{"deadline exceeded", "firewall"}},
		{"does not answer with TLS", "https://" + silent(t), config.UpstreamTLS{}, Fault, []string{"deadline exceeded", "firewall"}},
		{"is a web server", answer(http.StatusNotFound), config.UpstreamTLS{}, Fault, []string{"response is 404", "8443 for wss"}},
		{"is this gateway", answer(http.StatusLoopDetected), config.UpstreamTLS{}, Fault, []string{"508", "leads back", "set upstreams[old].url"}},
		{"is no WebSocket server", liar.URL, config.UpstreamTLS{}, Fault, []string{"not one of a WebSocket server", "8080 for ws"}},
		{"has a certificate of its own", secure.URL, config.UpstreamTLS{}, Fault, []string{"unknown authority", "set upstreams[old].tls.ca"}},
		{"has a certificate for another name", secure.URL, config.UpstreamTLS{CA: ca, ServerName: "wcs.test"}, Fault, []string{"wcs.test", "set upstreams[old].tls.serverName"}},
		{"has no TLS", "https" + strings.TrimPrefix(plain.URL, "http"), config.UpstreamTLS{}, Fault, []string{"does not speak TLS"}},
		{"has TLS only", "http" + strings.TrimPrefix(secure.URL, "https"), config.UpstreamTLS{}, Fault, []string{"response is 400", "8443 for wss"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Deployment = "media"
			u := config.DefaultUpstream()
			u.URL, u.TLS = "ws"+strings.TrimPrefix(tt.url, "http"), tt.tls
			if strings.Contains(tt.name, "does not answer") {
				u.ConnectTimeout = 100 * time.Millisecond
			}
			cfg.Upstreams = map[string]config.Upstream{"old": u}
			wantResult(t, (&connection{cfg: cfg}).upstreams(t.Context()), "upstreams[old]", tt.level, tt.parts...)
			if tt.level == OK {
				if err := <-old.closed; !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
					t.Errorf("the server got %v", err)
				}
			}
		})
	}
	if found := (&connection{cfg: config.Default()}).upstreams(t.Context()); len(found) > 0 {
		t.Errorf("results without upstreams: %+v", found)
	}
}

func TestRESTOfOtherServerIsExamined(t *testing.T) {
	const nothing = `{"status":404,"error":"Not Found"}`
	old := &oldServer{t: t}
	plain, secure := quiet(httptest.NewServer(old)), quiet(httptest.NewUnstartedServer(old))
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	gone := httptest.NewServer(old)
	gone.Close()
	ca := authority(t, secure)
	for _, tt := range []struct {
		name, url, password string
		tls                 config.UpstreamTLS
		status              int
		body                string
		level               Level
		parts               []string
	}{
		{"works", plain.URL, "secret", config.UpstreamTLS{}, 404, nothing, OK, []string{"accepts the password"}},
		{"works with TLS", secure.URL, "secret", config.UpstreamTLS{CA: ca}, 404, "", OK, nil},
		{"has another password", plain.URL, "wrong", config.UpstreamTLS{}, 404, nothing, Fault, []string{"rejects", "set upstreams[old].rest.username and password"}},
		{"allows nothing", plain.URL, "secret", config.UpstreamTLS{}, 403, nothing, Fault, []string{"rejects"}},
		{"is a web server", plain.URL, "secret", config.UpstreamTLS{}, 404, "<h1>Not Found", Fault, []string{"not JSON", "8444 for https"}},
		{"redirects", plain.URL, "secret", config.UpstreamTLS{}, 302, "", Fault, []string{"status 302", "8081 for http"}},
		{"does not answer", "http://" + silent(t), "secret", config.UpstreamTLS{}, 0, "", Fault, []string{"deadline exceeded", "firewall"}},
		{"is down", gone.URL, "secret", config.UpstreamTLS{}, 0, "", Fault, []string{"refused", "must run and listen"}},
		{"has a certificate of its own", secure.URL, "secret", config.UpstreamTLS{}, 0, "", Fault, []string{"set upstreams[old].rest.tls.ca"}},
		{"has a certificate for another name", secure.URL, "secret", config.UpstreamTLS{CA: ca, ServerName: "wcs.test"}, 0, "", Fault, []string{"set upstreams[old].rest.tls.serverName"}},
		{"has no TLS", "https" + strings.TrimPrefix(plain.URL, "http"), "secret", config.UpstreamTLS{}, 0, "", Fault, []string{"another port, or an address without TLS"}},
		{"has TLS only", "http" + strings.TrimPrefix(secure.URL, "https"), "secret", config.UpstreamTLS{}, 0, "", Fault, []string{"status 400", "8444 for https"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Upstreams = map[string]config.Upstream{"old": {REST: config.UpstreamREST{URL: tt.url, Username: "gateway", Password: config.Secret(tt.password), TLS: tt.tls}}}
			old.status, old.body = tt.status, tt.body
			ctx := t.Context()
			if tt.name == "does not answer" {
				short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
				ctx = short
			}
			found := (&connection{cfg: cfg}).upstreams(ctx)[1:] // without the WebSocket
			wantResult(t, found, "upstreams[old].rest", tt.level, tt.parts...)
			for _, r := range found {
				if strings.Contains(r.Text+r.Hint, "secret") {
					t.Errorf("the password is shown: %+v", r)
				}
			}
		})
	}
}
