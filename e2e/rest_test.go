package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"wcsgateway/e2e/rig"
)

// backend calls the REST API of a gateway.
type backend struct {
	url, user, password string
}

func (b backend) call(t *testing.T, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(b.user, b.password)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (b backend) want(t *testing.T, path, body string, status int) (answer string) {
	t.Helper()
	got, answer := b.call(t, path, body)
	if got != status {
		t.Errorf("%s %s: %d %s, want %d", path, body, got, answer, status)
	}
	return answer
}

// sdk calls with the SDK's own module.
func (b backend) sdk(t *testing.T, call string, args ...string) (answer string) {
	t.Helper()
	module, err := filepath.Abs("browser/node_modules/websdk-2.0.276/src/rest-module.js")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("rest-module.js")
	if err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(b.url, "http://", "http://"+b.user+":"+b.password+"@", 1)
	out, err := exec.CommandContext(t.Context(), "node", append([]string{script, module, url, call}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", call, err, out)
	}
	return strings.TrimSpace(string(out))
}

// found is what the tests look at of a Stream object.
type found struct {
	NodeID                                                         string
	MediaSessionID, SessionID, Name, Status, VideoCodec, MediaType string
	Width                                                          int
}

func streamsIn(t *testing.T, answer string) map[string]found {
	t.Helper()
	var list []found
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	all := make(map[string]found)
	for _, s := range list {
		all[s.MediaSessionID] = s
	}
	return all
}

// restPods starts two gateways with a REST API and returns their backends.
func restPods(t *testing.T) (gateways []*rig.Gateway, backends []backend) {
	t.Helper()
	gateways, _ = podsWith(t, 2, restEnv(t))
	for _, g := range gateways {
		backends = append(backends, backend{"http://" + g.Listening(t, "rest.listen"), "ops", "secret"})
	}
	return gateways, backends
}

// restEnv are the settings of a REST API for the user ops.
func restEnv(t *testing.T) map[string]string {
	t.Helper()
	return restEnvFor(t, "ops", "secret")
}

func restEnvFor(t *testing.T, user, password string) map[string]string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"WCS_REST_LISTEN": "127.0.0.1:0", "WCS_REST_USERS": "{" + user + ": " + string(hash) + "}"}
}

func TestRESTListsAndEndsStreamsOfBothPods(t *testing.T) {
	t.Parallel()
	g, b := restPods(t)
	pub, play := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	pub.Publish("rest-pub", "rest", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	play.Play("rest-play", "rest", rig.NewPlayer(t, rig.PeerOptions{}))

	for i, b := range b {
		rig.Eventually(t, 20*time.Second, "both streams are listed, with their size", func() bool {
			all := streamsIn(t, b.want(t, "/rest-api/stream/find_all", "", 200))
			return len(all) == 2 && all["rest-pub"].Status == "PUBLISHING" && all["rest-play"].Status == "PLAYING" && all["rest-play"].Width == 320
		})
		one := streamsIn(t, b.want(t, "/rest-api/stream/find", `{"name":"rest","published":true}`, 200))
		if s := one["rest-pub"]; len(one) != 1 || s.VideoCodec == "" || s.MediaType != "publish" {
			t.Errorf("pod %d: %+v", i, one)
		}
		b.want(t, "/rest-api/stream/find", `{"name":"other","published":true}`, 404)
		b.want(t, "/rest-api/stream/terminate", `{}`, 500)
		b.want(t, "/rest-api/rtsp/startup", `{}`, 501)
		if s := b.want(t, "/rest-api/connection/find_all", "", 200); strings.Count(s, `"sessionId"`) != 2 {
			t.Errorf("pod %d: sessions %s", i, s)
		}
		b.password = "wrong"
		b.want(t, "/rest-api/stream/find_all", "", 401)
	}
	rig.Eventually(t, 30*time.Second, "the other pod's rate is sent", func() bool {
		return strings.Contains(b[1].want(t, "/rest-api/stream/metrics", `{"mediaSessionId":"rest-pub"}`, 200), `"VIDEO_RATE":`)
	})
	if s := b[0].want(t, "/?action=stat&scope=deployment", "", 200); !strings.Contains(s, "connections=2\n") || !strings.Contains(s, "streams_webrtc_in=1\n") || !strings.Contains(s, "pods=2\n") {
		t.Errorf("statistics: %s", s)
	}

	since := time.Now()
	b[0].want(t, "/rest-api/stream/terminate", `{"name":"rest","published":false}`, 200)
	play.WantStatus("rest-play", "STOPPED", "Stopped by rest /terminate")
	wantWithinSeconds(t, "player on the other pod notified", time.Since(since))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	play.Play("rest-play-2", "rest", screen)
	since = time.Now()
	b[1].want(t, "/rest-api/stream/terminate", `{"mediaSessionId":"rest-pub"}`, 200)
	pub.WantStatus("rest-pub", "UNPUBLISHED", "Stopped by rest /terminate")
	wantWithinSeconds(t, "publisher on the other pod notified", time.Since(since))
	play.WantStatus("rest-play-2", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, 20*time.Second, "no stream is left", func() bool {
		status, _ := b[0].call(t, "/rest-api/stream/find_all", "")
		return status == 404
	})
	for _, c := range []*rig.Client{pub, play} {
		if n := c.Count("notifyStreamStatusEvent"); n > 0 {
			t.Errorf("a client was notified %d times more: %s", n, c.Names())
		}
	}
	for _, line := range []string{`"audit":"stream/terminate"`, `"user":"ops"`, `"target":"mediaSessionId=rest-pub"`} {
		if !strings.Contains(g[1].Output(), line) {
			t.Errorf("the log lacks %s", line)
		}
	}
}

// The SDK's own module, as its console uses it.
func TestSDKRestModuleListsAndEndsStreams(t *testing.T) {
	t.Parallel()
	g, b := restPods(t)
	pub := rig.Connect(t, g[0].URL, "defaultApp")
	pub.Publish("sdk-pub", "sdk", rig.NewPublisher(t, rig.PeerOptions{}))
	sdk := b[1]
	if all := streamsIn(t, sdk.sdk(t, "stream.findAll")); all["sdk-pub"].Status != "PUBLISHING" {
		t.Errorf("findAll: %+v", all)
	}
	for _, args := range [][]string{{`"sdk-pub"`}, {`null`, `"sdk"`, `true`}, {`null`, `"sdk"`, `true`, `true`}} {
		if all := streamsIn(t, sdk.sdk(t, "stream.find", args...)); len(all) != 1 || all["sdk-pub"].Name != "sdk" {
			t.Errorf("find %v: %+v", args, all)
		}
	}
	if s := sdk.sdk(t, "stream.find", `"nobody"`); s != `{"refused":404}` {
		t.Errorf("find of nobody: %s", s)
	}
	var sessions []struct{ SessionID string }
	if err := json.Unmarshal([]byte(sdk.sdk(t, "connection.findAll")), &sessions); err != nil || len(sessions) != 1 {
		t.Fatalf("connections %+v: %v", sessions, err)
	}
	var stat map[string]map[string]string
	if err := json.Unmarshal([]byte(b[0].sdk(t, "stat.poll")), &stat); err != nil || stat["connection"]["connections_websocket"] != "1" || stat["stream"]["streams_webrtc_in"] != "1" {
		t.Errorf("statistics %v: %v", stat, err)
	}
	if s := sdk.sdk(t, "rtsp.findAll"); s != `{"refused":501}` {
		t.Errorf("what is not served: %s", s)
	}
	if s := sdk.sdk(t, "stream.terminate", `"sdk-pub"`); s != `"nothing"` {
		t.Errorf("terminate: %s", s)
	}
	pub.WantStatus("sdk-pub", "UNPUBLISHED", "Stopped by rest /terminate")
	if s := sdk.sdk(t, "connection.terminate", `"`+sessions[0].SessionID+`"`); s != `"nothing"` {
		t.Errorf("terminate of the connection: %s", s)
	}
	if err := pub.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1008") {
		t.Errorf("the client saw %v", err)
	}
	sdk.password = "wrong"
	if s := sdk.sdk(t, "stream.findAll"); s != `{"refused":401}` {
		t.Errorf("wrong password: %s", s)
	}
}

// What a dead pod had is listed until it is taken over, and cannot be ended before.
func TestRESTListsStreamsOfDeadPodUntilTakeOver(t *testing.T) {
	t.Parallel()
	g, b := restPods(t)
	pub := rig.Connect(t, g[0].URL, "defaultApp")
	pub.Publish("dead-pub", "dead", rig.NewPublisher(t, rig.PeerOptions{}))
	g[0].Kill()
	if s := b[1].want(t, "/rest-api/stream/terminate", `{"mediaSessionId":"dead-pub"}`, 500); !strings.Contains(s, "does not answer") {
		t.Errorf("got %s", s)
	}
	rig.Eventually(t, time.Minute, "the pod is taken over", func() bool {
		status, _ := b[1].call(t, "/rest-api/stream/find", `{"mediaSessionId":"dead-pub"}`)
		return status == 404
	})
}

// wantWithinSeconds logs the time until a client is notified of what an operator did. It is some
// milliseconds; the bound is for a busy machine.
func wantWithinSeconds(t *testing.T, what string, took time.Duration) {
	t.Helper()
	t.Logf("%s after %v", what, took)
	if took > 5*time.Second {
		t.Errorf("%s after %v", what, took)
	}
}
