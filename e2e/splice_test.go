package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// migration is an old server, played by a gateway with its own LiveKit, and two pods in front of it.
type migration struct {
	t    *testing.T
	old  *rig.Stage
	lk   *rig.LiveKit // of the new side
	pods []*rig.Gateway
	file string // configuration of the pods
}

const newVersion, oldVersion = "5.2.0-new", "5.2.0-old"

func newMigration(t *testing.T, share int) *migration {
	t.Helper()
	return startMigration(t, fmt.Sprintf("route: {default: old, share: %d, salt: fixed}", share))
}

// startMigration starts both sides. settings are those of the new side's defaultApp.
func startMigration(t *testing.T, settings string) *migration {
	t.Helper()
	m := &migration{t: t, file: filepath.Join(t.TempDir(), "gateway.yaml")}
	m.old = rig.NewStage(t, map[string]string{"WCS_DEPLOYMENT": "old", "WCS_VERSION": oldVersion}, "")
	m.configure(settings)
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	m.lk = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook()})
	for _, p := range ports {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: m.lk, Redis: m.old.Redis.Addr, Env: map[string]string{
			"WCS_CONFIG": m.file, "WCS_DEPLOYMENT": "new", "WCS_VERSION": newVersion,
		}})
		g.AwaitReady(t)
		m.pods = append(m.pods, g)
	}
	return m
}

// configure writes the configuration. Pods that run reload it.
func (m *migration) configure(settings string) {
	m.t.Helper()
	text := fmt.Sprintf(`
upstreams: {old: {url: %q}}
applications:
  defaultApp: {%s}
`, strings.TrimSuffix(m.old.Gateway.URL, "/"), settings)
	if err := os.WriteFile(m.file+".new", []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.file+".new", m.file); err != nil {
		m.t.Fatal(err)
	}
}

// reload changes the share, and waits until the pods have it.
func (m *migration) reload(percent int) {
	m.t.Helper()
	const done = "configuration reloaded"
	before := make([]int, len(m.pods))
	for i, g := range m.pods {
		before[i] = strings.Count(g.Output(), done)
	}
	m.configure(fmt.Sprintf("route: {default: old, share: %d, salt: fixed}", percent))
	for i, g := range m.pods {
		rig.Eventually(m.t, 20*time.Second, "the pod has reloaded", func() bool { return strings.Count(g.Output(), done) > before[i] })
	}
}

// login opens a session at a pod and reports whether the new side serves it.
func (m *migration) login(pod int, login string) (c *rig.Client, isNew bool) {
	m.t.Helper()
	c = rig.Dial(m.t, m.pods[pod].URL+"some/path?x=1")
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0", "msePacketizationVersion": 2, "custom": map[string]string{"login": login}})
	c.Await("getUserData")
	version := c.Await("getVersion").Raw
	if !strings.Contains(version, newVersion) && !strings.Contains(version, oldVersion) {
		m.t.Fatalf("version %s", version)
	}
	return c, strings.Contains(version, newVersion)
}

// loginOn returns a client on one side, with its login.
func (m *migration) loginOn(pod int, wantNew bool) (c *rig.Client, login string) {
	m.t.Helper()
	for i := range 100 {
		login = fmt.Sprintf("someone-%d", i)
		c, isNew := m.login(pod, login)
		if isNew == wantNew {
			return c, login
		}
		c.Close()
	}
	m.t.Fatal("all clients are on one side")
	return nil, ""
}

func wantPackets(t *testing.T, screen *rig.Peer) {
	t.Helper()
	for _, kind := range []translate.Kind{translate.Audio, translate.Video} {
		seen := screen.Packets(kind)
		rig.Eventually(t, 20*time.Second, "further packets of "+string(kind), func() bool { return screen.Packets(kind) > seen+10 })
	}
}

func TestShareOfLoginsIsStickyOverPodsAndReconnects(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 10)
	here := make(map[string]bool)
	for i := range 500 {
		login := fmt.Sprintf("user-%d", i)
		c, isNew := m.login(i%2, login)
		here[login] = isNew
		c.Drop()
	}
	count := 0
	for i := range 500 {
		login := fmt.Sprintf("user-%d", i)
		if here[login] {
			count++
		}
		if i%5 != 0 && !here[login] {
			continue // a sample of the others
		}
		for pod := range m.pods {
			c, isNew := m.login(pod, login)
			if isNew != here[login] {
				t.Errorf("%s changed sides on pod %d", login, pod)
			}
			c.Drop()
		}
	}
	t.Logf("%d of 500 logins are served by the new side", count)
	if count < 30 || count > 70 {
		t.Errorf("%d of 500 logins are served by the new side, with a share of 10 %%", count)
	}
}

// Both directions of a move: the share is raised and lowered while media flows on both sides.
func TestReloadMovesNobodyWhoseStreamRuns(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 50)
	var screens []*rig.Peer
	var clients []*rig.Client
	logins := map[bool]string{}
	for _, isNew := range []bool{true, false} {
		name := fmt.Sprintf("side-%v", isNew)
		pub, login := m.loginOn(0, isNew)
		logins[isNew] = login
		pub.Publish("pub-"+name, name, rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
		viewer, stillNew := m.login(1, login)
		if stillNew != isNew {
			t.Fatalf("%s changed sides", login)
		}
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		viewer.Play("play-"+name, name, screen)
		wantPackets(t, screen)
		screens, clients = append(screens, screen), append(clients, pub, viewer)
	}
	for _, share := range []int{100, 0} {
		m.reload(share)
		for _, login := range logins {
			c, isNew := m.login(1, login)
			if isNew != (share == 100) {
				t.Errorf("with a share of %d, %s is on the wrong side", share, login)
			}
			c.Close()
		}
		for _, screen := range screens {
			wantPackets(t, screen)
		}
	}
	wantNoMoreStatus(t, clients...)
	for _, c := range clients {
		c.Close()
	}
	rig.WantClean(t, m.lk, m.old.Redis)
	m.old.WantClean(t)
}

func TestKilledOldServerEndsItsSessionsOnly(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 50)
	pub, _ := m.loginOn(0, true)
	pub.Publish("pub", "new", rig.NewPublisher(t, rig.PeerOptions{}))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	viewer, _ := m.loginOn(1, true)
	viewer.Play("play", "new", screen)
	lost, login := m.loginOn(0, false)
	lost.Publish("pub", "old", rig.NewPublisher(t, rig.PeerOptions{}))

	m.old.Gateway.Kill()
	if err := lost.AwaitClosed(); err == nil {
		t.Error("the session of the old server ended as if it was closed")
	}
	again := rig.Dial(t, m.pods[0].URL)
	again.Send("connection", map[string]any{"appKey": "defaultApp", "custom": map[string]string{"login": login}})
	if text := again.Await("fail").Raw; !strings.Contains(text, "Upstream server is not available") {
		t.Errorf("the client is sent %s", text)
	}
	_ = again.AwaitClosed()
	wantPackets(t, screen)
	wantNoMoreStatus(t, pub, viewer)
	for _, g := range m.pods {
		if g.Get("/readyz") != http.StatusOK {
			t.Error("a pod is not ready without the old server")
		}
	}
	rig.Eventually(t, 20*time.Second, "no session is spliced", func() bool {
		return strings.Contains(m.pods[0].Metrics(t), `wcs_upstream_sessions{app="defaultApp",upstream="old"} 0`)
	})
}
