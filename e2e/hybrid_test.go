package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
	for _, g := range m.pods {
		wantGauge(t, g, `wcs_hybrid_streams{app="defaultApp"} 0`)
		wantGauge(t, g, `wcs_hybrid_links{app="defaultApp"} 0`)
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
