package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Clients whose login begins with there publish on the old server.
const hybridSettings = `hybrid: {upstream: old, rules: [{login: "there.*", to: old}]}`

// hybridLogin opens a session, which the new side always serves.
func (m *migration) hybridLogin(pod int, login string) *rig.Client {
	m.t.Helper()
	c, isNew := m.login(pod, login)
	if !isNew {
		m.t.Fatalf("%s is not served by the new side", login)
	}
	return c
}

// available asks for a stream.
func available(c *rig.Client, id, name string) bool {
	c.Send("availableStream", map[string]any{"mediaSessionId": id, "name": name})
	return strings.Contains(c.Await("availableStream").Raw, `"status":"true"`)
}

func wantGauge(t *testing.T, g *rig.Gateway, line string) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, line, func() bool { return strings.Contains(g.Metrics(t), line+"\n") })
}

func TestStreamsOfBothSidesArePlayedInOneSession(t *testing.T) {
	t.Parallel()
	m := startMigration(t, hybridSettings)
	there, here := m.hybridLogin(0, "there-1"), m.hybridLogin(1, "here-1")
	direct := rig.Connect(t, m.old.Gateway.URL, "defaultApp")
	clients := []*rig.Client{there, here, direct}

	there.Publish("pub-there", "on-old", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	here.Publish("pub-here", "on-new", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	direct.Publish("pub-direct", "direct", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	for id, c := range map[string]*rig.Client{"a-": there, "b-": here} {
		for _, name := range []string{"on-old", "on-new", "direct"} {
			if !available(c, id+name, name) {
				t.Errorf("%s is not available", name)
			}
			screen := rig.NewPlayer(t, rig.PeerOptions{})
			c.Play(id+name, name, screen)
			wantPackets(t, screen)
		}
		if available(c, id+"none", "none") {
			t.Error("a stream that does not exist is available")
		}
	}
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	direct.Play("play-direct", "on-old", screen)
	wantPackets(t, screen)

	for _, tt := range []struct {
		c    *rig.Client
		name string
	}{{there, "on-new"}, {there, "on-old"}, {here, "on-new"}, {m.hybridLogin(0, "here-2"), "on-old"}} {
		tt.c.Send("publishStream", rig.StreamRequest("twice", tt.name, rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
		tt.c.WantStatus("twice", "FAILED", "Stream name is already in use")
	}

	there.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub-there", "type": "audioMuted"})
	for _, c := range []*rig.Client{there, here} {
		c.AwaitMatch("audioMuted", func(m rig.Message) bool { return strings.Contains(m.Raw, "audioMuted") })
	}
	here.Stop("b-direct", "direct")
	here.WantStatus("b-direct", "STOPPED", "Stopped by user")
	there.Unpublish("pub-there", "on-old")
	there.WantStatus("pub-there", "UNPUBLISHED", "Stopped by publisher stop")
	there.WantStatus("a-on-old", "FAILED", "Stopped by publisher stop")
	here.WantStatus("b-on-old", "FAILED", "Stopped by publisher stop")
	direct.WantStatus("play-direct", "FAILED", "Stopped by publisher stop")
	there.Publish("pub-there", "on-old", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	wantNoMoreStatus(t, clients...)
	for _, c := range clients {
		c.Close()
	}
	wantGauge(t, m.pods[0], `wcs_hybrid_streams{app="defaultApp",kind="publish",upstream="old"} 0`)
	for _, g := range m.pods {
		wantGauge(t, g, `wcs_hybrid_streams{app="defaultApp",kind="play",upstream="old"} 0`)
		wantGauge(t, g, `wcs_hybrid_links{app="defaultApp",upstream="old"} 0`)
	}
	rig.WantClean(t, m.lk, m.old.Redis)
	m.old.WantClean(t)
}

func TestKilledUpstreamEndsItsStreamsOnly(t *testing.T) {
	t.Parallel()
	m := startMigration(t, hybridSettings)
	there, here := m.hybridLogin(0, "there-1"), m.hybridLogin(1, "here-1")
	there.Publish("pub-there", "on-old", rig.NewPublisher(t, rig.PeerOptions{}))
	here.Publish("pub-here", "on-new", rig.NewPublisher(t, rig.PeerOptions{}))
	lost, screen := rig.NewPlayer(t, rig.PeerOptions{}), rig.NewPlayer(t, rig.PeerOptions{})
	here.Play("lost", "on-old", lost)
	there.Play("kept", "on-new", screen)
	wantPackets(t, screen)

	m.old.Gateway.Kill()
	there.WantStatus("pub-there", "FAILED", "Upstream server is not available")
	here.WantStatus("lost", "FAILED", "Upstream server is not available")
	wantPackets(t, screen)
	again := rig.NewPlayer(t, rig.PeerOptions{})
	here.Play("again", "on-new", again)
	wantPackets(t, again)
	if available(here, "q", "on-old") {
		t.Error("a stream of the killed server is available")
	}
	wantNoMoreStatus(t, there, here)
	for _, g := range m.pods {
		if g.Get("/readyz") != http.StatusOK {
			t.Error("a pod is not ready without the old server")
		}
	}
}

func TestReloadOfHybridMovesNewSessionsOnly(t *testing.T) {
	t.Parallel()
	m := startMigration(t, hybridSettings)
	running := m.hybridLogin(0, "there-1")
	direct := rig.Connect(t, m.old.Gateway.URL, "defaultApp")
	viewer, screen := m.hybridLogin(1, "viewer"), rig.NewPlayer(t, rig.PeerOptions{})
	running.Publish("pub", "before", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	viewer.Play("play", "before", screen)
	wantPackets(t, screen)

	m.reload(`hybrid: {upstream: old}`)
	wantPackets(t, screen)
	moved := m.hybridLogin(0, "there-1")
	moved.Publish("pub-moved", "after", rig.NewPublisher(t, rig.PeerOptions{}))
	running.Publish("pub-2", "still", rig.NewPublisher(t, rig.PeerOptions{}))
	if available(direct, "q1", "after") {
		t.Error("a new session publishes on the old side")
	}
	if !available(direct, "q2", "still") {
		t.Error("a running session has changed sides")
	}
	for _, name := range []string{"after", "still"} {
		more := rig.NewPlayer(t, rig.PeerOptions{})
		viewer.Play("play-"+name, name, more)
		wantPackets(t, more)
	}
	wantPackets(t, screen)
	wantNoMoreStatus(t, running, moved, viewer, direct)
}

// A session with keepAlive that is resumed on another pod keeps its streams of the new side.
func TestResumedSessionLosesItsUpstreamStreams(t *testing.T) {
	t.Parallel()
	m := startMigration(t, `hybrid: {upstream: old}`)
	direct := rig.Connect(t, m.old.Gateway.URL, "defaultApp")
	direct.Publish("pub-direct", "direct", rig.NewPublisher(t, rig.PeerOptions{}))
	c, token := rig.ConnectKept(t, m.pods[0].URL, "defaultApp", "")
	c.Publish("kept", "on-new", rig.NewPublisher(t, rig.PeerOptions{}))
	c.Play("lost", "direct", rig.NewPlayer(t, rig.PeerOptions{}))
	c.Drop()
	c, _ = rig.ConnectKept(t, m.pods[1].URL, "defaultApp", token)
	c.WantStatus("lost", "FAILED", "Stopped by session disconnect")
	c.WantStatus("kept", "PUBLISHING", "")
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	c.Play("again", "direct", screen)
	wantPackets(t, screen)
	wantNoMoreStatus(t, c, direct)
}

// The session is on one pod, and its media socket reaches another one.
func TestMediaOfHybridSessionPassByteForByte(t *testing.T) {
	t.Parallel()
	old, redis, lk := rig.StartScriptedServer(t), rig.StartRedis(t), rig.StartLiveKit(t, rig.LiveKitOptions{})
	var pods []*rig.Gateway
	for range 2 {
		g := rig.StartGateway(t, rig.GatewayOptions{
			Ports: rig.NewPorts(t), LiveKit: lk, Redis: redis.Addr,
			Env: map[string]string{
				"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", old.URL),
				"WCS_APPLICATIONS": "{defaultApp: {hybrid: {upstream: old, fallback: true}}}",
			},
		})
		g.AwaitReady(t)
		pods = append(pods, g)
	}
	c, token := rig.ConnectKept(t, pods[0].URL, "defaultApp", "")
	const play = `{"message":"playStream","data":[{"mediaSessionId":"m","name":"s","mediaProvider":"MSE","sdp":"v=0"}]}`
	c.SendRaw(play)
	link := old.Accept(t)
	if _, hello, err := link.ReadMessage(); err != nil || strings.Contains(string(hello), "authToken") {
		t.Fatalf("connection %s, %v", hello, err)
	}
	link.Send(websocket.TextMessage, `{"message":"getUserData","data":[{"authToken":"/10.0.0.1:1/10.0.0.2:8443-x"}]}`)
	link.Want(websocket.TextMessage, play)
	link.Send(websocket.TextMessage, `{"message":"setRemoteSDP","data":["m","v=0",true]}`)
	c.AwaitSDP("m")
	client := mediaSocket(t, pods[1], token)
	media := old.Accept(t)
	media.Want(websocket.TextMessage, mediaHello("/10.0.0.1:1/10.0.0.2:8443-x"))
	passMedia(t, client, media)
	for _, g := range pods {
		for _, secret := range []string{token, "10.0.0.2:8443-x"} {
			if strings.Contains(g.Output(), secret) {
				t.Error("a log has a token")
			}
		}
	}
}

// Applications with a route and hybrid: some sessions are spliced, and the others use the old server for
// some streams.
func TestPodsEndWithTheirLinksToUpstream(t *testing.T) {
	t.Parallel()
	m := startMigrationWith(t, `route: {rules: [{login: "spliced.*", to: old}]}, `+hybridSettings, map[string]string{"WCS_DRAIN_WINDOW": "3s"})
	spliced := func(pod int) *rig.Client {
		c, isNew := m.login(pod, "spliced-1")
		if isNew {
			t.Fatal("the session is not spliced")
		}
		return c
	}
	direct, screen := rig.Connect(t, m.old.Gateway.URL, "defaultApp"), rig.NewPlayer(t, rig.PeerOptions{})
	there, here, through, through2 := m.hybridLogin(0, "there-1"), m.hybridLogin(1, "here-1"), spliced(0), spliced(1)
	there.Publish("pub-there", "on-old", rig.NewPublisher(t, rig.PeerOptions{}))
	through.Publish("pub-through", "spliced", rig.NewPublisher(t, rig.PeerOptions{}))
	here.Publish("pub-here", "on-new", rig.NewPublisher(t, rig.PeerOptions{}))
	here.Play("play-there", "on-old", rig.NewPlayer(t, rig.PeerOptions{}))
	direct.Play("play-through", "spliced", rig.NewPlayer(t, rig.PeerOptions{}))
	through2.Publish("pub-through2", "kept", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	direct.Play("play-kept", "kept", screen)

	m.pods[0].Kill()
	here.WantStatus("play-there", "FAILED", "Stopped by publisher stop")
	direct.WantStatus("play-through", "FAILED", "Stopped by publisher stop")
	wantPackets(t, screen)
	moved := m.hybridLogin(1, "there-1")
	moved.Publish("pub-there", "on-old", rig.NewPublisher(t, rig.PeerOptions{}))
	here.Play("play-there", "on-old", rig.NewPlayer(t, rig.PeerOptions{}))
	idle := m.hybridLogin(1, "there-2")
	if !available(idle, "q", "on-old") {
		t.Error("the stream on the old server is not available")
	}

	m.pods[1].Terminate()
	if err := idle.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("a client without streams saw %v", err)
	}
	moved.Unpublish("pub-there", "on-old") // the others go on
	moved.WantStatus("pub-there", "UNPUBLISHED", "Stopped by publisher stop")
	here.WantStatus("play-there", "FAILED", "Stopped by publisher stop")
	for name, c := range map[string]*rig.Client{"with a stream here": here, "with an ended stream on the old server": moved, "spliced": through2} {
		if err := c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Errorf("a client %s saw %v", name, err)
		}
	}
	direct.WantStatus("play-kept", "FAILED", "Stopped by publisher stop")
	if err := m.pods[1].Wait(); err != nil {
		t.Errorf("the pod ended with %v", err)
	}
	wantNoMoreStatus(t, direct)
	direct.Close()
	m.old.WantClean(t)
}
