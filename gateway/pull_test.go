package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

const camera = "rtsp://admin:hunter2@cam.example.com/live?key=hunter3"

// locked is a log that a test reads.
type locked struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *locked) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// pullWorld is two pods whose default application plays cameras, with a backend.
type pullWorld struct {
	*world
	backend *rig.Backend
	logged  *locked
}

func newPullWorld(t *testing.T) pullWorld {
	t.Helper()
	allow, err := pull.ParseAllow([]string{"rtsp://*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pull.NewKeys("0123456789abcdef0123456789abcdef", "test")
	if err != nil {
		t.Fatal(err)
	}
	w := pullWorld{world: emptyWorld(), backend: rig.StartBackend(t), logged: new(locked)}
	w.podLog = zerolog.MultiLevelWriter(w.logged, newTestLog(t))
	w.pulls.SetWorkers(state.PullWorker{ID: "w1", Max: 10})
	backend, err := hooks.New(hooks.Config{URL: w.backend.URL, MaxWaiting: 100, Timeout: time.Minute, Methods: []hooks.Method{
		hooks.Connect, hooks.PlayStream, hooks.StopStream, hooks.StreamStatusEvent, hooks.Snapshot,
	}}, hooks.Deps{Log: zerolog.New(w.podLog)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	for _, pod := range []string{podA, podB} {
		w.start(t, pod, func(c *Config) {
			keepFor(time.Hour)(c)
			app := c.Apps["defaultApp"]
			app.Pull, app.Hooks.Backend = pulls.App{Allow: allow}, backend
			c.Apps["defaultApp"] = app
			c.Pulls = pulls.Config{Keys: keys, Linger: 30 * time.Second, Retry: time.Minute, Max: 10, PerApp: 10, PerSession: 2}
			c.Limits.CustomBytes, c.Recent = 1000, true
			c.Rooms = session.RoomsConfig{MaxMembers: 3, PerSession: 2}
		})
	}
	return w
}

// work publishes the pull that was started last as a worker. It returns the room and the publisher.
func (w pullWorld) work(t *testing.T) (id string, room translate.RoomName, publisher translate.Identity) {
	t.Helper()
	select {
	case id = <-w.pulls.Wanted():
	case <-time.After(20 * time.Second):
		t.Fatal("no pull was started")
	}
	room, publisher = w.publish(id, 1)
	return id, room, publisher
}

func (w pullWorld) publish(id string, generation int64) (translate.RoomName, translate.Identity) {
	room, publisher := translate.RoomName(pull.Room("test", id)), translate.Identity(pull.Identity(id, generation))
	w.sfu.set(func() {
		w.sfu.join(room, translate.Participant{Identity: publisher, SID: "PA_1", Active: true, Tracks: avTracks})
	})
	w.pulls.Report(id, fmt.Sprint("w", generation), string(pull.Running), "")
	return room, publisher
}

// leave ends the worker's participant.
func (w pullWorld) leave(room translate.RoomName, publisher translate.Identity) {
	w.sfu.set(func() { delete(w.sfu.rooms[room], publisher) })
	for _, pod := range []string{podA, podB} {
		w.event(pod, translate.Event{Kind: translate.EventLeft, Room: room, Identity: publisher, SID: "PA_1", Reason: translate.EndClient})
	}
}

// wantNoCredentials checks what pods log and store.
func (w pullWorld) wantNoCredentials(t *testing.T) {
	t.Helper()
	stored := asJSON(t, []any{w.entries(t, podA, admin.StreamFilter{}), w.store.Names(), w.store.MediaIDs(), w.endedOn(t, podA), w.endedOn(t, podB)})
	for where, text := range map[string]string{"log": w.logged.String(), "store": string(stored)} {
		if at := strings.Index(text, "hunter"); at >= 0 {
			t.Errorf("%s has a credential: %s", where, text[max(0, at-300):min(len(text), at+100)])
		}
	}
}

func (w pullWorld) play(t *testing.T, c *rig.Client, id, name string) {
	t.Helper()
	playAV(t, c, id, name)
	c.AwaitSDP(id)
	w.allUp()
	if st := c.WantStatus(id, "PLAYING", ""); st.Name != name {
		t.Errorf("status with the name %q, want the client's", st.Name)
	}
}

func TestPlayersOnTwoPodsPlayOneCamera(t *testing.T) {
	w := newPullWorld(t)
	a, b := w.connect(t, podA), w.connect(t, podB)
	playAV(t, a, "one", camera)
	id, room, publisher := w.work(t)
	a.AwaitSDP("one")
	w.allUp()
	if st := a.WantStatus("one", "PLAYING", ""); st.Name != camera {
		t.Errorf("status with the name %q", st.Name)
	}
	w.play(t, b, "two", camera)
	w.play(t, b, "three", strings.Replace(camera, "cam.example.com", "CAM.example.com:554", 1))
	if h := w.backend.AwaitStatus("StreamStatusEvent", "PLAYING"); h.Text("name") != camera {
		t.Errorf("the backend gets the name %q", h.Text("name"))
	}
	if h := w.backend.Await("playStream"); h.Text("name") != camera {
		t.Errorf("the backend is asked about %q", h.Text("name"))
	}
	if n := len(w.pulls.Wanted()); n != 0 {
		t.Errorf("%d further pulls", n)
	}
	rig.Eventually(t, 20*time.Second, "three players are listed", func() bool { return len(w.entries(t, podA, admin.StreamFilter{Status: "PLAYING"})) == 3 })
	for _, e := range w.entries(t, podA, admin.StreamFilter{}) {
		if !strings.HasPrefix(e.Name, "rtsp://cam.example.com/live#") {
			t.Errorf("listed %+v", e)
		}
	}
	rig.Eventually(t, 20*time.Second, "both pods hold the pull", func() bool { return len(w.pulls.Holders(id)) == 2 })
	a.Send("stopStream", map[string]any{"mediaSessionId": "one", "name": camera})
	a.WantStatus("one", "STOPPED", "Stopped by user")
	rig.Eventually(t, 20*time.Second, "pod A lets go", func() bool { return w.pulls.Holders(id)[podA] <= 30*time.Second })
	w.pulls.Report(id, "w1", string(pull.Failed), string(pull.Lost))
	w.leave(room, publisher)
	for _, media := range []string{"two", "three"} {
		b.WantStatus(media, "FAILED", "RtspAgent shutdown")
	}
	w.wantNoCredentials(t)
	w.wantClean(t)
}

// Players go on when another worker publishes their camera, and end with that one.
func TestPlayersFollowTheirCamera(t *testing.T) {
	w := newPullWorld(t)
	a, b := w.connect(t, podA), w.connect(t, podB)
	playAV(t, a, "one", camera)
	id, room, publisher := w.work(t)
	if sdp := a.AwaitSDP("one"); strings.Contains(sdp, "a=ssrc") {
		t.Errorf("answer with an SSRC: the client would ignore others\n%s", sdp)
	}
	w.allUp()
	a.WantStatus("one", "PLAYING", "")
	w.play(t, b, "two", camera)
	w.play(t, b, "three", camera)
	w.pulls.Die(id)
	w.leave(room, publisher)
	b.Send("stopStream", map[string]any{"mediaSessionId": "three", "name": camera})
	b.WantStatus("three", "STOPPED", "Stopped by user")
	w.leave(room, publisher) // reported again
	_, next := w.publish(id, 2)
	rig.Eventually(t, 20*time.Second, "both players follow", func() (done bool) {
		w.sfu.set(func() { done = len(w.sfu.followed) == 2 })
		return done
	})
	w.sfu.set(func() {
		for _, f := range w.sfu.followed {
			if f.Publisher != next || f.Room != room || f.SID != "PA_"+string(f.Identity) || f.SDP != w.sfu.played[f.Identity] || len(f.Tracks) != 2 {
				t.Errorf("player follows by %+v", f)
			}
		}
	})
	w.leave(room, publisher) // late
	if n := len(w.entries(t, podA, admin.StreamFilter{Status: "PLAYING"})); n != 2 {
		t.Errorf("%d players", n)
	}
	w.sfu.set(func() { w.sfu.fail["follow"] = errors.New("cannot") })
	w.pulls.Die(id)
	w.leave(room, next)
	_, last := w.publish(id, 3)
	for c, media := range map[*rig.Client]string{a: "one", b: "two"} {
		c.WantStatus(media, "FAILED", "Stopped by publisher stop")
	}
	w.leave(room, last)
	w.wantNoCredentials(t)
	w.wantClean(t)
}

func TestFaultsOfCamerasAreTexts(t *testing.T) {
	w := newPullWorld(t)
	c := w.connect(t, podA)
	for fault, info := range map[pull.Fault]string{
		pull.Unreachable: "Failed to connect to rtsp stream", pull.NotFound: "Rtsp stream not found", pull.NoMedia: "Rtsp has wrong format",
		pull.NeedsTranscoding: "Transcoding required, but disabled",
	} {
		name := "rtsp://admin:hunter2@" + string(fault) + ".example.com/"
		playAV(t, c, string(fault), name)
		w.pulls.Report(<-w.pulls.Wanted(), "w1", string(pull.Failed), string(fault))
		c.WantStatus(string(fault), "FAILED", info)
	}
	for name, info := range map[string]string{
		"rtsp://admin:hunter2@example.org/":         "Restricted access",
		"rtsp://admin:hunter2@cam.example.com:1/":   "Restricted access",
		"rtsp://admin:hunter2@cam.example.com:x/":   "Bad URI",
		"http://admin:hunter2@cam.example.com/live": "Restricted access",
	} {
		playAV(t, c, "refused", name)
		c.WantStatus("refused", "FAILED", info)
		c.Send("snapshot", map[string]any{"mediaSessionId": "refused", "name": name})
		if m := c.Await("notifyStreamEvent"); !strings.Contains(m.Raw, info) {
			t.Errorf("snapshot of %s: %s", name, m.Raw)
		}
	}
	w.pulls.SetWorkers()
	playAV(t, c, "none", camera)
	c.WantStatus("none", "FAILED", "No worker for pulled streams is available")
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": camera})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"status":"false"`) || !strings.Contains(m.Raw, "No worker for pulled streams is available") {
		t.Errorf("availableStream: %s", m.Raw)
	}
	w.pulls.SetAway(true)
	playAV(t, c, "away", camera)
	c.WantStatus("away", "FAILED", "Failed to add stream to proxy")
	w.wantNoCredentials(t)
	w.wantClean(t)
}

// An application without a list has names with a scheme as before.
func TestNamesWithASchemeAreOrdinaryNamesWithoutAList(t *testing.T) {
	w := newPullWorld(t)
	pub, play := w.connectAs(t, podA, "native"), w.connectAs(t, podB, "native")
	playAV(t, play, "none", "rtsp://cam.example.com/live")
	play.WantStatus("none", "FAILED", "Session does not exist")
	w.publishUp(t, pub, "pub", "rtsp://cam.example.com/live")
	w.playUp(t, play, "play", "rtsp://cam.example.com/live")
	if n := len(w.pulls.Wanted()); n != 0 {
		t.Errorf("%d pulls", n)
	}
}

// A client knows a camera as "door". Its backend knows the address, which the client never gets.
// A pull opens connections that a backend can forbid.
func TestCameraIsPulledAfterTheBackendsAnswer(t *testing.T) {
	w := newPullWorld(t)
	w.backend.On("connect", rig.Change(map[string]any{"restClientConfig": map[string]any{
		"playStream": map[string]string{"restOnError": "FAIL"},
	}}))
	answers := make(chan struct{})
	w.backend.On("playStream", rig.Hold(answers, rig.Refuse(http.StatusForbidden)))
	c := w.connect(t, podA)
	playAV(t, c, "refused", camera)
	w.backend.Await("playStream")
	close(answers)
	c.WantStatus("refused", "FAILED", "Forbidden")
	if all, err := w.pulls.Pulls(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("pulls before the backend has allowed one: %v, %v", all, err)
	}
	w.backend.On("playStream", rig.Echo)
	playAV(t, c, "play", camera)
	w.backend.Await("playStream")
	w.work(t)
	c.AwaitSDP("play")
}

func TestBackendHidesAddressOfCamera(t *testing.T) {
	w := newPullWorld(t)
	w.backend.On("connect", rig.Change(map[string]any{"restClientConfig": map[string]any{
		"playStream": map[string]string{"restPolicy": "OVERWRITE", "restOverwrite": "name"},
	}}))
	w.backend.On("playStream", rig.Change(map[string]any{"name": camera}))
	c, token := w.keptAlive(t, podA, "defaultApp", "")
	playAV(t, c, "play", "door")
	w.work(t)
	c.AwaitSDP("play")
	w.allUp()
	if st := c.WantStatus("play", "PLAYING", ""); st.Name != "door" {
		t.Errorf("status with the name %q", st.Name)
	}
	if h := w.backend.AwaitStatus("StreamStatusEvent", "PLAYING"); h.Text("name") != "door" {
		t.Errorf("the backend gets the name %q", h.Text("name"))
	}
	moved, _ := w.keptAlive(t, podB, "defaultApp", token)
	if st := moved.WantStatus("play", "PLAYING", ""); st.Name != "door" {
		t.Errorf("status after the resume with the name %q", st.Name)
	}
	w.backend.On("playStream", rig.Change(map[string]any{"name": "rtsp://admin:hunter2@example.org/"}))
	playAV(t, moved, "refused", "door")
	if st := moved.WantStatus("refused", "FAILED", "Application server has given a bad answer"); st.Name != "door" {
		t.Errorf("status with the name %q", st.Name)
	}
	w.wantNoCredentials(t)
}

func TestResumedSessionGoesOnWithItsCamera(t *testing.T) {
	w := newPullWorld(t)
	c, token := w.keptAlive(t, podA, "defaultApp", "")
	playAV(t, c, "play", camera)
	id, room, publisher := w.work(t)
	c.AwaitSDP("play")
	w.allUp()
	c.WantStatus("play", "PLAYING", "")
	moved, _ := w.keptAlive(t, podB, "defaultApp", token)
	if st := moved.WantStatus("play", "PLAYING", ""); st.Name != camera {
		t.Errorf("status after the resume with the name %q", st.Name)
	}
	rig.Eventually(t, 20*time.Second, "the pod that resumed the session holds the pull", func() bool {
		h := w.pulls.Holders(id)
		return h[podB] > 30*time.Second && h[podA] <= 30*time.Second
	})
	w.leave(room, publisher) // the worker died
	moved.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantNoCredentials(t)
	w.wantClean(t)
}

func TestSnapshotOfACameraThatIsPulled(t *testing.T) {
	w := newPullWorld(t)
	c := w.connect(t, podA)
	snapshot := func(name string) string {
		c.Send("snapshot", map[string]any{"mediaSessionId": "shot", "name": name})
		return c.Await("notifyStreamEvent").Raw
	}
	if got := snapshot(camera); !strings.Contains(got, "Stream not found") {
		t.Errorf("snapshot of a camera that is not pulled: %s", got)
	}
	playAV(t, c, "play", camera)
	_, room, publisher := w.work(t)
	c.AwaitSDP("play")
	if got := snapshot(camera); !strings.Contains(got, "snapshotCompleted") {
		t.Errorf("snapshot: %.200s", got)
	}
	name := w.entries(t, podA, admin.StreamFilter{})[0].Name
	for _, name := range []string{camera, name} {
		if png, err := w.pods[podB].Snapshot(t.Context(), name); err != nil || len(png) == 0 {
			t.Errorf("snapshot of %s for an operator: %v", name, err)
		}
	}
	w.leave(room, publisher)
}

func TestSessionPlaysAFewSourcesAtATime(t *testing.T) {
	w := newPullWorld(t)
	c := w.connect(t, podA)
	for _, id := range []string{"a", "b"} {
		playAV(t, c, id, "rtsp://"+id+".example.com")
		w.work(t)
		c.AwaitSDP(id)
	}
	playAV(t, c, "b2", "rtsp://b.example.com:554")
	c.AwaitSDP("b2")
	playAV(t, c, "c", "rtsp://c.example.com")
	c.WantStatus("c", "FAILED", "Too many pulled streams")
}

func TestDataOfSessionsThatMoveHasNoCredentials(t *testing.T) {
	w := newPullWorld(t)
	c, token := w.keptAlive(t, podA, "defaultApp", "")
	playAV(t, c, "play", camera)
	w.work(t)
	c.AwaitSDP("play")
	w.allUp()
	c.WantStatus("play", "PLAYING", "")
	rig.Eventually(t, 20*time.Second, "the session's record has the player", func() bool {
		sess, err := w.resumption(podB).FindSession(t.Context(), sessionOf(t, token))
		if err != nil || len(sess.Streams) != 1 {
			return false
		}
		text, err := json.Marshal(sess)
		if err != nil || strings.Contains(string(text), "hunter") || sess.Streams[0].Pull == nil {
			t.Errorf("record %s, %v", text, err)
		}
		return true
	})
}

// A session with an upstream plays the cameras that its application allows here, and all other addresses
// there.
func TestAddressesThatAreNotAllowedAreTheOtherServers(t *testing.T) {
	allow, err := pull.ParseAllow([]string{"rtsp://*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pull.NewKeys("0123456789abcdef0123456789abcdef", "test")
	if err != nil {
		t.Fatal(err)
	}
	w, old := hybridWorld(t, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Pull = pulls.App{Allow: allow}
		c.Apps["defaultApp"] = app
		c.Pulls = pulls.Config{Keys: keys, Linger: 30 * time.Second, Max: 10, PerApp: 10, PerSession: 2}
	})
	w.pulls.SetWorkers(state.PullWorker{ID: "w1", Max: 10})
	c := w.connect(t, podA)
	playAV(t, c, "here", camera)
	pullWorld{world: w}.work(t)
	c.AwaitSDP("here")
	question := func(name string) string {
		return `{"message":"availableStream","data":[{"mediaSessionId":"q","name":"` + name + `"}]}`
	}
	c.SendRaw(question("rtsp://example.org/live"))
	server := old.Accept(t)
	_, _, _ = server.ReadMessage() // its connection command
	server.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	server.Want(websocket.TextMessage, question("rtsp://example.org/live"))
	for _, name := range []string{"rtsp://cam.example.com:1/live", "rtsp://cam.example.com:x/", "http://cam.example.com/live"} {
		c.SendRaw(question(name))
		server.Want(websocket.TextMessage, question(name))
	}
}
