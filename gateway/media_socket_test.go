package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// hybridWorld is a world whose defaultApp has a scripted server as its upstream.
func hybridWorld(t *testing.T, change func(*Config)) (*world, *rig.ScriptedServer) {
	t.Helper()
	old := rig.StartScriptedServer(t)
	return newWorld(t, func(c *Config) {
		c.Upstreams = map[string]*upstream.Server{"old": upstreamAt(t, old.URL)}
		app := c.Apps["defaultApp"]
		app.Hybrid = hybrid.App{Upstream: c.Upstreams["old"], Fallback: true}
		c.Apps["defaultApp"] = app
		if change != nil {
			change(c)
		}
	}), old
}

// login opens a session and returns its token.
func login(t *testing.T, c *rig.Client) (token string) {
	t.Helper()
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"MSE"}})
	var m struct{ Data []struct{ AuthToken string } }
	if err := json.Unmarshal([]byte(c.Await("getUserData").Raw), &m); err != nil {
		t.Fatal(err)
	}
	return m.Data[0].AuthToken
}

// playMSE plays a stream of the upstream, which accepts the client with a token.
func playMSE(t *testing.T, c *rig.Client, old *rig.ScriptedServer, token string) *rig.ScriptedConn {
	t.Helper()
	c.SendRaw(mseCommand)
	server := old.Accept(t)
	if _, hello, err := server.ReadMessage(); err != nil || strings.Contains(string(hello), "authToken") {
		t.Fatalf("connection %s, %v", hello, err)
	}
	server.Send(websocket.TextMessage, fmt.Sprintf(`{"message":"getUserData","data":[{"authToken":%q}]}`, token))
	server.Want(websocket.TextMessage, mseCommand)
	return server
}

const mseCommand = `{"message":"playStream","data":[{"mediaSessionId":"m","name":"s","mediaProvider":"MSE","sdp":"v=0"}]}`

func mediaHello(token string) string {
	return fmt.Sprintf(`{"message":"connectMediaTransport","data":[{"authToken":%q}]}`, token)
}

func TestMediaSocketReachesUpstreamOfItsSession(t *testing.T) {
	w, old := hybridWorld(t, nil)
	theirs := []string{"/10.0.0.1:1/10.0.0.2:8443-x", "/10.0.0.1:2/<\u00e4>"}
	var tokens []string
	for i, pod := range []string{podA, podB} {
		c := w.dial(t, pod)
		tokens = append(tokens, login(t, c))
		playMSE(t, c, old, theirs[i])
	}
	for i, token := range tokens {
		for _, pod := range []string{podA, podB} {
			client := dialSocket(t, w.urls[pod]+"/path?x=1", nil)
			send(t, client, websocket.TextMessage, `{"message":"pong","data":[null]}`)
			send(t, client, websocket.TextMessage, mediaHello(token))
			send(t, client, websocket.TextMessage, mediaHello(token)) // is not rewritten
			server := old.Accept(t)
			if server.Request.RequestURI != "/path?x=1" {
				t.Errorf("path %s", server.Request.RequestURI)
			}
			_, first, err := server.ReadMessage()
			var m struct{ Data []struct{ AuthToken string } }
			if err != nil || json.Unmarshal(first, &m) != nil || len(m.Data) != 1 || m.Data[0].AuthToken != theirs[i] {
				t.Fatalf("the upstream gets %s, %v; want the token %s", first, err, theirs[i])
			}
			server.Want(websocket.TextMessage, mediaHello(token))
			media := random(uint64(i), 100_000)
			server.Send(websocket.BinaryMessage, media)
			rig.WantMessage(t, client, websocket.BinaryMessage, media)
			if n := testutil.ToFloat64(w.pods[pod].metrics.upstream.Sessions.WithLabelValues("defaultApp", "old")); n < 1 {
				t.Errorf("%v spliced sessions are counted", n)
			}
		}
	}
}

// The SDK's WSPlayer opens its socket before it plays.
func TestMediaSocketWaitsForLinkOfItsSession(t *testing.T) {
	w, old := hybridWorld(t, nil)
	c := w.dial(t, podA)
	token := login(t, c)
	client := dialSocket(t, w.urls[podB], nil)
	send(t, client, websocket.TextMessage, mediaHello(token))
	playMSE(t, c, old, "theirs")
	old.Accept(t).Want(websocket.TextMessage, mediaHello("theirs"))
}

func TestMediaSocketWithoutUpstreamIsClosed(t *testing.T) {
	w, old := hybridWorld(t, func(c *Config) { c.Conn.HelloTimeout = time.Second })
	c := w.dial(t, podA)
	token := login(t, c)
	server := playMSE(t, c, old, "theirs")
	first := dialSocket(t, w.urls[podB], nil)
	send(t, first, websocket.TextMessage, mediaHello(token))
	media := old.Accept(t)
	media.Want(websocket.TextMessage, mediaHello("theirs"))

	_ = server.Close() // the link ends, and the token with it
	c.WantStatus("m", "FAILED", "Upstream server is not available")
	forged := token[:len(token)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(token, "0")]
	var closing []*websocket.Conn
	for _, bad := range []string{token, forged, "/10.0.0.1:1/x-y", ""} {
		client := dialSocket(t, w.urls[podA], nil)
		send(t, client, websocket.TextMessage, mediaHello(bad))
		closing = append(closing, client)
	}
	for _, client := range closing {
		rig.WantClose(t, client, websocket.ClosePolicyViolation)
	}
	if old.Accepted() != 0 {
		t.Error("the upstream got a socket")
	}
	media.Send(websocket.BinaryMessage, "media") // is the upstream's to end
	rig.WantMessage(t, first, websocket.BinaryMessage, "media")
}

func TestMediaSocketsOfOtherDeploymentFindTheirServer(t *testing.T) {
	other := rig.StartScriptedServer(t)
	w, old := hybridWorld(t, func(c *Config) { c.MediaSockets = upstreamAt(t, other.URL) })
	client := dialSocket(t, w.urls[podA], nil)
	foreign := mediaHello("/10.0.0.1:1/0011223344556677/" + strings.Repeat("0", 64)) // of a gateway, too
	send(t, client, websocket.TextMessage, foreign)
	other.Accept(t).Want(websocket.TextMessage, foreign)
	if old.Accepted() != 0 {
		t.Error("the upstream of the sessions got the socket")
	}
}

func TestKeptTokenOfUpstreamIsReadOnlyWithTokenOfSession(t *testing.T) {
	w, old := hybridWorld(t, nil)
	c := w.dial(t, podA)
	token := login(t, c)
	playMSE(t, c, old, "theirs")
	client := dialSocket(t, w.urls[podB], nil)
	send(t, client, websocket.TextMessage, mediaHello(token))
	old.Accept(t)
	id := token[:strings.LastIndexByte(token, '/')]
	kept, err := w.store.Open("reader", state.Handlers{}).FindSession(t.Context(), id)
	if err != nil || kept.Upstream == nil || strings.Contains(string(asJSON(t, kept)), "theirs") {
		t.Errorf("kept %s, %v", asJSON(t, kept), err)
	}
}

// A client publishes on the upstream through one pod, and another client here through the other.
func TestNamePublishedUpstreamIsRefusedOnEveryPod(t *testing.T) {
	old := rig.StartScriptedServer(t)
	upstreams := map[bool]upstream.Route{true: {Default: upstreamAt(t, old.URL)}}
	w := emptyWorld()
	for _, pod := range []string{podA, podB} {
		w.start(t, pod, func(c *Config) {
			app := c.Apps["defaultApp"]
			app.Hybrid = hybrid.App{Upstream: upstreamAt(t, old.URL), Publishes: upstreams[pod == podA]}
			c.Apps["defaultApp"] = app
		})
	}
	there, here := w.connect(t, podA), w.connect(t, podB)
	there.AcceptUnknown()
	publishAV(t, there, "there", "s")
	server := old.Accept(t)
	_, _, _ = server.ReadMessage()
	server.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	_, _, _ = server.ReadMessage()
	tell := func(status string) {
		server.Send(websocket.TextMessage, fmt.Sprintf(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"there","name":"s","published":true,"status":%q}]}`, status))
		there.WantStatus("there", status, "")
	}
	tell("PUBLISHING")
	name := state.UpstreamName{Upstream: "old", Name: "s"}
	store := w.store.Open("reader", state.Handlers{})
	recorded := func() bool { has, err := store.HasUpstreamName(t.Context(), name); return has && err == nil }
	rig.Eventually(t, 20*time.Second, "the name is recorded", recorded)
	publishAV(t, here, "here", "s")
	here.WantStatus("here", "FAILED", "Stream name is already in use")
	tell("UNPUBLISHED")
	rig.Eventually(t, 20*time.Second, "the name is free", func() bool { return !recorded() })
	publishAV(t, here, "here", "s")
	here.AwaitSDP("here")
}

// The token of a session that ended is for no other server.
func TestMediaSocketOfEndedSessionReachesNoServer(t *testing.T) {
	other := rig.StartScriptedServer(t)
	w, old, c, token := waitingWorld(t, func(c *Config) { c.MediaSockets = upstreamAt(t, other.URL) })
	client := w.waitForUpstream(t, token)
	c.Close()
	rig.WantClose(t, client, websocket.ClosePolicyViolation)
	if old.Accepted()+other.Accepted() != 0 {
		t.Error("a server got the socket")
	}
}
