package browser

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// The stage's gateway plays the old server, and another gateway in front of it splices every session. Frames
// pass unchanged, whatever the version of the SDK, so the newest one has one test.
func TestSDKPublishesAndPlaysThroughSplice(t *testing.T) {
	w := newWorld(t)
	phones := rig.StartScriptedServer(t)
	front := rig.StartGateway(t, rig.GatewayOptions{
		Ports: rig.NewPorts(t), LiveKit: w.stage.LiveKit, Redis: w.stage.Redis.Addr,
		Env: map[string]string{
			"WCS_DEPLOYMENT":   "front",
			"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}, phones: {url: %q}}", strings.TrimSuffix(w.stage.Gateway.URL, "/"), phones.URL),
			"WCS_APPLICATIONS": "{defaultApp: {route: {default: old, rules: [{sip: true, to: phones}]}}, h264: {route: {default: old}}}",
		},
	})
	front.AwaitReady(t)
	t.Run("all", func(t *testing.T) {
		t.Run("the phone example calls and is called", func(t *testing.T) {
			t.Parallel()
			phoneExample(w.newScene(t), front.URL, phones)
		})
		w.runCoreTests(t, oldestSDK, front.URL, basicTest)
		w.runCoreTest(t, newestSDK, front.URL, basicTest)
	})
	w.stage.WantClean(t)
	if log := front.Output(); strings.Contains(log, "session established") || strings.Contains(log, "panic") {
		t.Error("the gateway in front has sessions of its own, or its log contains a panic")
	}
	metrics := front.Metrics(t)
	for _, want := range []string{`wcs_upstream_commands_total{app="defaultApp",cmd="publishStream",upstream="old"}`, `wcs_upstream_links_total{result="ok",upstream="old"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no metric %s", want)
		}
	}
}

// The stage's gateway plays the old server. Another gateway with its own LiveKit in front of it serves every
// session, and has the streams of defaultApp published on the old server, but not those of h264. The oldest
// SDK has the tests that involve both servers.
func TestSDKPublishesAndPlaysOnBothServers(t *testing.T) {
	w := newWorld(t)
	ports := rig.NewPorts(t)
	front := rig.StartGateway(t, rig.GatewayOptions{
		Ports: ports, LiveKit: rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()}), Redis: w.stage.Redis.Addr,
		Env: map[string]string{
			"WCS_DEPLOYMENT":   "front",
			"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", strings.TrimSuffix(w.stage.Gateway.URL, "/")),
			"WCS_APPLICATIONS": "{defaultApp: {hybrid: {upstream: old, default: old}}, h264: {hybrid: {upstream: old}}}",
		},
	})
	front.AwaitReady(t)
	phones, players := rig.StartScriptedServer(t), rig.StartScriptedServer(t)
	caller := rig.StartGateway(t, rig.GatewayOptions{
		Ports: rig.NewPorts(t), LiveKit: w.stage.LiveKit, Redis: w.stage.Redis.Addr,
		Env: map[string]string{
			"WCS_DEPLOYMENT":   "caller",
			"WCS_UPSTREAMS":    fmt.Sprintf("{phones: {url: %q}, players: {url: %q}}", phones.URL, players.URL),
			"WCS_APPLICATIONS": "{defaultApp: {hybrid: {upstream: phones, fallback: true}}, h264: {rates: probe, hybrid: {upstream: players, fallback: true}}}",
		},
	})
	caller.AwaitReady(t)
	t.Run("all", func(t *testing.T) {
		t.Run("the phone example calls and is called", func(t *testing.T) {
			t.Parallel()
			phoneExample(w.newScene(t), caller.URL, phones)
		})
		t.Run("MSE", func(t *testing.T) {
			for _, sdk := range versionsOfFeatures() {
				s := w.newScene(t)
				s.gateway = caller.URL
				mediaSource(s, sdk, players)
			}
		})
		for _, sdk := range versionsOfFeatures() {
			t.Run(sdk+" one session plays streams of both servers", func(t *testing.T) {
				t.Parallel()
				s := w.newScene(t)
				direct := s.legacyTab(sdk)
				s.gateway = front.URL
				bothSides(s, sdk, direct)
			})
		}
		w.runCoreTests(t, newestSDK, front.URL, hybridTests...)
		w.runCoreTest(t, oldestSDK, front.URL, basicTest)
	})
	w.stage.WantClean(t)
	if log := front.Output(); strings.Contains(log, "session spliced") || strings.Contains(log, "panic") {
		t.Error("the gateway in front splices sessions, or its log contains a panic")
	}
	if line := `wcs_upstream_commands_total{app="defaultApp",cmd="publishStream",upstream="old"}`; !strings.Contains(front.Metrics(t), line) {
		t.Errorf("no metric %s", line)
	}
}

// bothSides plays streams of both sides in one session. direct is a tab that connects to the old server.
func bothSides(s *scene, sdk string, direct *legacyTab) {
	here, there, old := s.name("here"), s.name("there"), s.name("old")
	ours := s.legacyTab(sdk).login("h264").publish(here, nil)
	s.legacyTab(sdk).login(defaultApp).publish(there, nil)
	direct.login(defaultApp).publish(old, nil)
	viewer := s.legacyTab(sdk).login(defaultApp)
	for _, name := range []string{here, there, old} {
		viewer.play(name, nil).wantMedia(cameraMedia)
	}
	last := viewer.play(here, nil)
	ours.stop()
	last.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
	direct.login(defaultApp).play(there, nil).wantMedia(cameraMedia)
}

// mediaSource plays with the SDK's MSE, with a scripted server in place of WCS.
func mediaSource(s *scene, sdk string, server *rig.ScriptedServer) {
	st := s.legacyTab(sdk).login("h264").start("play", "on-wcs", options{"mediaProvider": "MSE"})
	link := server.Accept(s.t)
	if hello := awaitCommand(s.t, link, "connection"); hello["authToken"] != nil {
		s.t.Errorf("connection %v", hello)
	}
	const token = "/10.0.0.1:5/10.0.0.2:8443-x"
	tell := func(text string, args ...any) { link.Send(websocket.TextMessage, fmt.Sprintf(text, args...)) }
	tell(`{"message":"getUserData","data":[{"authToken":%q}]}`, token)
	play := awaitCommand(s.t, link, "playStream")
	if play["mediaProvider"] != "MSE" || !strings.Contains(fmt.Sprint(play["sdp"]), "RTP/AVP 112") {
		s.t.Errorf("play %v", play)
	}
	tell(`{"message":"setRemoteSDP","data":[%q,%q,false]}`, play["mediaSessionId"], play["sdp"])
	media := server.Accept(s.t)
	if hello := awaitCommand(s.t, media, "connectMediaTransport"); hello["authToken"] != token {
		s.t.Errorf("media socket %v", hello)
	}
	media.Send(websocket.TextMessage, `{"message":"ping"}`)
	media.Want(websocket.TextMessage, `{"message":"pong"}`)
	tell(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"name":"on-wcs","status":"PLAYING","mediaProvider":"MSE"}]}`, play["mediaSessionId"])
	st.want(wcs.StatusPlaying, "")
	st.stop()
	stop := awaitCommand(s.t, link, "stopStream")
	for {
		if _, _, err := media.ReadMessage(); err != nil { // the close frame, which the read answers
			break
		}
	}
	_ = media.Close()
	tell(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"name":"on-wcs","status":"STOPPED","info":"Stopped by user"}]}`, stop["mediaSessionId"])
	st.want(wcs.StatusStopped, "Stopped by user")
}

// awaitCommand reads until a command comes, and returns its argument.
func awaitCommand(t *testing.T, c *rig.ScriptedConn, name string) map[string]any {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		_, frame, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("no %s: %v", name, err)
		}
		var m struct {
			Message string            `json:"message"`
			Data    []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(frame, &m); err != nil {
			t.Fatal(err)
		}
		var arg map[string]any
		if m.Message == name && len(m.Data) == 1 && json.Unmarshal(m.Data[0], &arg) == nil {
			return arg
		}
	}
}

// runCoreTests starts the core tests with an SDK through a gateway as parallel subtests. Without the flag
// more it starts those of short, if there are any.
func (w *world) runCoreTests(t *testing.T, sdk, gateway string, short ...string) {
	if *more || len(short) == 0 {
		short = slices.Collect(maps.Keys(coreTests))
	}
	for _, name := range short {
		w.runCoreTest(t, sdk, gateway, name)
	}
}

func (w *world) runCoreTest(t *testing.T, sdk, gateway, name string) {
	t.Run(sdk+" "+name, func(t *testing.T) {
		t.Parallel()
		s := w.newScene(t)
		s.gateway = gateway
		coreTests[name](s, sdk)
	})
}
