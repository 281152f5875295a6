package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/bus"
	"wcsgateway/gateway/session"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/state/statetest"
	"wcsgateway/translate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is two pods that share one store and one LiveKit, all in memory: for what real ones do not do on
// demand.
type world struct {
	heldRooms map[string]*heldRooms // by pod
	sfu       *fakeSFU
	probe     *fakeProber
	camera    *fakeCamera
	files     *fakeEgress
	store     *statetest.Fake
	pulls     *statetest.Pulls
	net       *pipeNet // nil: sockets
	pods      map[string]*Gateway
	dead      map[string]bool // pods that were killed
	urls      map[string]string
	podEvents chan state.Event // what went from pod to pod
	stops     map[string]context.CancelFunc
	peers     []state.Peer // that pods have read; set before they are requested

	tracer           trace.Tracer        // of pods that are started later
	usage            upstream.UsageStore // of pods that are started later
	podLog           io.Writer           // of pods that are started later; nil: the test's
	podWithoutEvents atomic.Value        // string: gets no events from others
}

func (w *world) dropEventsTo(pod string) { w.podWithoutEvents.Store(pod) }

const podA, podB = "aaaaaaaa", "bbbbbbbb"

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := emptyWorld()
	for _, pod := range []string{podA, podB} {
		w.start(t, pod, change)
	}
	return w
}

func emptyWorld() *world {
	return &world{
		sfu: newFakeSFU(), probe: newFakeProber(), camera: newFakeCamera(), files: newFakeEgress(), store: statetest.New(), pulls: statetest.NewPulls(), pods: make(map[string]*Gateway), urls: make(map[string]string),
		podEvents: make(chan state.Event, 1000), stops: make(map[string]context.CancelFunc), dead: make(map[string]bool),
	}
}

// countedEvents records the events that a pod sends to others.
type countedEvents struct {
	bus.Events
	own  string // pod
	told chan state.Event
	w    *world
}

func (c countedEvents) Publish(ctx context.Context, pod string, e state.Event) error {
	if pod != c.own {
		c.told <- e
	}
	if pod == c.w.podWithoutEvents.Load() {
		return nil // it is lost, as Pub/Sub may
	}
	return c.Events.Publish(ctx, pod, e)
}

func (w *world) start(t *testing.T, pod string, change func(*Config)) {
	t.Helper()
	cfg := Config{Config: session.Config{
		Deployment: "test", Pod: pod, Version: "5.2.0-test", MaxStreams: 20, Conn: connConfig(),
		Reloadable: apps.Reloadable{Apps: map[string]apps.App{
			"defaultApp": {Key: "defaultApp", Room: "wcs.{name}", Native: apps.NativeOff, Codecs: translate.DefaultCodecs()},
			"native":     {Key: "native", Room: "native.{name}", Native: apps.NativeBoth, Codecs: translate.DefaultCodecs()},
		}},
		Media: session.MediaConfig{
			ICETimeout: time.Hour, MediaTimeout: time.Hour, SecondTrackWait: time.Hour, PlayWait: time.Hour,
			SFUTimeout: time.Hour, StoreTimeout: time.Hour,
		},
		Snapshot: session.SnapshotConfig{Config: snapshot.Config{Timeout: time.Hour, MaxAtOnce: 2, Decoder: snapshot.Decoder{MaxPixels: 1 << 20, MaxBytes: 1 << 20}}, PerMinute: 60},
	}}
	if change != nil {
		change(&cfg)
	}
	var g *Gateway
	store := w.store.Open(pod, state.Handlers{ // the gateway exists only after its store
		Event:     func(e state.Event) { g.StoreHandlers().Event(e) },
		TakenOver: func(o state.Orphan) { g.StoreHandlers().TakenOver(o) },
		Reset:     func() { g.StoreHandlers().Reset() },
		Lost:      func() { g.StoreHandlers().Lost() },
	})
	g = New(cfg, Deps{
		SFU: w.sfu, Prober: w.probe, Camera: w.camera, Notifier: w.sfu, Egress: w.files, Webhooks: noWebhooks{}, Store: store, Pulls: w.pulls, Sessions: store, Rooms: w.holdableRooms(pod, store), Directory: store, Tokens: store, Issued: store, Usage: w.usage, Events: countedEvents{store, pod, w.podEvents, w},
		StoreReady: func() bool { return true }, History: func() any { return nil }, Health: func() []admin.Finding { return nil }, Peers: func() []state.Peer { return w.peers }, Metrics: NewMetrics(prometheus.NewRegistry()), Tracer: w.tracer, Log: w.log(t),
	})
	srv := w.serve(t, pod, g)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if w.dead[pod] {
			g.cancel() // what it cannot release any more does not delay its end
		}
		<-ended
		srv.Close()
	})
	w.stops[pod] = cancel
	w.pods[pod], w.urls[pod] = g, "ws"+strings.TrimPrefix(srv.URL, "http")
}

func (w *world) serve(t *testing.T, pod string, g *Gateway) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(g.Public())
	if w.net != nil {
		_ = srv.Listener.Close() // was never used
		srv.Listener = w.net.listen(pod)
	}
	l := g.Listener(srv.Listener, time.Minute)
	srv.Listener, srv.Config.ConnState = l, l.ConnState
	srv.Start()
	return srv
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stop lets a pod drain.
func (w *world) stop(pod string) { w.stops[pod]() }

func (w *world) connect(t *testing.T, pod string) *rig.Client {
	t.Helper()
	return w.connectAs(t, pod, "defaultApp")
}

func (w *world) connectAs(t *testing.T, pod, app string) *rig.Client {
	t.Helper()
	c := w.dial(t, pod)
	c.Login(app)
	return c
}

// connectWithoutPongs is for bubbles. While a pong is being written, the next message waits for a mutex, and
// the bubble's clock stands still.
func (w *world) connectWithoutPongs(t *testing.T, pod string) *rig.Client {
	t.Helper()
	c := w.dial(t, pod)
	c.StopPongs()
	c.Login("defaultApp")
	return c
}

// dial opens a socket without a session.
func (w *world) dial(t *testing.T, pod string) *rig.Client {
	t.Helper()
	dialer := websocket.DefaultDialer
	if w.net != nil {
		dialer = &websocket.Dialer{NetDialContext: w.net.dial}
	}
	return rig.DialWith(t, dialer, w.urls[pod])
}

func offerOf(t *testing.T, kind string) string {
	t.Helper()
	return offerFile(t, kind+"-av")
}

func offerFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../translate/testdata/chrome156-" + name + ".sdp")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func publishAV(t *testing.T, c *rig.Client, id, name string) {
	t.Helper()
	c.Send("publishStream", rig.StreamRequest(id, name, offerOf(t, "publish"), true, nil))
}

func playAV(t *testing.T, c *rig.Client, id, name string) {
	t.Helper()
	c.Send("playStream", rig.StreamRequest(id, name, offerOf(t, "play"), false, nil))
}

var avTracks = []translate.Track{
	{SID: "TR_A", Name: "synthesized-microphone", Kind: translate.Audio, Mime: "audio/opus"},
	{SID: "TR_V", Name: "synthesized-camera", Kind: translate.Video, Mime: "video/VP8"},
}

// media lets the only participant of a role come up, and sends LiveKit's events about it to a pod.
func (w *world) media(t *testing.T, toldTo string, role translate.Role) translate.Identity {
	t.Helper()
	room, id := w.sfu.only(t, role)
	w.mediaOf(toldTo, room, id)
	return id
}

// mediaIn is media for the participants of a role in a room; the events of those that are up already are
// repeated, as LiveKit does.
func (w *world) mediaIn(toldTo string, room translate.RoomName, role translate.Role) {
	for _, id := range w.sfu.inRoom(room, role) {
		w.mediaOf(toldTo, room, id)
	}
}

func (w *world) mediaOf(toldTo string, room translate.RoomName, id translate.Identity) {
	_, role, _, _ := id.Parse()
	w.sfu.set(func() {
		p := w.sfu.rooms[room][id]
		p.Active = true
		if role == translate.RolePublish {
			p.Tracks = avTracks
		}
	})
	w.event(toldTo, translate.Event{Kind: translate.EventJoined, Room: room, Identity: id})
	if role == translate.RolePublish {
		for _, track := range avTracks {
			w.event(toldTo, translate.Event{Kind: translate.EventTrack, Room: room, Identity: id, Track: track})
		}
	}
}

func (w *world) event(pod string, e translate.Event) string {
	return w.pods[pod].route(context.Background(), e)
}

func (w *world) wantClean(t *testing.T) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "no participant, no name, no media id left", func() bool {
		return w.sfu.participants() == 0 && len(w.store.Names()) == 0 && len(w.store.MediaIDs()) == 0
	})
}

func (w *world) up(t *testing.T, pubPod, playPod string) (pub, play *rig.Client) {
	t.Helper()
	pub, play = w.connect(t, pubPod), w.connect(t, playPod)
	publishAV(t, pub, "pub", "s")
	pub.AwaitSDP("pub")
	w.media(t, podB, translate.RolePublish)
	pub.WantStatus("pub", "PUBLISHING", "")
	playAV(t, play, "play", "s")
	play.AwaitSDP("play")
	w.media(t, podA, translate.RolePlay)
	play.WantStatus("play", "PLAYING", "")
	return pub, play
}

// Publisher and player on two pods, webhooks arriving at the wrong one.
func TestPublisherReachesPlayerOnAnotherPod(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	play.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	if m := play.Await("availableStream"); !strings.Contains(m.Raw, `"status":"true"`) {
		t.Errorf("availableStream on the other pod: %s", m.Raw)
	}
	for len(w.podEvents) > 0 {
		<-w.podEvents
	}
	for _, id := range []string{"play-2", "play-3"} { // more players cost no more events
		playAV(t, play, id, "s")
		play.AwaitSDP(id)
	}
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	for _, id := range []string{"play", "play-2", "play-3"} {
		play.WantStatus(id, "FAILED", "Stopped by publisher stop")
	}
	if e := <-w.podEvents; e.Kind != state.EventEnded || len(w.podEvents) != 0 {
		t.Errorf("sent %v and %d more", e.Kind, len(w.podEvents))
	}
	w.wantClean(t)
}

func TestDisorderedWebhooksPublishOnce(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
	room, id := w.sfu.only(t, translate.RolePublish)
	track := func(i int) translate.Event {
		return translate.Event{Kind: translate.EventTrack, Room: room, Identity: id, Track: avTracks[i]}
	}
	joined := translate.Event{Kind: translate.EventJoined, Room: room, Identity: id}
	for _, e := range []translate.Event{track(1), track(1), track(0), joined, track(0), joined} {
		w.event(podA, e)
	}
	c.WantStatus("pub", "PUBLISHING", "")
	left := translate.Event{Kind: translate.EventLeft, Room: room, Identity: id, Reason: translate.EndTimeout}
	w.event(podA, left)
	c.WantStatus("pub", "FAILED", "Failed by ICE keep alive")
	w.wantClean(t)
	rig.Eventually(t, 20*time.Second, "the stream is forgotten", func() bool { return !w.pods[podA].table.Has(id) })
	for _, e := range []translate.Event{left, track(0), joined} {
		if got := w.event(podA, e); got != "stale" {
			t.Errorf("late event was %s", got)
		}
	}
	publishAV(t, c, "pub-2", "s") // under the same name, another participant
	c.AwaitSDP("pub-2")
	if got := w.event(podA, left); got != "stale" {
		t.Errorf("event of the first publisher was %s for the second", got)
	}
	if n := c.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("%d statuses too many: %s", n, c.Names())
	}
}

// A stop while LiveKit has not answered yet: the start is undone.
func TestStopWhileLiveKitAnswersUndoesStart(t *testing.T) {
	for _, kind := range []string{"publish", "play"} {
		w := newWorld(t, nil)
		var c *rig.Client
		if kind == "play" {
			c, _ = w.up(t, podA, podB)
		} else {
			c = w.connect(t, podA)
		}
		hold := make(chan struct{})
		w.sfu.set(func() { w.sfu.hold[kind] = hold; w.sfu.called = make(chan string, 1000) })
		if kind == "publish" {
			publishAV(t, c, "early", "s2")
		} else {
			playAV(t, c, "early", "s")
		}
		for op := range w.sfu.called {
			if op == kind {
				break
			}
		}
		c.Stop("early", "s")
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "other"})
		c.Await("availableStream") // the session is not held up
		close(hold)
		want := map[string]string{"publish": "UNPUBLISHED", "play": "STOPPED"}[kind]
		if s := c.AwaitStatus("early"); s.Status != want {
			t.Errorf("%s: %+v", kind, s)
		}
		if kind == "publish" {
			w.wantClean(t)
		}
	}
}

// LiveKit does not answer the removal: the client is notified nevertheless, and the participant is removed
// later.
func TestFailedRemovalIsRetried(t *testing.T) {
	w := newWorld(t, nil)
	pub, _ := w.up(t, podA, podA)
	w.sfu.set(func() {
		w.sfu.fail["remove"] = &translate.Error{Kind: translate.ErrKindUnavailable, Op: "remove", Err: errors.New("away")}
	})
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	rig.Eventually(t, 20*time.Second, "two removals are pending", func() bool { return testutil.ToFloat64(w.pods[podA].metrics.cleanup) == 2 })
	w.sfu.set(func() { w.sfu.fail["remove"] = nil })
	w.wantClean(t)
}

func TestReleaseIsRetriedUntilStoreReturns(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	w.store.SetAway(true)
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	w.store.SetAway(false)
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
}

func TestPodTakenOverClosesItsSockets(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	w.store.TakeOver(podA, podB)
	if err := pub.AwaitClosed(); !strings.Contains(err.Error(), "1001") {
		t.Errorf("publisher saw %v", err)
	}
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
	c := w.connect(t, podA) // it serves new clients
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
}

func TestStreamsAreRegisteredAgainAfterStoreRestart(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	w.store.Restart()
	// The player's pod may be first and find no stream: it retries when it polls LiveKit about the room.
	rig.Eventually(t, 30*time.Second, "both are registered again", func() bool {
		return len(w.store.Names()) == 1 && len(w.store.MediaIDs()) == 2
	})
	if n := pub.Count("notifyStreamStatusEvent") + play.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("clients noticed: %s %s", pub.Names(), play.Names())
	}
}

// In a room with several native publishers LiveKit may bind the tracks of any of them: the player's request
// is repeated until they are right.
func TestPlayRetriesUntilTracksAreOfItsPublisher(t *testing.T) {
	w := newWorld(t, nil)
	w.sfu.set(func() {
		for i, id := range []translate.Identity{"first", "second"} {
			w.sfu.join("native.s", translate.Participant{Identity: id, JoinedAt: time.Unix(int64(i), 0), Active: true, Tracks: []translate.Track{
				{SID: "TR_A_" + string(id), Name: "mic", Kind: translate.Audio, Mime: "audio/opus"},
				{SID: "TR_V_" + string(id), Name: "cam", Kind: translate.Video, Mime: "video/VP8"},
			}})
		}
		w.sfu.bound = []string{"second", "second", "first"} // whose tracks the first, second, third answer has
	})
	c := rig.Connect(t, w.urls[podA], "native")
	playAV(t, c, "play", "s")
	c.AwaitSDP("play")
	rig.Eventually(t, 20*time.Second, "those with the wrong tracks are removed", func() bool {
		return len(w.sfu.inRoom("native.s", translate.RolePlay)) == 1
	})
	w.media(t, podA, translate.RolePlay)
	c.WantStatus("play", "PLAYING", "")
	c.Stop("play", "s")
	c.WantStatus("play", "STOPPED", "Stopped by user")
}

// The SFU is notified of the player that is up, and of no other participant.
func TestPlayerUpIsReportedOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.up(t, podA, podB)
	id := w.media(t, podA, translate.RolePlay) // a repeated webhook
	w.sfu.set(func() {
		if !slices.Equal(w.sfu.up, []translate.Identity{id}) {
			t.Errorf("reported %v, want %s", w.sfu.up, id)
		}
	})
}

// A native participant keeps its identity when it reconnects. A late event about its earlier connection does
// not end the players of the present one, and the end of the present one does.
func TestLateEventOfEarlierConnectionEndsNoPlayer(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		alice := translate.Participant{Identity: "alice", SID: "PA_new", Active: true, Tracks: avTracks}
		w.sfu.set(func() { w.sfu.join("native.s", alice) })
		c := w.connectAs(t, podA, "native")
		play := func(id string) {
			playAV(t, c, id, "s")
			c.AwaitSDP(id)
			w.allUp()
			c.WantStatus(id, "PLAYING", "")
		}
		left := translate.Event{Kind: translate.EventLeft, Room: "native.s", Identity: "alice", SID: "PA_old", Reason: translate.EndUnknown}
		play("p1")
		w.event(podA, left)
		pass(10 * time.Second)
		wantNoStatus(t, c)
		left.SID = "PA_new"
		w.event(podA, left)
		c.WantStatus("p1", "FAILED", "Stopped by publisher stop")

		play("p2")
		alice.SID = "PA_newer" // its tracks have the same names, and no event arrives
		w.sfu.set(func() { w.sfu.join("native.s", alice) })
		pass(10 * time.Second)
		c.WantStatus("p2", "FAILED", "Stopped by publisher stop")
	})
}

// A pod that drains is unready, then refuses sockets, closes sessions without streams, and waits for the
// others.
func TestDrainingPodWaitsForStreams(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Drain = DrainConfig{Window: time.Hour} })
	pub, play := w.up(t, podA, podB)
	idle := w.connect(t, podA)
	w.stop(podA)
	if err := idle.AwaitClosed(); !strings.Contains(err.Error(), "1001") {
		t.Errorf("client without streams saw %v", err)
	}
	if w.pods[podA].Ready() || !w.pods[podB].Ready() {
		t.Error("the wrong pod is ready")
	}
	if _, res, err := websocket.DefaultDialer.Dial(w.urls[podA], nil); err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("upgrade on a draining pod: %v", err)
	}
	play.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"}) // the stream continues
	if m := play.Await("availableStream"); !strings.Contains(m.Raw, `"status":"true"`) {
		t.Errorf("availableStream: %s", m.Raw)
	}
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	if err := pub.AwaitClosed(); !strings.Contains(err.Error(), "1001") {
		t.Errorf("publisher saw %v", err)
	}
	w.wantClean(t)
}

// When the window is over, sessions with streams are closed, too.
func TestSessionsWithStreamsEndWithDrainWindow(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Drain = DrainConfig{Window: 10 * time.Millisecond, Pace: 10 * time.Millisecond} })
	pub, play := w.up(t, podA, podB)
	w.stop(podA)
	if err := pub.AwaitClosed(); !strings.Contains(err.Error(), "1001") {
		t.Errorf("publisher saw %v", err)
	}
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
}

// However many players a pod has of a stream, an event for them is one message.
func TestThousandPlayersCostOneEvent(t *testing.T) {
	const sessions, each = 50, 20
	w := newWorld(t, nil)
	pub, first := w.up(t, podA, podB)
	first.Close()
	clients := make([]*rig.Client, sessions)
	for i := range clients {
		clients[i] = w.connect(t, podB)
		for j := range each {
			playAV(t, clients[i], fmt.Sprintf("p-%d-%d", i, j), "s")
		}
	}
	for i, c := range clients {
		for j := range each {
			c.AwaitSDP(fmt.Sprintf("p-%d-%d", i, j))
		}
	}
	for len(w.podEvents) > 0 {
		<-w.podEvents
	}
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	for i, c := range clients {
		for j := range each {
			c.WantStatus(fmt.Sprintf("p-%d-%d", i, j), "FAILED", "Stopped by publisher stop")
		}
	}
	if e := <-w.podEvents; e.Kind != state.EventEnded || len(w.podEvents) != 0 {
		t.Errorf("sent %v and %d more", e.Kind, len(w.podEvents))
	}
	w.wantClean(t)
}
