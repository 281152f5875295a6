package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/session"
	"wcsgateway/translate"
)

const (
	testNode   = "abcdefghijklmnopqrstuvwxyz012345"
	testOrigin = "https://app.example"
)

// hookWorld is a world whose defaultApp has a backend. change may be nil.
type hookWorld struct {
	*world
	backend *rig.Backend
}

func newHookWorld(t *testing.T, change func(*hooks.Config, *apps.App)) hookWorld {
	t.Helper()
	b := rig.StartBackend(t)
	return hookWorld{backend: b, world: newWorld(t, func(c *Config) {
		cfg := hooks.Config{URL: b.URL, MaxWaiting: 100, Timeout: time.Minute, Methods: []hooks.Method{
			hooks.Connect, hooks.PublishStream, hooks.UnPublishStream, hooks.PlayStream, hooks.StopStream, hooks.OnDataEvent, hooks.Snapshot,
			hooks.ConnectionStatusEvent, hooks.StreamStatusEvent, hooks.StreamKeepAliveEvent, hooks.DataStatusEvent, hooks.ErrorEvent,
		}}
		app := c.Apps["defaultApp"]
		if change != nil {
			change(&cfg, &app)
		}
		backend, err := hooks.New(cfg, hooks.Deps{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(backend.Close)
		app.Hooks.Backend = backend
		c.Apps["defaultApp"], c.NodeID, c.Recent = app, testNode, true
		c.Limits.Detached, c.Rooms = 10, session.RoomsConfig{MaxMembers: 3, PerSession: 2}
	})}
}

// policy makes the backend return policies, by method, in its answers to connect.
func (w hookWorld) policy(byMethod map[string]map[string]string) {
	w.backend.On("connect", rig.Change(map[string]any{"restClientConfig": byMethod}))
}

var sessionIDs = regexp.MustCompile(`^/127\.0\.0\.1:\d+/[0-9a-f]{16}$`)

// members returns the members of a body. Values that differ between runs are checked and normalized.
func members(t *testing.T, h rig.Hook) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(h.Raw, &m); err != nil {
		t.Fatalf("%s: %v", h.Method, err)
	}
	if id, _ := m["sessionId"].(string); sessionIDs.MatchString(id) {
		m["sessionId"] = "/127.0.0.1:PORT/HASH"
	}
	if created, _ := m["createDate"].(float64); created > 1.7e12 && created < 1e13 {
		m["createDate"] = "MILLISECONDS"
	}
	if sdp, _ := m["sdp"].(string); sdp == offerOf(t, "publish") || sdp == offerOf(t, "play") {
		m["sdp"] = "OFFER"
	}
	return m
}

// wantGolden compares a body with the file of its name in testdata/hooks.
func wantGolden(t *testing.T, h rig.Hook) {
	t.Helper()
	name := h.Method
	if status := h.Text("status"); status != "" && strings.HasSuffix(name, "Event") {
		name += "-" + status
	}
	file := filepath.Join("testdata", "hooks", name+".json")
	got, err := json.MarshalIndent(members(t, h), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from %s; go test ./gateway -run Hook -update writes it (-want +got):\n%s", name, file, diff)
	}
}

// sampleClient connects as the client of the vendor's sample, with the members that newer SDKs add.
func (w hookWorld) sampleClient(t *testing.T, pod string) *rig.Client {
	t.Helper()
	c := rig.DialFrom(t, w.urls[pod], testOrigin)
	c.Send("connection", map[string]any{
		"appKey": "defaultApp", "mediaProviders": []string{"WebRTC", "MSE", "WSPlayer"}, "clientVersion": "0.5.28",
		"clientOSVersion": "5.0 (Windows)", "clientBrowserVersion": "Mozilla/5.0", "custom": map[string]any{"token": "x <&>"},
		"authToken": "a secret of an earlier session", "nodeId": "forged", "sessionId": "forged", "origin": "forged",
		"restClientConfig": map[string]any{"publishStream": map[string]any{"restPolicy": "DISABLE"}},
	})
	return c
}

// The test compares each hook's body and their order in the session; a backend that echoes changes nothing.
func TestHooksHaveBodiesAndOrderOfWCS(t *testing.T) {
	w := newHookWorld(t, nil)
	c := w.sampleClient(t, podA)
	m := c.Await("getUserData")
	for _, absent := range []string{"restClientConfig", testNode, testOrigin, "a secret"} {
		if strings.Contains(m.Raw, absent) {
			t.Errorf("%s in %s", absent, m.Raw)
		}
	}
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
	w.media(t, podA, translate.RolePublish)
	c.WantStatus("pub", "PUBLISHING", "")
	playAV(t, c, "play", "s")
	c.AwaitSDP("play")
	w.media(t, podA, translate.RolePlay)
	c.WantStatus("play", "PLAYING", "")
	c.Send("sendData", map[string]any{"operationId": "op", "payload": map[string]any{"any": []any{1, nil, "thing"}}})
	if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, `"status":"ACCEPTED"`) {
		t.Errorf("sendData: %s", m.Raw)
	}
	c.Stop("play", "s")
	c.WantStatus("play", "STOPPED", "Stopped by user")
	c.Unpublish("pub", "s")
	c.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	c.Unpublish("pub", "s") // already stopped: no call
	playAV(t, c, "none", "none")
	c.WantStatus("none", "FAILED", "Session does not exist")
	c.Close()

	want := []string{
		"connect", "ConnectionStatusEvent ESTABLISHED", "publishStream PENDING", "StreamStatusEvent PUBLISHING",
		"playStream PENDING", "StreamStatusEvent PLAYING", "OnDataEvent", "DataStatusEvent ACCEPTED",
		"stopStream PLAYING", "StreamStatusEvent STOPPED", "unPublishStream PUBLISHING", "StreamStatusEvent UNPUBLISHED",
		"playStream PENDING", "StreamStatusEvent FAILED", "ConnectionStatusEvent DISCONNECTED",
	}
	seen := map[string]bool{}
	for _, name := range want {
		method, _, _ := strings.Cut(name, " ")
		h := w.backend.Await(method)
		if !seen[name] { // the second playStream is like the first
			wantGolden(t, h)
		}
		seen[name] = true
		if h.Path != "/rest/my_api/"+method {
			t.Errorf("%s at %s", method, h.Path)
		}
	}
	if got := w.backend.Order(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// The bodies have all members of the vendor's samples, with the same JSON types.
func TestHookBodiesHaveTheSamplesMembers(t *testing.T) {
	for golden, sample := range map[string]string{
		"connect": "connect", "ConnectionStatusEvent-ESTABLISHED": "connect", "ConnectionStatusEvent-FAILED": "ConnectionStatusEvent-FAILED",
		"publishStream": "publishStream", "playStream": "publishStream", "unPublishStream": "unPublishStream", "stopStream": "unPublishStream",
		"StreamStatusEvent-PUBLISHING": "StreamStatusEvent", "StreamStatusEvent-PLAYING": "StreamStatusEvent",
		"StreamStatusEvent-UNPUBLISHED": "StreamStatusEvent", "StreamStatusEvent-STOPPED": "StreamStatusEvent",
		"StreamStatusEvent-FAILED": "StreamStatusEvent", "StreamKeepAliveEvent-PUBLISHING": "StreamStatusEvent",
		"OnDataEvent": "OnDataEvent",
	} {
		have, want := readObject(t, golden+".json"), readObject(t, "samples/"+sample+".json")
		for name, value := range want {
			got, there := have[name]
			if !there {
				t.Errorf("%s lacks %s", golden, name)
				continue
			}
			if kind(got) != kind(value) && name != "createDate" { // normalized and checked separately
				t.Errorf("%s: %s is %T, in the sample %T", golden, name, got, value)
			}
		}
	}
}

func readObject(t *testing.T, file string) (o map[string]any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "hooks", file))
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return o
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

// Without a valid answer the client is rejected. The backend receives FAILED, then DISCONNECTED.
func TestFailedConnectHookRejectsClient(t *testing.T) {
	for name, tt := range map[string]struct {
		reply rig.Reply
		info  string
	}{
		"403":             {rig.Refuse(http.StatusForbidden), "Forbidden"},
		"500":             {rig.Refuse(http.StatusInternalServerError), "Internal Server Error"},
		"redirect":        {redirect, "Found"},
		"garbage":         {rig.Say("<html>"), "Application server has given a bad answer"},
		"bad members":     {rig.Change(map[string]any{"mediaProviders": "WebRTC"}), "Application server has given a bad answer"},
		"connection lost": {cutOff, "Application server is not available"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t, nil)
			w.backend.On("connect", tt.reply)
			c := w.sampleClient(t, podA)
			var f struct{ APIMethod, Status, Info string }
			c.Await("fail").Arg(t, 0, &f)
			if f.APIMethod != "ConnectionStatusEvent" || f.Status != "FAILED" || f.Info != tt.info {
				t.Errorf("fail %+v, want %q", f, tt.info)
			}
			_ = c.AwaitClosed()
			if n := c.Count("getUserData"); n != 0 {
				t.Error("client was accepted")
			}
			h := w.backend.AwaitStatus("ConnectionStatusEvent", "FAILED")
			if name == "403" {
				wantGolden(t, h)
			}
			h = w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
			if got := slices.Sorted(maps.Keys(h.Body)); !slices.Equal(got, []string{"appKey", "nodeId", "sessionId", "status"}) {
				t.Errorf("DISCONNECTED has %v", got)
			}
			if got := w.backend.Order(); !slices.Equal(got, []string{"connect", "ConnectionStatusEvent FAILED", "ConnectionStatusEvent DISCONNECTED"}) {
				t.Errorf("calls %q", got)
			}
			if sessions := w.pods[podA].table.All(); len(sessions) != 0 {
				rig.Eventually(t, 20*time.Second, "no session left", func() bool { return len(w.pods[podA].table.All()) == 0 })
			}
		})
	}
}

func redirect(w http.ResponseWriter, _ rig.Hook) {
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(http.StatusFound)
}

func cutOff(w http.ResponseWriter, _ rig.Hook) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close() // without an answer
	}
}

// Changes by the backend in connect reach the client and later hooks.
func TestConnectHookChangesConnection(t *testing.T) {
	w := newHookWorld(t, nil)
	w.backend.On("connect", rig.Change(map[string]any{
		"custom": map[string]any{"user": 7}, "extra": "e", "clientVersion": "9", "sipPassword": "p", "sessionId": "x", "appKey": "roomApp",
		"authToken": "backend's", "nodeId": "n", "keepAlive": true,
		"restClientConfig": map[string]any{"connect": map[string]any{"clientExclude": "clientVersion,clientOSVersion,authToken2"}},
	}))
	c := w.sampleClient(t, podA)
	m := c.Await("getUserData")
	for _, part := range []string{`"custom":{"user":7}`, `"extra":"e"`, `"keepAlive":true`, `"appKey":"defaultApp"`, `"clientBrowserVersion"`} {
		if !strings.Contains(m.Raw, part) {
			t.Errorf("no %s in %s", part, m.Raw)
		}
	}
	for _, part := range []string{"restClientConfig", "sip", "backend's", "clientVersion", "clientOSVersion", `"sessionId":"x"`} {
		if strings.Contains(m.Raw, part) {
			t.Errorf("%s in %s", part, m.Raw)
		}
	}
	h := w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
	if string(h.Body["custom"]) != `{"user":7}` || h.Text("appKey") != "defaultApp" || !sessionIDs.MatchString(h.Text("sessionId")) || h.Text("nodeId") != testNode {
		t.Errorf("ESTABLISHED: %s", h.Raw)
	}
	c.Close()
	if h := w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED"); string(h.Body["custom"]) != `{"user":7}` {
		t.Errorf("DISCONNECTED: %s", h.Raw)
	}
}

// The client sends a command or disconnects before the backend answers connect.
func TestCommandBeforeConnectHookAnswersFails(t *testing.T) {
	w := newHookWorld(t, nil)
	hold := make(chan struct{})
	defer close(hold)
	w.backend.On("connect", rig.Hold(hold, rig.Echo))
	impatient := w.sampleClient(t, podA)
	w.backend.Await("connect")
	publishAV(t, impatient, "pub", "s")
	if m := impatient.Await("fail"); !strings.Contains(m.Raw, "Session not ready") {
		t.Errorf("got %s", m.Raw)
	}
	_ = impatient.AwaitClosed()
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED") // the call was canceled

	gone := w.sampleClient(t, podA)
	gone.Send("connection", map[string]any{"appKey": "defaultApp"}) // repeated
	w.backend.Await("connect")
	gone.Close()
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	if n := w.backend.Count("connect"); n != 2 {
		t.Errorf("connect was called %d times", n)
	}
	if n := gone.Count("getUserData") + impatient.Count("getUserData"); n != 0 {
		t.Error("the client was accepted")
	}
}

// The time that the backend takes does not count into the deadline for connection.
func TestSlowConnectOutlastsHelloTimeout(t *testing.T) {
	w := newHookWorld(t, nil)
	const hello = 2 * time.Second
	for _, g := range w.pods {
		g.env.Config.Conn.HelloTimeout = hello
	}
	answered := make(chan struct{})
	w.backend.On("connect", rig.Hold(answered, rig.Echo))
	c := w.sampleClient(t, podA)
	w.backend.Await("connect")
	time.AfterFunc(hello+hello/4, func() { close(answered) })
	c.Await("getUserData")
}
