package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// stage is shared by the tests that do no harm to it; its tests use stream names of their own.
var stage *rig.Stage

// TestGatewayServesClients runs all tests that share a stage as subtests, because a stage ends with the test
// that started it.
func TestGatewayServesClients(t *testing.T) {
	t.Parallel()
	stage = rig.NewStage(t, map[string]string{
		"WCS_APPLICATIONS": `{defaultApp: {}, native: {native: both, room: "native.{name}"}, h264: {codecs: [opus, H264]}}`,
		// short, so that the tests of timeouts are, and long enough for a busy machine
		"WCS_MEDIA_ICETIMEOUT": "5s", "WCS_MEDIA_MEDIATIMEOUT": "5s", "WCS_SESSION_MAXSTREAMS": "8",
		"WCS_LISTEN_LB_SERVER": "media.example.com",
	}, "")
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T)
	}{
		{"wire", wireTests}, {"streams", streamTests}, {"ends", endTests}, {"native", nativeTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t)
				})
			}
		})
	}
	stage.WantClean(t)
	if strings.Contains(stage.Gateway.Output(), "panic") {
		t.Error("the gateway's log speaks of a panic")
	}
}

func connect(t *testing.T) *rig.Client {
	t.Helper()
	return rig.Connect(t, stage.Gateway.URL, "defaultApp")
}

// awaitRoundTrip makes sure that everything sent before it has been handled: its answer comes after theirs.
func awaitRoundTrip(t *testing.T, c *rig.Client) {
	t.Helper()
	c.Send("sendData", map[string]any{"operationId": "roundTrip", "payload": 1})
	c.AwaitMatch("DataStatusEvent roundTrip", func(m rig.Message) bool {
		return m.Name == "DataStatusEvent" && strings.Contains(m.Raw, `"roundTrip"`)
	})
}

func wantFail(t *testing.T, c *rig.Client, api, info string) {
	t.Helper()
	var f struct{ APIMethod, Status, Info string }
	c.Await("fail").Arg(t, 0, &f)
	if f.APIMethod != api || f.Status != "FAILED" || !strings.Contains(f.Info, info) {
		t.Errorf("fail %+v, want %s with %q", f, api, info)
	}
}

var wireTests = map[string]func(*testing.T){
	"the handshake has the vendor's messages in order": func(t *testing.T) {
		c := rig.Dial(t, stage.Gateway.URL+"any/path?at=all")
		sample, err := os.ReadFile("../translate/wcs/testdata/vendor/client-connection.json")
		if err != nil {
			t.Fatal(err)
		}
		c.SendRaw(string(sample))
		var order []string
		for range 3 {
			order = append(order, c.AwaitMatch("a message", func(rig.Message) bool { return true }).Name)
		}
		if got := strings.Join(order, " "); got != "getUserData getVersion ping" {
			t.Errorf("got %s", got)
		}
	},
	"sessions get tokens of their own": func(t *testing.T) {
		token := func() string {
			c := rig.Dial(t, stage.Gateway.URL)
			c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC", "MSE"}, "sipPassword": "s3cret"})
			m := c.Await("getUserData")
			var d struct {
				AuthToken      string
				Status         string
				MediaProviders []string
			}
			m.Arg(t, 0, &d)
			if d.Status != "ESTABLISHED" || fmt.Sprint(d.MediaProviders) != "[WebRTC]" || strings.Contains(m.Raw, "s3cret") {
				t.Errorf("getUserData %s", m.Raw)
			}
			return d.AuthToken
		}
		a, b := token(), token()
		if a == b || !strings.HasPrefix(a, "/127.0.0.1:") || len(a) < 64+16 {
			t.Errorf("tokens %q and %q", a, b)
		}
		if strings.Contains(stage.Gateway.Output(), a) {
			t.Error("token is in the log")
		}
	},
	"a command before connection is refused": func(t *testing.T) {
		c := rig.Dial(t, stage.Gateway.URL)
		c.Send("availableStream", map[string]any{"mediaSessionId": "m", "name": "n"})
		wantFail(t, c, "ConnectionStatusEvent", "Session not ready")
		_ = c.AwaitClosed()
	},
	"an unknown application is refused": func(t *testing.T) {
		c := rig.Dial(t, stage.Gateway.URL)
		c.Send("connection", map[string]any{"appKey": "nobody's", "mediaProviders": []string{"WebRTC"}})
		wantFail(t, c, "ConnectionStatusEvent", "Application not found")
		_ = c.AwaitClosed()
	},
	"garbage before connection is refused with its reason": func(t *testing.T) {
		c := rig.Dial(t, stage.Gateway.URL)
		c.SendRaw(`{"message":"connection","data":[{"appKey":{}}]}`)
		wantFail(t, c, "ConnectionStatusEvent", "appKey must not be a JSON object")
		_ = c.AwaitClosed()
	},
	"garbage later is reported and has no effect": func(t *testing.T) {
		c := connect(t)
		for raw, info := range map[string]string{
			`{"message":`:                           "not JSON",
			`{"data":[]}`:                           "message",
			`{"message":"stopStream"}`:              "no argument",
			`{"message":"stopStream","data":["x"]}`: "must not be a JSON string",
		} {
			c.SendRaw(raw)
			wantFail(t, c, "ErrorEvent", info)
		}
		awaitRoundTrip(t, c)
	},
	"a stream command that cannot be read fails its stream": func(t *testing.T) {
		c := connect(t)
		for _, cmd := range []string{"publishStream", "playStream"} {
			c.Send(cmd, map[string]any{"mediaSessionId": "m-" + cmd, "name": map[string]any{"a": 1}, "sdp": 5})
			if s := c.AwaitStatus("m-" + cmd); s.Status != "FAILED" || !strings.Contains(s.Info, "must not be a JSON") {
				t.Errorf("%s: %+v", cmd, s)
			}
		}
		awaitRoundTrip(t, c)
		if n := c.Count("fail"); n > 0 {
			t.Errorf("%d fail messages as well", n)
		}
	},
	"commands that need no answer get none": func(t *testing.T) {
		c := connect(t)
		c.Await("getVersion")
		c.SendRaw(`{"message":"ping","data":[null]}`)
		c.SendRaw(`{"message":"pong"}`)
		c.SendRaw(`{"message":"nobodyKnowsThis","data":{"x":1}}`)
		c.Send("pushLogs", map[string]any{"logs": "05:40:13 INFO core - x\n"})
		c.Send("submitBugReport", nil)
		c.Send("sendStreamEvent", map[string]any{"mediaSessionId": "m", "type": "audioMuted"})
		c.Send("stopStream", map[string]any{"mediaSessionId": "nobody's", "name": "n"})
		c.Send("unPublishStream", map[string]any{"mediaSessionId": "nobody's", "name": "n"})
		c.Send("connection", map[string]any{"appKey": "defaultApp"})
		awaitRoundTrip(t, c)
		if got := c.Names(); got != "[]" {
			t.Errorf("got %s", got)
		}
	},
	"commands that are not served are answered": func(t *testing.T) {
		c := connect(t)
		c.Send("sendData", map[string]any{"operationId": "op", "payload": map[string]any{"a": 1}})
		var d struct{ OperationID, Status string }
		c.Await("DataStatusEvent").Arg(t, 0, &d)
		if d.OperationID != "op" || d.Status != "FAILED" {
			t.Errorf("DataStatusEvent %+v", d)
		}
		c.Send("sessionDebug", map[string]any{"command": "start"})
		c.Await("notifySessionDebugEvent")
		c.Send("snapshot", map[string]any{"mediaSessionId": "snap", "name": "n"})
		var e struct {
			MediaSessionID, Type string
			Payload              struct{ Info string }
		}
		c.Await("notifyStreamEvent").Arg(t, 0, &e)
		if e.MediaSessionID != "snap" || e.Type != "snapshotFailed" || e.Payload.Info == "" {
			t.Errorf("notifyStreamEvent %+v", e)
		}
		c.Send("call", map[string]any{"callId": "c1", "callee": "1000"})
		var f struct{ CallID, Status string }
		c.Await("finish").Arg(t, 0, &f)
		if f.CallID != "c1" || f.Status != "FAILED" {
			t.Errorf("finish %+v", f)
		}
	},
	"a media transport socket is closed": func(t *testing.T) {
		c := rig.Dial(t, stage.Gateway.URL)
		c.Send("connectMediaTransport", map[string]any{"authToken": "x"})
		_ = c.AwaitClosed()
	},
	"availableStream reports whether a stream exists": func(t *testing.T) {
		c := connect(t)
		ask := func(name string) (status, info string) {
			c.Send("availableStream", map[string]any{"mediaSessionId": "probe", "name": name})
			var a struct{ ID, Status, Info string }
			c.Await("availableStream").Arg(t, 0, &a)
			if a.ID != "probe" {
				t.Errorf("id %q", a.ID)
			}
			return a.Status, a.Info
		}
		if status, info := ask("avail"); status != "false" || info != "Stream not found" {
			t.Errorf("absent: %s %q", status, info)
		}
		if status, info := ask("a\x01b"); status != "false" || !strings.Contains(info, "Bad stream name") {
			t.Errorf("bad name: %s %q", status, info)
		}
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		c.Publish("avail-1", "avail", peer)
		if status, info := ask("avail"); status != "true" || info != "" {
			t.Errorf("there: %s %q", status, info)
		}
		// The id of the question can be played under afterwards (docs/wcs-protocol.md#availablestream).
		c.Play("probe", "avail", rig.NewPlayer(t, rig.PeerOptions{}))
	},
	"an oversized message closes the socket": func(t *testing.T) {
		c := connect(t)
		c.Send("pushLogs", map[string]any{"logs": strings.Repeat("x", 1<<20)})
		_ = c.AwaitClosed()
	},
	"the load balancer's address answers as the SDK expects": func(t *testing.T) {
		status, header, body := get(t, strings.Replace(stage.Gateway.URL, "ws://", "http://", 1)+"lb")
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"server": "media.example.com", "ws": "8080", "wss": "8443", "flash": nil}
		if status != 200 || header.Get("Access-Control-Allow-Origin") != "*" || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d %v %s", status, header, body)
		}
	},
	"the public listener serves nothing else": func(t *testing.T) {
		base := strings.Replace(stage.Gateway.URL, "ws://", "http://", 1)
		for _, path := range []string{"", "metrics", "livez", "readyz", "webhook", "x/y"} {
			if status, _, _ := get(t, base+path); status != 404 {
				t.Errorf("/%s: %d", path, status)
			}
		}
	},
	"the internal listener serves metrics": func(t *testing.T) {
		c := connect(t)
		c.Send("availableStream", map[string]any{"mediaSessionId": "m", "name": "metrics"})
		c.Await("availableStream")
		_, _, body := get(t, stage.Gateway.Internal+"/metrics")
		for _, name := range []string{"wcs_connections", "wcs_sessions", "wcs_commands_total", "wcs_store_call_seconds", "go_goroutines"} {
			if !strings.Contains(string(body), "\n"+name) {
				t.Errorf("no %s", name)
			}
		}
	},
}
