package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

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
	return startMigration(t, shareOf(share))
}

func shareOf(percent int) string {
	return fmt.Sprintf("route: {default: old, share: %d, salt: fixed}", percent)
}

// startMigration starts both sides. settings are those of the new side's defaultApp.
func startMigration(t *testing.T, settings string) *migration {
	t.Helper()
	return startMigrationWith(t, settings, nil)
}

// startMigrationWith has further settings of the new side, as WCS_… variables.
func startMigrationWith(t *testing.T, settings string, extra map[string]string) *migration {
	t.Helper()
	m := &migration{t: t, file: filepath.Join(t.TempDir(), "gateway.yaml")}
	old := restEnvFor(t, "gateway", "other-secret")
	maps.Copy(old, map[string]string{"WCS_DEPLOYMENT": "old", "WCS_VERSION": oldVersion, "WCS_APPLICATIONS": "{defaultApp: {record: forbidden}}"})
	m.old = rig.NewStage(t, old, "")
	m.configure(settings)
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	m.lk = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook()})
	for _, p := range ports {
		env := restEnv(t)
		maps.Copy(env, map[string]string{
			"WCS_CONFIG": m.file, "WCS_DEPLOYMENT": "new", "WCS_VERSION": newVersion,
		})
		maps.Copy(env, extra)
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: m.lk, Redis: m.old.Redis.Addr, Env: env})
		g.AwaitReady(t)
		m.pods = append(m.pods, g)
	}
	return m
}

// configure writes the configuration. Pods that run reload it.
func (m *migration) configure(settings string) {
	m.t.Helper()
	m.write(fmt.Sprintf(`
upstreams:
  old: {url: %q, rest: {url: "http://%s", username: gateway, password: other-secret}}
applications:
  defaultApp: {%s}
`, strings.TrimSuffix(m.old.Gateway.URL, "/"), m.old.Gateway.Listening(m.t, "rest.listen"), settings))
}

// write replaces the file of the configuration.
func (m *migration) write(text string) {
	m.t.Helper()
	if err := os.WriteFile(m.file+".new", []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.file+".new", m.file); err != nil {
		m.t.Fatal(err)
	}
}

// reload changes the settings, and waits until the pods have them.
func (m *migration) reload(settings string) {
	m.t.Helper()
	m.awaitReload(func() { m.configure(settings) })
}

// awaitReload waits until the pods have what change writes.
func (m *migration) awaitReload(change func()) {
	m.t.Helper()
	const done = "configuration reloaded"
	before := make([]int, len(m.pods))
	for i, g := range m.pods {
		before[i] = strings.Count(g.Output(), done)
	}
	change()
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
func TestReloadMovesNoClientWithStream(t *testing.T) {
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
		m.reload(shareOf(share))
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

	wantGauge(t, m.pods[0], `wcs_upstream_streams{app="defaultApp",kind="publish",upstream="old"} 1`)
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
	wantGauge(t, m.pods[0], `wcs_upstream_streams{app="defaultApp",kind="publish",upstream="old"} 0`)
}

// One address for backends, whichever side has what they ask for.
func TestRESTListsAndEndsStreamsOfBothServers(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 50)
	pub, _ := m.loginOn(0, true)
	pub.Publish("new-pub", "on-new", rig.NewPublisher(t, rig.PeerOptions{}))
	oldPub, login := m.loginOn(0, false)
	oldPub.Publish("old-pub", "on-old", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	viewer, _ := m.login(1, login)
	viewer.Play("old-play", "on-old", rig.NewPlayer(t, rig.PeerOptions{}))
	b := backend{"http://" + m.pods[1].Listening(t, "rest.listen"), "ops", "secret"}

	rig.Eventually(t, 20*time.Second, "the streams of both servers are listed", func() bool {
		all := streamsIn(t, b.want(t, "/rest-api/stream/find_all", "", 200))
		return len(all) == 3 && all["new-pub"].Status == "PUBLISHING" && all["old-pub"].Status == "PUBLISHING" && all["old-play"].Status == "PLAYING"
	})
	list := b.want(t, "/rest-api/stream/find_all", "", 200)
	if all := streamsIn(t, list); all["new-pub"].NodeID == all["old-pub"].NodeID || strings.Index(list, "new-pub") > strings.Index(list, "old-p") {
		t.Errorf("list %s", list)
	}
	one := streamsIn(t, b.want(t, "/rest-api/stream/find", `{"name":"on-old","published":true}`, 200))
	session := one["old-pub"].SessionID
	if len(one) != 1 || session == "" {
		t.Errorf("streams with the name: %+v", one)
	}
	if s := b.want(t, "/rest-api/connection/find_all", "", 200); strings.Count(s, `"sessionId"`) != 3 {
		t.Errorf("connections %s", s)
	}
	if s := b.want(t, "/rest-api/connection/find", `{"sessionId":"`+session+`"}`, 200); strings.Count(s, `"sessionId"`) != 1 {
		t.Errorf("connections %s", s)
	}

	var picture struct{ Data []byte }
	if err := json.Unmarshal([]byte(b.want(t, "/rest-api/stream/snapshot", `{"streamName":"on-old"}`, 200)), &picture); err != nil || !bytes.HasPrefix(picture.Data, []byte("\x89PNG")) {
		t.Errorf("picture of %d bytes: %v", len(picture.Data), err)
	}
	b.want(t, "/rest-api/stream/metrics", `{"mediaSessionId":"old-pub"}`, 200)
	b.want(t, "/rest-api/stream/event/send", `{"streamName":"on-old","payload":{"of":"backend"}}`, 200)
	viewer.AwaitMatch("the backend's event", func(msg rig.Message) bool { return strings.Contains(msg.Raw, `"of":"backend"`) })
	b.want(t, "/rest-api/data/send", `{"sessionId":"`+session+`","payload":{"to":"publisher"}}`, 200)
	if msg := oldPub.Await("OnDataEvent"); !strings.Contains(msg.Raw, `"to":"publisher"`) {
		t.Errorf("the client got %s", msg.Raw)
	}
	if s := b.want(t, "/rest-api/stream/startRecording", `{"mediaSessionId":"old-pub","config":{"fileTemplate":"a"}}`, 500); !strings.Contains(s, "not allowed to record") {
		t.Errorf("recording: %s", s)
	}
	b.want(t, "/rest-api/stream/terminate", `{"mediaSessionId":"old-play"}`, 200)
	viewer.WantStatus("old-play", "STOPPED", "Stopped by rest /terminate")
	b.want(t, "/rest-api/stream/terminate", `{"mediaSessionId":"old-play"}`, 404)
	b.want(t, "/rest-api/connection/terminate", `{"sessionId":"`+session+`"}`, 200)
	if err := oldPub.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1008") {
		t.Errorf("the client saw %v", err)
	}

	m.old.Gateway.Kill()
	if all := streamsIn(t, b.want(t, "/rest-api/stream/find_all", "", 200)); len(all) != 1 || all["new-pub"].Name == "" {
		t.Errorf("streams while the old server is down: %+v", all)
	}
	b.want(t, "/rest-api/stream/find", `{"name":"on-old"}`, 502)
	b.want(t, "/rest-api/stream/terminate", `{"name":"on-old"}`, 502)
	b.want(t, "/rest-api/stream/terminate", `{"name":"on-new"}`, 200)
	pub.WantStatus("new-pub", "UNPUBLISHED", "Stopped by rest /terminate")
	for _, g := range append(m.pods, m.old.Gateway) {
		if strings.Contains(g.Output(), "other-secret") {
			t.Error("a log has the password of the old server")
		}
	}
}

// more is set by make test-more.
var more = flag.Bool("more", false, "run tests for longer, and with more sessions")

// mediaFrames writes 5 Mbit/s of binary messages as an MSE server does, some of them in fragments, to a
// WebSocket's connection and to a hash.
func mediaFrames(w io.Writer, d time.Duration) (total int64, err error) {
	const interval, bytesPerTick = 40 * time.Millisecond, 25_000
	random := rand.New(rand.NewPCG(5, 0)) //nolint:gosec // reproducible content
	pace := time.NewTicker(interval)
	defer pace.Stop()
	for range d / interval {
		for left := bytesPerTick; left > 0; {
			size := min(left, []int{1, 125, 126, 1400, 25_000, 25_000, 25_000}[random.IntN(7)])
			left -= size
			head := []byte{0x82, 126, 0, 0} // a final binary frame
			binary.BigEndian.PutUint16(head[2:], uint16(size))
			if size < 126 {
				head = []byte{0x82, byte(size)}
			}
			frame := append(head, make([]byte, size)...)
			for i := len(head); i < len(frame); i++ {
				frame[i] = byte(random.Uint32())
			}
			if random.IntN(10) == 0 { // the same in two fragments, and a ping between them
				frame[0] = 0x02
				frame = append(frame, 0x89, 1, 'p', 0x80, 1, 'x')
			}
			n, err := w.Write(frame)
			if total += int64(n); err != nil {
				return total, err
			}
		}
		<-pace.C
	}
	return total, nil
}

// The second socket of an MSE player has no format that a gateway knows.
func TestMediaOfSplicedSocketPassByteForByte(t *testing.T) {
	t.Parallel()
	old := rig.StartScriptedServer(t)
	g := rig.StartGateway(t, rig.GatewayOptions{
		Ports: rig.NewPorts(t), LiveKit: rig.StartLiveKit(t, rig.LiveKitOptions{}), Redis: rig.StartRedis(t).Addr,
		Env: map[string]string{"WCS_UPSTREAMS": fmt.Sprintf("{old: {url: %q, mediaSockets: true}}", old.URL)},
	})
	g.AwaitReady(t)
	client := mediaSocket(t, g, "token")
	server := old.Accept(t)
	server.Want(websocket.TextMessage, mediaHello("token"))
	passMedia(t, client, server)
}

func mediaHello(token string) string {
	return fmt.Sprintf(`{"message":"connectMediaTransport","data":[{"authToken":%q}]}`, token)
}

// mediaSocket opens the second socket of an MSE player.
func mediaSocket(t *testing.T, g *rig.Gateway, token string) *websocket.Conn {
	t.Helper()
	client, _, err := websocket.DefaultDialer.Dial(g.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.WriteMessage(websocket.TextMessage, []byte(mediaHello(token))); err != nil {
		t.Fatal(err)
	}
	return client
}

// passMedia sends media to a client and compares the bytes of its connection.
func passMedia(t *testing.T, client *websocket.Conn, server *rig.ScriptedConn) {
	t.Helper()
	d := 3 * time.Second
	if *more {
		d = 30 * time.Second
	}
	sent, got := sha256.New(), sha256.New()
	done := make(chan int64, 1)
	go func() {
		total, err := mediaFrames(io.MultiWriter(server.NetConn(), sent), d)
		if err != nil {
			t.Errorf("after %d bytes: %v", total, err)
		}
		_ = server.NetConn().Close() // the end of what the client reads
		done <- total
	}()
	_ = client.NetConn().SetReadDeadline(time.Now().Add(d + 20*time.Second)) // fails only on a dead socket
	received, err := io.Copy(got, client.NetConn())
	total := <-done
	if received != total || !equal(got, sent) {
		t.Errorf("%d of %d bytes came, %v", received, total, err)
	}
	t.Logf("%d bytes in %v: %.2f Mbit/s", total, d, float64(total)*8/d.Seconds()/1e6)
	if total < int64(d.Seconds()*5e6/8) {
		t.Errorf("%d bytes were sent", total)
	}
}

func equal(a, b hash.Hash) bool { return bytes.Equal(a.Sum(nil), b.Sum(nil)) }
