package e2e

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// hookScene is a gateway with applications that have a backend each: a backend is a test's own.
type hookScene struct {
	stage    *rig.Stage
	backends map[string]*rig.Backend // by app key
}

const hookSecret = "s3cret-of-the-hooks"

// Applications of the hook tests with what is particular about their hooks.
var hookApps = map[string]string{
	"defaultApp": "hmacSecret: " + hookSecret,
	"basic":      "username: gateway, password: " + hookSecret,
	"hasty":      "timeout: 2s, retries: 0, maxInFlight: 50",
	"patient":    "retries: 5, timeout: 30s",
	"narrow":     "maxInFlight: 1, maxWaiting: 1",
}

// TestHooksReachBackends runs the hook tests on one stage.
func TestHooksReachBackends(t *testing.T) {
	t.Parallel()
	s := hookScene{backends: map[string]*rig.Backend{}}
	var apps []string
	for key, settings := range hookApps {
		b := rig.StartBackend(t)
		s.backends[key] = b
		apps = append(apps, fmt.Sprintf("%s: {hooks: {url: %q, %s}}", key, b.URL, settings))
	}
	apps = append(apps, "plain: {}")
	secure := rig.StartBackend(t)
	https := httptest.NewTLSServer(secure)
	t.Cleanup(https.Close)
	ca := writeCertificate(t, https.Certificate())
	apps = append(apps, fmt.Sprintf("secure: {hooks: {url: %q, tls: {ca: %q, serverName: example.com}}}", https.URL, ca))
	apps = append(apps, fmt.Sprintf("distrustful: {hooks: {url: %q}}", https.URL))
	s.backends["secure"] = secure
	s.stage = rig.NewStage(t, map[string]string{"WCS_APPLICATIONS": "{" + strings.Join(apps, ", ") + "}"}, "")
	t.Run("all", func(t *testing.T) {
		for name, test := range hookTests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
	})
	s.stage.WantClean(t)
	for _, secret := range []string{hookSecret, "token-of-a-client", "panic"} {
		if strings.Contains(s.stage.Gateway.Output(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
	if m := metricsOf(t, s.stage); !strings.Contains(m, `wcs_hook_call_seconds_count{class="refused",method="connect"}`) ||
		!strings.Contains(m, `wcs_hook_vetoes_total{method="publishStream"}`) {
		t.Error("the metrics lack hooks")
	}
}

func metricsOf(t *testing.T, s *rig.Stage) string {
	t.Helper()
	_, _, body := get(t, s.Gateway.Internal+"/metrics")
	return string(body)
}

func (s hookScene) dial(t *testing.T, app string) *rig.Client {
	t.Helper()
	c := rig.DialFrom(t, s.stage.Gateway.URL, "https://app.example")
	c.Send("connection", map[string]any{"appKey": app, "mediaProviders": []string{"WebRTC"}, "custom": map[string]any{"token": "token-of-a-client"}})
	return c
}

func (s hookScene) connect(t *testing.T, app string) *rig.Client {
	t.Helper()
	c := s.dial(t, app)
	c.Await("getUserData")
	return c
}

// writeCertificate writes a certificate as a PEM file.
func writeCertificate(t *testing.T, cert *x509.Certificate) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// badReplies are faulty answers of backends, and the info that clients receive.
var badReplies = map[string]struct {
	reply rig.Reply
	info  string
}{
	"403":          {rig.Refuse(http.StatusForbidden), "Forbidden"},
	"500":          {rig.Refuse(http.StatusInternalServerError), "Internal Server Error"},
	"timeout":      {answerLate, "Application server is not available"},
	"slow trickle": {answerWithoutEnd, "Application server is not available"},
	"garbage":      {rig.Say("<html>oops</html>"), "Application server has given a bad answer"},
	"huge body":    {rig.Say(`{"custom":"` + strings.Repeat("x", 3<<20) + `"}`), "Application server has given a bad answer"},
	"redirect":     {redirectElsewhere, "Temporary Redirect"},
}

const stalled = 10 * time.Second // longer than hasty's timeout

func answerLate(w http.ResponseWriter, h rig.Hook) {
	await := time.NewTimer(stalled)
	defer await.Stop()
	<-await.C
	rig.Echo(w, h)
}

// answerWithoutEnd begins its answer in time and does not end it.
func answerWithoutEnd(w http.ResponseWriter, _ rig.Hook) {
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	w.WriteHeader(http.StatusOK)
	for range int(stalled / (20 * time.Millisecond)) {
		<-every.C
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // the next Write reports an error
	}
}

func redirectElsewhere(w http.ResponseWriter, _ rig.Hook) {
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// forOne answers badly in calls about one client or stream: the tests share the backend.
func forOne(match func(rig.Hook) bool, reply rig.Reply) rig.Reply {
	return func(w http.ResponseWriter, h rig.Hook) {
		if match(h) {
			reply(w, h)
			return
		}
		rig.Echo(w, h)
	}
}

var hookTests = map[string]func(*testing.T, hookScene){
	"calls are signed, and rename streams": func(t *testing.T, s hookScene) {
		b := s.backends["defaultApp"]
		b.On("connect", rig.Change(map[string]any{"restClientConfig": map[string]any{
			"publishStream": map[string]any{"restExclude": "sdp", "restOnError": "FAIL", "restPolicy": "OVERWRITE", "restOverwrite": "name"},
		}}))
		b.On("publishStream", forOne(func(h rig.Hook) bool { return h.Text("name") == "hooks-a" }, rig.Change(map[string]any{"name": "hooks-b"})))
		c := s.connect(t, "defaultApp")
		h := b.Await("connect")
		mac := hmac.New(md5.New, []byte(hookSecret))
		mac.Write(h.Raw)
		if got := h.Header.Get("Authorization"); got != "WCS "+hex.EncodeToString(mac.Sum(nil)) {
			t.Error("the signature is not that of the body")
		}
		if h.Text("origin") != "https://app.example" || h.Text("nodeId") == "" || h.Header.Get("Content-Type") != "application/json;charset=UTF-8" {
			t.Errorf("connect: %s %v", h.Raw, h.Header)
		}
		if st := c.Publish("h-pub", "hooks-a", rig.NewPublisher(t, rig.PeerOptions{})); st.Name != "hooks-b" {
			t.Errorf("PUBLISHING %+v", st)
		}
		if h := b.Await("publishStream"); h.Text("name") != "hooks-a" || h.Body["sdp"] != nil {
			t.Errorf("publishStream: %s", h.Raw)
		}
		if h := b.AwaitStatus("StreamStatusEvent", "PUBLISHING"); h.Text("name") != "hooks-b" || h.Text("videoCodec") != "VP8" {
			t.Errorf("PUBLISHING: %s", h.Raw)
		}
		viewer := s.connect(t, "plain")
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		viewer.Play("h-play", "hooks-b", screen)
		wantMedia(t, screen, translate.Audio, translate.Video)
		c.Close()
		if h := b.AwaitStatus("StreamStatusEvent", "UNPUBLISHED"); h.Text("info") != "Stopped by session disconnect" {
			t.Errorf("UNPUBLISHED: %s", h.Raw)
		}
		b.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
		viewer.WantStatus("h-play", "FAILED", "Stopped by publisher stop")
	},
	"calls have Basic credentials": func(t *testing.T, s hookScene) {
		b := s.backends["basic"]
		s.connect(t, "basic")
		r := http.Request{Header: b.Await("connect").Header}
		if user, password, ok := r.BasicAuth(); !ok || user != "gateway" || password != hookSecret {
			t.Error("user or password differ")
		}
	},
	"calls over HTTPS verify the certificate": func(t *testing.T, s hookScene) {
		s.connect(t, "secure")
		if h := s.backends["secure"].Await("connect"); h.Text("appKey") != "secure" {
			t.Errorf("connect: %s", h.Raw)
		}
		c := s.dial(t, "distrustful") // of the backend's certificate
		wantFail(t, c, "ConnectionStatusEvent", "Application server is not available")
		_ = c.AwaitClosed()
		if n := s.backends["secure"].Count("connect"); n != 1 {
			t.Errorf("%d calls, the second in spite of the certificate", n)
		}
	},
	"bad answers of a backend reject clients": badAnswers,
	"a call is repeated after a backend's restart": func(t *testing.T, s hookScene) {
		b := s.backends["patient"]
		c := s.connect(t, "patient")
		b.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
		b.Stop()
		c.Send("publishStream", rig.StreamRequest("r-pub", "restarted", rig.NewPublisher(t, rig.PeerOptions{Audio: true}).Offer(), true, nil))
		wantLog(t, s.stage.Gateway, "publishStream", "backend call not sent, retrying")
		b.Start()
		c.AwaitSDP("r-pub")
		if b.Await("publishStream"); b.Count("publishStream") != 1 {
			t.Error("called more than once")
		}
	},
	"a dead backend delays no other application": func(t *testing.T, s hookScene) {
		b := s.backends["narrow"]
		hold := make(chan struct{})
		b.On("connect", rig.Hold(hold, rig.Echo))
		var clients []*rig.Client
		for range 5 {
			clients = append(clients, s.dial(t, "narrow"))
		}
		count := func(message string) (n int) {
			for _, c := range clients {
				n += c.Count(message)
			}
			return n
		}
		rig.Eventually(t, 20*time.Second, "one is asked about, one waits, the others are refused", func() bool { return count("fail") == 3 })
		c := s.connect(t, "plain")
		c.Publish("n-pub", "beside", rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
		close(hold)
		rig.Eventually(t, 20*time.Second, "two are accepted", func() bool { return count("getUserData") == 2 })
	},
}

// badAnswers lets clients go through each answer at once. The backend knows them by their name.
func badAnswers(t *testing.T, s hookScene) {
	b := s.backends["hasty"]
	replies := map[string]rig.Reply{}
	type client struct{ name, method, onError, info string }
	var clients []client
	for what, answer := range badReplies {
		for _, c := range []client{{method: "connect"}, {method: "publishStream", onError: "FAIL"}, {method: "publishStream", onError: "LOG"}} {
			c.name, c.info = fmt.Sprintf("bad %s %s %s", what, c.method, c.onError), answer.info
			clients = append(clients, c)
			replies[c.method+c.name] = answer.reply
			if c.onError != "" {
				replies["connect"+c.name] = rig.Change(map[string]any{"restClientConfig": map[string]any{c.method: map[string]any{"restOnError": c.onError}}})
			}
		}
	}
	answer := func(w http.ResponseWriter, h rig.Hook) {
		var custom struct{ Name string }
		if err := json.Unmarshal(h.Body["custom"], &custom); err != nil {
			t.Errorf("%s: %v", h.Raw, err)
		}
		replies[h.Method+custom.Name](w, h)
	}
	b.On("connect", answer)
	b.On("publishStream", answer)
	t.Run("clients", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				custom := map[string]any{"name": c.name}
				ws := rig.Dial(t, s.stage.Gateway.URL)
				ws.Send("connection", map[string]any{"appKey": "hasty", "mediaProviders": []string{"WebRTC"}, "custom": custom})
				if c.method == "connect" {
					wantFail(t, ws, "ConnectionStatusEvent", c.info)
					_ = ws.AwaitClosed()
					if ws.Count("getUserData") != 0 {
						t.Error("accepted all the same")
					}
					return
				}
				ws.Await("getUserData")
				peer := rig.NewPublisher(t, rig.PeerOptions{Audio: true})
				ws.Send("publishStream", rig.StreamRequest(c.name, c.name, peer.Offer(), true, map[string]any{"custom": custom}))
				if c.onError == "FAIL" {
					ws.WantStatus(c.name, "FAILED", c.info)
					return
				}
				peer.SetAnswer(ws.AwaitSDP(c.name))
				ws.WantStatus(c.name, "PUBLISHING", "")
			})
		}
	})
	if n := b.Count("elsewhere"); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}
