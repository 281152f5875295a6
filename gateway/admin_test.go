package gateway

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func (w *world) entries(t *testing.T, pod string, f admin.StreamFilter) (all []admin.StreamEntry) {
	t.Helper()
	if err := w.pods[pod].admin.EachStream(t.Context(), f, func(page []admin.StreamEntry) error {
		all = append(all, page...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b admin.StreamEntry) int { return strings.Compare(a.MediaID, b.MediaID) })
	return all
}

func TestStreamsAreListed(t *testing.T) {
	w := newWorld(t, nil)
	pub, _ := w.up(t, podA, podB)
	publishAV(t, pub, "pub-2", "starting")
	pub.AwaitSDP("pub-2")
	var all []admin.StreamEntry
	rig.Eventually(t, 20*time.Second, "the player is registered as playing", func() bool {
		all = w.entries(t, podB, admin.StreamFilter{})
		return len(all) == 3 && all[0].Status == wcs.StatusPlaying
	})
	if e := all[0]; e.MediaID != "play" || e.Published || e.Name != "s" || e.Pod != podB || len(e.Tracks) != 2 || e.Session == "" || e.App != "defaultApp" {
		t.Errorf("player: %+v", e)
	}
	if e := all[1]; e.MediaID != "pub" || !e.Published || e.Status != wcs.StatusPublishing || e.Pod != podA || len(e.Tracks) != 2 {
		t.Errorf("publisher: %+v", e)
	}
	if e := all[2]; e.MediaID != "pub-2" || e.Status != "PENDING" || len(e.Tracks) != 0 {
		t.Errorf("starting publisher: %+v", e)
	}
	published := true
	for want, f := range map[string]admin.StreamFilter{
		"play":       {Status: "PLAYING"},
		"pub pub-2":  {Published: &published},
		"play pub":   {Name: "s"},
		"pub":        {Name: "s", Published: &published},
		"play pub-2": {MediaIDs: []string{"pub-2", "play", "x"}},
		"pub-2":      {Session: all[2].Session, Status: "PENDING"},
		"":           {Name: "nobody"},
	} {
		var ids []string
		for _, e := range w.entries(t, podA, f) {
			ids = append(ids, e.MediaID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%+v selects %q, want %q", f, got, want)
		}
	}
	// Players have the size of their publisher.
	w.sfu.set(func() {
		for room := range w.sfu.rooms {
			for id, p := range w.sfu.rooms[room] {
				if _, role, _, _ := id.Parse(); role == translate.RolePublish && len(p.Tracks) > 0 {
					p.Tracks = slices.Clone(p.Tracks)
					p.Tracks[1].Width, p.Tracks[1].Height = 640, 360
				}
			}
		}
	})
	rig.Eventually(t, 20*time.Second, "the player's size", func() bool {
		tracks := w.entries(t, podA, admin.StreamFilter{MediaIDs: []string{"play"}})[0].Tracks
		return slices.ContainsFunc(tracks, func(t state.Track) bool { return t.Width == 640 && t.Height == 360 })
	})
}

// Streams are ended from the other pod. Each client gets one status, and nothing is left over.
func TestTerminateEndsStreamsOfBothPods(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	n, err := w.pods[podA].admin.TerminateStreams(t.Context(), admin.StreamFilter{MediaIDs: []string{"play"}})
	if n != 1 || err != nil {
		t.Fatalf("player: %d, %v", n, err)
	}
	play.WantStatus("play", "STOPPED", "Stopped by rest /terminate")
	playAV(t, play, "play-2", "s")
	play.AwaitSDP("play-2")
	w.mediaIn(podA, "wcs.s", translate.RolePlay)
	play.WantStatus("play-2", "PLAYING", "")
	published := true
	if n, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{Name: "s", Published: &published}); n != 1 || err != nil {
		t.Fatalf("publisher: %d, %v", n, err)
	}
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by rest /terminate")
	play.WantStatus("play-2", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
	for name, c := range map[string]*rig.Client{"publisher": pub, "player": play} {
		if n := c.Count("notifyStreamStatusEvent"); n > 0 {
			t.Errorf("%s got %d more statuses", name, n)
		}
	}
	if n, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{}); n != 0 || err != nil {
		t.Errorf("without streams: %d, %v", n, err)
	}
}

func TestTerminateEndsSessionOfOtherPod(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	id := w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}})[0].Session
	if err := w.pods[podB].admin.TerminateSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := pub.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the client saw %v", err)
	}
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
	rig.Eventually(t, 20*time.Second, "the session ended", func() bool { return len(w.pods[podA].table.All()) == 0 })
	if err := w.pods[podB].admin.TerminateSession(t.Context(), id); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}

// TerminateSession also ends sessions with keepAlive and detached sessions.
func TestTerminateEndsKeptSession(t *testing.T) {
	w := newWorld(t, keepFor(time.Hour))
	for _, detached := range []bool{false, true} {
		c := w.dial(t, podA)
		c.LoginKept("defaultApp", "")
		var ids []string
		list := func() []string {
			ids = nil
			if err := w.pods[podB].admin.EachSession(t.Context(), func(page []state.Session) error {
				for _, s := range page {
					ids = append(ids, s.ID)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return ids
		}
		rig.Eventually(t, 20*time.Second, "the session is registered", func() bool { return len(list()) == 1 })
		if detached {
			c.Close()
			rig.Eventually(t, 20*time.Second, "the session is detached", func() bool { return w.pods[podA].table.Sockets() == 0 })
		}
		if err := w.pods[podB].admin.TerminateSession(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, 20*time.Second, "the session is gone", func() bool { return len(list()) == 0 })
	}
}

// A session with keepAlive that is terminated while its socket closes ends at once.
func TestTerminateEndsKeptSessionThatCloses(t *testing.T) {
	w := newWorld(t, keepFor(time.Hour))
	metrics := w.pods[podA].env.Metrics
	lost := &heldCounter{metrics.LostBytes, make(chan struct{}, 10), make(chan struct{})}
	metrics.LostBytes = lost // counts when the end is decided, and before the session learns of it
	c := w.dial(t, podA)
	id := sessionOf(t, c.LoginKept("defaultApp", ""))
	rig.Eventually(t, 20*time.Second, "the session is open", func() bool {
		_, err := w.pods[podB].admin.FindSession(t.Context(), id)
		return err == nil
	})
	go w.pods[podA].table.All()[0].Close(socket.ClosedLost)
	<-lost.held
	if err := w.pods[podB].admin.TerminateSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(lost.hold)
	rig.Eventually(t, 20*time.Second, "the session is gone", func() bool {
		_, err := w.pods[podB].admin.FindSession(t.Context(), id)
		return errors.Is(err, state.ErrNotFound)
	})
}

// heldCounter is a counter that waits until hold is closed.
type heldCounter struct {
	prometheus.Counter
	held, hold chan struct{}
}

func (h *heldCounter) Add(n float64) {
	h.held <- struct{}{}
	<-h.hold
	h.Counter.Add(n)
}

// Streams that are already ending do not count as terminated.
func TestTerminateDoesNotCountEndingStreams(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		pub, _ := w.up(t, podA, podB)
		hold := make(chan struct{})
		w.sfu.set(func() { w.sfu.hold["remove"] = hold })
		pub.Unpublish("pub", "s")
		synctest.Wait()
		published := true
		entries := w.entries(t, podB, admin.StreamFilter{Name: "s", Published: &published})
		n, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{Name: "s", Published: &published})
		if n != 0 || err != nil || len(entries) != 1 {
			t.Errorf("ended %d of %d, %v", n, len(entries), err)
		}
		close(hold)
		pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
		w.wantClean(t)
	})
}

// The streams of a dead pod are still listed. TerminateStreams ends the others.
func TestTerminateSkipsStreamsOfUnreachablePod(t *testing.T) {
	w := newWorld(t, nil)
	_, play := w.up(t, podA, podB)
	w.dropEventsTo(podA)
	n, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{Name: "s"})
	if n != 1 || !errors.Is(err, admin.ErrPodUnreachable) || !strings.Contains(err.Error(), podA) {
		t.Errorf("ended %d, %v", n, err)
	}
	play.WantStatus("play", "STOPPED", "Stopped by rest /terminate")
	id := w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}})[0].Session
	if err := w.pods[podB].admin.TerminateSession(t.Context(), id); !errors.Is(err, admin.ErrPodUnreachable) {
		t.Errorf("session of that pod: %v", err)
	}
	w.store.SetAway(true)
	if _, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{}); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	w.store.SetAway(false)
	w.dropEventsTo("")
}

func TestDeploymentStatisticsAreCached(t *testing.T) {
	w := newWorld(t, nil)
	w.up(t, podA, podB)
	s, err := w.pods[podA].admin.DeploymentStatistics(t.Context())
	if want := (admin.Statistics{Pods: 2, Connections: 2, Published: 1, Played: 1}); s != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
	if s, want := w.pods[podB].admin.PodStatistics(), (admin.Statistics{Pods: 1, Connections: 1, Played: 1}); s != want {
		t.Errorf("pod: %+v, want %+v", s, want)
	}
	for len(w.podEvents) > 0 {
		<-w.podEvents
	}
	for range 100 {
		if _, err := w.pods[podA].admin.DeploymentStatistics(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.podEvents); n > 4 { // two more, a request and a reply, if 5 s have passed
		t.Errorf("%d events for a hundred requests", n)
	}
	w.dropEventsTo(podA)
	if s, err := w.pods[podB].admin.DeploymentStatistics(t.Context()); s.Pods != 1 || s.Silent != 1 || err != nil {
		t.Errorf("with an unreachable pod: %+v, %v", s, err)
	}
	w.dropEventsTo("")
}

// Any pod returns which hooks were called for a stream.
func TestAnyPodReturnsHooksOfAStream(t *testing.T) {
	w := newHookWorld(t, nil)
	c := w.connect(t, podA)
	w.publishUp(t, c, "pub", "s")
	e := w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}})[0]
	var methods []string
	rig.Eventually(t, 20*time.Second, "two hooks were called", func() bool {
		r, err := w.pods[podB].admin.StreamRecord(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		methods = nil
		for _, h := range r.Hooks {
			if h.Count != 1 || h.Failed || h.At.IsZero() {
				t.Errorf("hook %+v", h)
			}
			methods = append(methods, h.Method)
		}
		return len(methods) >= 2
	})
	if !slices.Equal(methods, []string{"publishStream", "StreamStatusEvent"}) {
		t.Errorf("hooks %v", methods)
	}
}

// Any pod returns how a stream ended on its pod, with its hooks.
func TestAnyPodReturnsHowAStreamEnded(t *testing.T) {
	w := newHookWorld(t, nil)
	c := w.connect(t, podA)
	w.publishUp(t, c, "pub", "s")
	e := w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}})[0]
	end := func() *ends.Record {
		ended, err := w.pods[podB].admin.EndedStream(t.Context(), "pub")
		if err != nil {
			t.Fatal(err)
		}
		return ended
	}
	if ended := end(); ended != nil {
		t.Errorf("of a running stream: %+v", ended)
	}
	if n, err := w.pods[podB].admin.TerminateStreams(t.Context(), admin.StreamFilter{MediaIDs: []string{"pub"}}); n != 1 || err != nil {
		t.Fatalf("ended %d, %v", n, err)
	}
	var r *ends.Record
	rig.Eventually(t, 20*time.Second, "the end is recorded, with the hook about it", func() bool {
		r = end()
		return r != nil && slices.ContainsFunc(r.Hooks, func(h ends.Hook) bool { return h.Method == "StreamStatusEvent" && h.Count == 2 })
	})
	want := ends.Ended{Name: "s", App: "defaultApp", Status: wcs.StatusUnpublished, Info: wcs.InfoStoppedByRESTTerminate, Reason: ends.Terminated, Class: ends.Operator, At: r.Ended.At}
	if *r.Ended != want || r.Session != e.Session {
		t.Errorf("end of %+v: %+v", r.Stream, r.Ended)
	}
	if list := w.endedOn(t, podA); len(list) != 1 || *list[0].Ended != want {
		t.Errorf("ended streams %+v", list)
	}
}

// endedOn returns the ended streams of a pod, which another pod requests.
func (w *world) endedOn(t *testing.T, pod string) []ends.Record {
	t.Helper()
	all, err := w.pods[podB].admin.EndedStreams(t.Context())
	if err != nil || all[pod] == nil {
		t.Fatalf("ended streams %v, %v", all, err)
	}
	return *all[pod]
}

// Any pod returns the figures that the pod of the stream measures.
func TestAnyPodReturnsFiguresOfAStream(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Rates = apps.RatesProbe
		c.Apps["defaultApp"] = app
		c.MaxProbes, c.Recent = 10, true
	})
	w.up(t, podA, podB)
	rig.Eventually(t, 20*time.Second, "the figures", func() bool {
		f, err := w.pods[podB].admin.Figures(t.Context(), w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}}))
		if err != nil {
			t.Fatal(err)
		}
		_, nack := f["pub"]["VIDEO_NACK"]
		return f["pub"]["VIDEO_RATE"] == 500_000 && f["pub"]["VIDEO_FPS"] == 30 && f["pub"]["VIDEO_LOST"] == 3 && f["pub"]["VIDEO_WIDTH"] == 640 && !nack
	})
	rig.Eventually(t, 20*time.Second, "the quality over time", func() bool {
		r, err := w.pods[podB].admin.StreamRecord(t.Context(), w.entries(t, podB, admin.StreamFilter{MediaIDs: []string{"pub"}})[0])
		if err != nil {
			t.Fatal(err)
		}
		return r != nil && len(r.Quality) > 0 && r.Quality[0].Kbps == 500 && r.Quality[0].FPS == 30 && r.Quality[0].Lost == 3
	})
}
