// Package pull tests what clients play by an address: cameras on a real RTSP server, with the gateway, the
// worker, LiveKit and Redis as processes.
package pull

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// atATime is how many tests run together unless -parallel sets another number.
const atATime = "2"

const patience = time.Minute

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	os.Exit(m.Run())
}

// stage is a deployment with cameras.
type stage struct {
	t       *testing.T
	redis   *rig.Redis
	liveKit *rig.LiveKit
	pods    []*rig.Gateway
	workers []*rig.Process
	rtsp    *rig.RTSPServer
	rest    []string     // of the pods
	monitor *rig.Process // shows all commands of Redis
}

const (
	user     = "admin"
	password = "hunter2-geheim"
)

// newStage starts two pods, and a number of workers.
func newStage(t *testing.T, workers int, env map[string]string) *stage {
	t.Helper()
	s := &stage{t: t, redis: rig.StartRedis(t)}
	s.monitor = rig.Start(t, "redis-cli", "-p", fmt.Sprint(s.redis.Port), "MONITOR")
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	s.liveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[1].Webhook()})
	all := map[string]string{
		"WCS_PULL_SECRET": rig.PullSecret, "WCS_PULL_LINGER": "5s", "WCS_REST_AUTH": "none",
		"WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["rtsp://127.0.0.1:*", "rtsp://cam.invalid"]}}, other: {}}`,
	}
	for k, v := range env {
		all[k] = v
	}
	for _, p := range ports {
		all["WCS_REST_LISTEN"] = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
		s.rest = append(s.rest, "http://"+all["WCS_REST_LISTEN"]+"/rest-api")
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: s.liveKit, Redis: s.redis.Addr, Env: all})
		g.AwaitReady(t)
		s.pods = append(s.pods, g)
	}
	s.rtsp = rig.StartRTSPOverUDP(t, user, password)
	for range workers {
		s.workers = append(s.workers, rig.StartPullWorker(t, s.liveKit, s.redis.Addr, nil))
	}
	return s
}

func (s *stage) connect(pod int) *rig.Client {
	s.t.Helper()
	return rig.Connect(s.t, s.pods[pod].URL, "defaultApp")
}

// start requests a play.
func start(c *rig.Client, id, name string, peer *rig.Peer) {
	c.Send("playStream", rig.StreamRequest(id, name, peer.Offer(), false, nil))
}

// wantMedia waits for audio and video.
func (s *stage) wantMedia(peer *rig.Peer) {
	s.t.Helper()
	for _, kind := range []translate.Kind{translate.Audio, translate.Video} {
		from := peer.Packets(kind)
		rig.Eventually(s.t, patience, string(kind)+" arrives", func() bool { return peer.Packets(kind) > from+20 })
	}
}

// wantNoCredentials checks what the processes log and what Redis was ever told.
func (s *stage) wantNoCredentials(secrets ...string) {
	s.t.Helper()
	texts := map[string]string{"Redis": s.monitor.Output()}
	for i, g := range s.pods {
		texts[fmt.Sprintf("the log of pod %d", i)] = g.Output()
	}
	for i, w := range s.workers {
		texts[fmt.Sprintf("the log of worker %d", i)] = w.Output()
	}
	for where, text := range texts {
		if len(text) == 0 {
			s.t.Errorf("%s is empty", where)
		}
		for _, secret := range append(secrets, password) {
			if at := strings.Index(text, secret); at >= 0 {
				s.t.Errorf("%s has %q: %s", where, secret, text[max(0, at-300):min(len(text), at+200)])
			}
		}
	}
}

// post sends a request to a pod's REST API and returns the status and the body.
func (s *stage) post(pod int, path, body string) (int, string) {
	s.t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(s.rest[pod]+path, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// wanted returns the number of pulls in Redis.
func (s *stage) wanted() int {
	return len(strings.Fields(s.redis.CLI("--raw", "ZRANGE", "wcs:default:pulls", "0", "-1")))
}

// holders returns how many pods and operators hold the only pull.
func (s *stage) holders() int {
	s.t.Helper()
	id := strings.TrimSpace(s.redis.CLI("--raw", "ZRANGE", "wcs:default:pulls", "0", "-1"))
	n, err := strconv.Atoi(strings.TrimSpace(s.redis.CLI("--raw", "ZCOUNT", "wcs:default:{pull:"+id+"}:wants", fmt.Sprint(time.Now().UnixMilli()), "+inf")))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestPlayersOfTwoPodsShareOneConnectionToACamera(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.rtsp.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	address := s.rtsp.URL("cam") + "?token=hunter3-geheim"
	a, b := s.connect(0), s.connect(1)

	since := time.Now()
	first := rig.NewPlayer(t, rig.PeerOptions{})
	if st := a.Play("one", address, first); st.Name != address {
		t.Errorf("status with the name %q, want the client's", st.Name)
	}
	<-first.Picture()
	t.Logf("cold: %v from playStream to the first picture", time.Since(since))
	since = time.Now()
	second := rig.NewPlayer(t, rig.PeerOptions{})
	b.Play("two", address, second)
	<-second.Picture()
	t.Logf("warm, on another pod: %v", time.Since(since))
	third := rig.NewPlayer(t, rig.PeerOptions{})
	b.Play("three", address, third)
	for _, p := range []*rig.Peer{first, second, third} {
		s.wantMedia(p)
	}
	if n := s.rtsp.Readers(); n != 1 {
		t.Errorf("%d connections to the camera, want 1", n)
	}
	if m := b.Await("outboundVideoRate"); !strings.Contains(m.Raw, `"videoRate"`) {
		t.Errorf("rate: %s", m.Raw)
	}
	b.AwaitMatch("the size of the picture", func(m rig.Message) bool {
		return m.Name == "notifyVideoFormat" && strings.Contains(m.Raw, `"streamerVideoWidth":640`)
	})
	b.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": address})
	if m := b.Await("availableStream"); !strings.Contains(m.Raw, `"status":"true"`) {
		t.Errorf("availableStream: %s", m.Raw)
	}
	for _, c := range []*rig.Client{a, b} {
		for _, id := range []string{"one", "two", "three"} {
			c.Stop(id, address)
		}
	}
	a.WantStatus("one", "STOPPED", "Stopped by user")
	stopped := time.Now()
	rig.Eventually(t, patience, "the pull ends after its linger", func() bool {
		return s.wanted() == 0 && len(s.liveKit.Participants(t, "")) == 0
	})
	if took := time.Since(stopped); took < 4*time.Second {
		t.Errorf("the pull ended %v after its last player, want 5 s", took)
	}
	s.wantNoCredentials("hunter3-geheim")
}

func TestCameraThatCannotBePlayedIsAText(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0, nil)
	c := s.connect(0)
	play := func(id, name, info string) time.Duration {
		since := time.Now()
		start(c, id, name, rig.NewPlayer(t, rig.PeerOptions{}))
		c.WantStatus(id, "FAILED", info)
		return time.Since(since)
	}
	if took := play("nobody", s.rtsp.URL("cam"), "No worker for pulled streams is available"); took > 2*time.Second {
		t.Errorf("without a worker: after %v", took)
	}
	s.workers = append(s.workers, rig.StartPullWorker(t, s.liveKit, s.redis.Addr, nil))
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	wrong := strings.Replace(s.rtsp.URL("cam"), password, "hunter9-falsch", 1)
	nothing := fmt.Sprintf("rtsp://%s:%s@127.0.0.1:%d/cam", user, password, rig.FreePort(t))
	for _, tt := range []struct{ id, name, info string }{
		{"absent", s.rtsp.URL("absent"), "Rtsp stream not found"},
		{"wrong", wrong, "Failed to connect to rtsp stream"},
		{"nothing", nothing, "Failed to connect to rtsp stream"},
		{"unknown", "rtsp://admin:" + password + "@cam.invalid/cam", "Failed to connect to rtsp stream"},
		{"forbidden", "rtsp://admin:" + password + "@127.0.0.2:554/cam", "Restricted access"},
		{"malformed", "rtsp://admin:" + password + "@127.0.0.1:99999/cam", "Bad URI"},
	} {
		t.Logf("%s: %s after %v", tt.id, tt.info, play(tt.id, tt.name, tt.info))
	}
	other := rig.Connect(t, s.pods[1].URL, "other")
	start(other, "ordinary", "rtsp://127.0.0.1/none", rig.NewPlayer(t, rig.PeerOptions{}))
	other.WantStatus("ordinary", "FAILED", "Session does not exist")
	c.Play("cam", s.rtsp.URL("cam"), rig.NewPlayer(t, rig.PeerOptions{}))
	s.wantNoCredentials("hunter9-falsch")
}

// Players go on with a killed worker's camera when another worker has it, over UDP as before. Those whose
// client needs SSRCs get FAILED and play again.
func TestKilledWorkersCameraIsPlayedFromAnother(t *testing.T) {
	t.Parallel()
	s := newStage(t, 2, map[string]string{"WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["rtsp://127.0.0.1:*"], rtspTransport: udp}}}`})
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	a, b := s.connect(0), s.connect(1)
	one, two := rig.NewPlayer(t, rig.PeerOptions{}), rig.NewPlayer(t, rig.PeerOptions{})
	a.Play("one", s.rtsp.URL("cam"), one)
	b.Play("two", s.rtsp.URL("cam"), two)
	s.wantMedia(one)
	follower := rig.NewPlayer(t, rig.PeerOptions{Follow: true})
	b.Play("follower", s.rtsp.URL("cam"), follower)
	<-follower.Picture()
	owner := 0
	if strings.Contains(s.workers[1].Output(), "pull taken") {
		owner = 1
	}
	killed := time.Now()
	s.workers[owner].Kill()
	a.WantStatus("one", "FAILED", "Stopped by publisher stop")
	t.Logf("players end %v after their worker", time.Since(killed))
	b.WantStatus("two", "FAILED", "Stopped by publisher stop")
	went := follower.Packets(translate.Video)
	rig.Eventually(t, patience, "the picture goes on", func() bool { return follower.Packets(translate.Video) > went+50 })
	t.Logf("a player goes on %v after the kill", time.Since(killed))
	for try := 0; ; try++ {
		peer, id := rig.NewPlayer(t, rig.PeerOptions{}), fmt.Sprintf("again-%d", try)
		start(a, id, s.rtsp.URL("cam"), peer)
		m := a.AwaitMatch("answer or failure", func(m rig.Message) bool {
			return strings.Contains(m.Raw, id) && (m.Name == "setRemoteSDP" || strings.Contains(m.Raw, `"FAILED"`))
		})
		if m.Name != "setRemoteSDP" {
			t.Logf("%v after the kill: %s", time.Since(killed), m.Raw)
			continue
		}
		var sdp string
		m.Arg(t, 1, &sdp)
		peer.SetAnswer(sdp)
		<-peer.Picture()
		break
	}
	t.Logf("a player has a picture again %v after the kill", time.Since(killed))
	if all, over := s.rtsp.Readers(), s.rtsp.ReadersOverUDP(); all != 2 || over != 2 {
		t.Errorf("%d reads of the camera, %d of them over UDP, want 2 and 2", all, over)
	}
	b.Stop("follower", s.rtsp.URL("cam"))
	b.WantStatus("follower", "STOPPED", "Stopped by user")
	s.wantNoCredentials()
}

// A session that is resumed on another pod goes on with its camera, also when its first pod is killed.
func TestResumedSessionKeepsItsCamera(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	c, token := rig.ConnectKept(t, s.pods[0].URL, "defaultApp", "")
	peer := rig.NewPlayer(t, rig.PeerOptions{})
	c.Play("play", s.rtsp.URL("cam"), peer)
	s.wantMedia(peer)
	s.pods[0].Kill()
	moved, _ := rig.ConnectKept(t, s.pods[1].URL, "defaultApp", token)
	if st := moved.WantStatus("play", "PLAYING", ""); st.Name != s.rtsp.URL("cam") {
		t.Errorf("status with the name %q", st.Name)
	}
	rig.Eventually(t, patience, "the dead pod's hold is over", func() bool { return s.holders() == 1 })
	s.wantMedia(peer)
	if n := s.rtsp.Readers(); n != 1 {
		t.Errorf("%d connections to the camera, want 1", n)
	}
	moved.Stop("play", s.rtsp.URL("cam"))
	moved.WantStatus("play", "STOPPED", "Stopped by user")
	s.wantNoCredentials()
}

// A backend keeps a camera pulled without players, on whatever pod, and ends it with its players.
func TestBackendKeepsACameraPulled(t *testing.T) {
	t.Parallel()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, 1, map[string]string{"WCS_SNAPSHOT_FFMPEG": ffmpeg})
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	body := fmt.Sprintf(`{"uri":%q}`, s.rtsp.URL("cam"))
	if status, text := s.post(0, "/rtsp/startup", body); status != http.StatusOK {
		t.Fatalf("startup: %d %s", status, text)
	}
	if status, text := s.post(1, "/rtsp/startup", body); status != http.StatusConflict {
		t.Errorf("second startup: %d %s", status, text)
	}
	rig.Eventually(t, patience, "the camera is pulled", func() bool {
		_, text := s.post(1, "/rtsp/find", body)
		return strings.Contains(text, `"PLAYING"`)
	})
	c, peer := s.connect(0), rig.NewPlayer(t, rig.PeerOptions{})
	since := time.Now()
	c.Play("play", s.rtsp.URL("cam"), peer)
	t.Logf("PLAYING after %v", time.Since(since))
	s.wantMedia(peer)
	if n := s.rtsp.Readers(); n != 1 {
		t.Errorf("%d connections to the camera, want 1", n)
	}
	if status, text := s.post(1, "/stream/find", fmt.Sprintf(`{"name":%q}`, s.rtsp.URL("cam"))); status != http.StatusOK || !strings.Contains(text, `"mediaSessionId":"play"`) {
		t.Errorf("players of the camera: %d %s", status, text)
	}
	if status, text := s.post(1, "/stream/snapshot", fmt.Sprintf(`{"streamName":%q}`, s.rtsp.URL("cam"))); status != http.StatusOK || !strings.Contains(text, `"data":"iVBOR`) {
		t.Errorf("snapshot: %d %.200s", status, text)
	}
	if status, text := s.post(1, "/pull/terminate", body); status != http.StatusOK {
		t.Errorf("terminate: %d %s", status, text)
	}
	c.WantStatus("play", "FAILED", "Stopped by rest /terminate")
	if status, text := s.post(0, "/rtsp/find_all", ""); status != http.StatusNotFound {
		t.Errorf("list after the end: %d %s", status, text)
	}
	s.wantNoCredentials()
}

// Fifty players on two pods are one pull, also after Redis came back empty.
func TestCameraGoesOnWithoutRedis(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	clients := []*rig.Client{s.connect(0), s.connect(1)}
	first := rig.NewPlayer(t, rig.PeerOptions{})
	clients[0].Play("first", s.rtsp.URL("cam"), first)
	for i := range 49 {
		clients[i%2].Play(fmt.Sprintf("player-%d", i), s.rtsp.URL("cam"), rig.NewPlayer(t, rig.PeerOptions{Audio: true}))
	}
	read := s.rtsp.Readers() // again where a loaded machine delivered no packet for 5 s
	s.redis.Stop()
	s.wantMedia(first)
	s.redis.Restart()
	rig.Eventually(t, patience, "both pods hold the pull again", func() bool { return s.wanted() == 1 && s.holders() == 2 })
	s.wantMedia(first)
	s.pods[1].AwaitReady(t)
	rig.Eventually(t, patience, "a new player joins", func() bool {
		start(clients[1], "late", s.rtsp.URL("cam"), rig.NewPlayer(t, rig.PeerOptions{}))
		m := clients[1].AwaitMatch("answer or failure", func(m rig.Message) bool {
			return strings.Contains(m.Raw, `"late"`) && (m.Name == "setRemoteSDP" || strings.Contains(m.Raw, `"FAILED"`))
		})
		return m.Name == "setRemoteSDP"
	})
	if n := s.rtsp.Readers(); n != read {
		t.Errorf("%d connections to the camera, want %d", n, read)
	}
}

// A file is played from the workers' folder, from its beginning for the first player, and its end is that of
// its players.
func TestFileEndsWithItsPlayers(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0, map[string]string{"WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["vod://lessons/*"]}}}`})
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "lessons"), 0o755); err != nil {
		t.Fatal(err)
	}
	rig.MakeFilm(t, filepath.Join(folder, "lessons", "one.mp4"), "320x240", 6, rig.CameraH264, rig.CameraAAC)
	s.workers = append(s.workers, rig.StartPullWorker(t, s.liveKit, s.redis.Addr, map[string]string{"WCS_PULL_FOLDER": folder}))
	a, b := s.connect(0), s.connect(1)
	start(b, "none", "vod://lessons/two.mp4", rig.NewPlayer(t, rig.PeerOptions{}))
	b.WantStatus("none", "FAILED", "File not found")
	start(b, "forbidden", "vod://one.mp4", rig.NewPlayer(t, rig.PeerOptions{}))
	b.WantStatus("forbidden", "FAILED", "Restricted access")
	one, two := rig.NewPlayer(t, rig.PeerOptions{}), rig.NewPlayer(t, rig.PeerOptions{})
	since := time.Now()
	a.Play("one", "vod://lessons/one.mp4", one)
	<-one.Picture()
	t.Logf("%v from playStream to the first picture", time.Since(since))
	b.Play("two", "vod://lessons/one.mp4", two)
	s.wantMedia(one)
	s.wantMedia(two)
	a.WantStatus("one", "FAILED", "Stopped by publisher stop")
	t.Logf("the end of a film of 6 s after %v", time.Since(since))
	b.WantStatus("two", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, patience, "the pull is over", func() bool { return len(s.liveKit.Participants(t, "")) == 0 })
}
