package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func (w *world) entries(t *testing.T, pod string, f StreamFilter) (all []StreamEntry) {
	t.Helper()
	if err := w.pods[pod].EachStream(t.Context(), f, func(page []StreamEntry) error {
		all = append(all, page...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b StreamEntry) int { return strings.Compare(a.MediaID, b.MediaID) })
	return all
}

func TestStreamsAreListed(t *testing.T) {
	w := newWorld(t, nil)
	pub, _ := w.up(t, podA, podB)
	publishAV(t, pub, "pub-2", "starting")
	pub.AwaitSDP("pub-2")
	var all []StreamEntry
	rig.Eventually(t, 20*time.Second, "the player is registered as playing", func() bool {
		all = w.entries(t, podB, StreamFilter{})
		return len(all) == 3 && all[0].Status == wcs.StatusPlaying
	})
	if e := all[0]; e.MediaID != "play" || e.Published || e.Name != "s" || e.Pod != podB || len(e.Tracks) != 2 || e.Session == "" || e.App != "defaultApp" {
		t.Errorf("player: %+v", e)
	}
	if e := all[1]; e.MediaID != "pub" || !e.Published || e.Status != wcs.StatusPublishing || e.Pod != podA || len(e.Tracks) != 2 {
		t.Errorf("publisher: %+v", e)
	}
	if e := all[2]; e.MediaID != "pub-2" || e.Status != "PENDING" || len(e.Tracks) != 0 {
		t.Errorf("publisher that starts: %+v", e)
	}
	published := true
	for want, f := range map[string]StreamFilter{
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
			t.Errorf("%+v lets %q through, want %q", f, got, want)
		}
	}
	// The publisher's size is that of its players, too.
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
		tracks := w.entries(t, podA, StreamFilter{MediaIDs: []string{"play"}})[0].Tracks
		return slices.ContainsFunc(tracks, func(t state.Track) bool { return t.Width == 640 && t.Height == 360 })
	})
}

// Ended from the other pod: each client is told once, and nothing is left.
func TestTerminateStreams(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	n, err := w.pods[podA].TerminateStreams(t.Context(), StreamFilter{MediaIDs: []string{"play"}})
	if n != 1 || err != nil {
		t.Fatalf("player: %d, %v", n, err)
	}
	play.WantStatus("play", "STOPPED", "Stopped by rest /terminate")
	playAV(t, play, "play-2", "s")
	play.AwaitSDP("play-2")
	w.mediaIn(podA, "wcs.s", translate.RolePlay)
	play.WantStatus("play-2", "PLAYING", "")
	published := true
	if n, err := w.pods[podB].TerminateStreams(t.Context(), StreamFilter{Name: "s", Published: &published}); n != 1 || err != nil {
		t.Fatalf("publisher: %d, %v", n, err)
	}
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by rest /terminate")
	play.WantStatus("play-2", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
	for name, c := range map[string]*rig.Client{"publisher": pub, "player": play} {
		if n := c.Count("notifyStreamStatusEvent"); n > 0 {
			t.Errorf("%s was told %d times more", name, n)
		}
	}
	if n, err := w.pods[podB].TerminateStreams(t.Context(), StreamFilter{}); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
}

func TestTerminateSession(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	id := w.entries(t, podB, StreamFilter{MediaIDs: []string{"pub"}})[0].Session
	if err := w.pods[podB].TerminateSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := pub.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the client saw %v", err)
	}
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
	rig.Eventually(t, 20*time.Second, "its pod has seen it go", func() bool { return len(w.pods[podA].openSessions()) == 0 })
	if err := w.pods[podB].TerminateSession(t.Context(), id); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}

// A session with keepAlive is not kept when an operator ends it, and a parked one ends, too.
func TestTerminateKeptSession(t *testing.T) {
	w := newWorld(t, keepFor(time.Hour))
	for _, parked := range []bool{false, true} {
		c := w.dial(t, podA)
		c.LoginKept("defaultApp", "")
		var ids []string
		list := func() []string {
			ids = nil
			if err := w.pods[podB].EachSession(t.Context(), func(page []state.Session) error {
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
		if parked {
			c.Close()
			rig.Eventually(t, 20*time.Second, "the session is parked", func() bool { return w.pods[podA].openSockets() == 0 })
		}
		if err := w.pods[podB].TerminateSession(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, 20*time.Second, "the session is gone", func() bool { return len(list()) == 0 })
	}
}

// The client's end was decided a moment before an operator ends its session: it is not kept for that.
func TestTerminateKeptSessionThatCloses(t *testing.T) {
	w := newWorld(t, keepFor(time.Hour))
	c := w.dial(t, podA)
	c.LoginKept("defaultApp", "")
	var s *session
	rig.Eventually(t, 20*time.Second, "the session is open", func() bool {
		for _, s = range w.pods[podA].openSessions() {
			if _, err := w.pods[podB].FindSession(t.Context(), s.id); err == nil {
				return true
			}
		}
		return false
	})
	lost := closedLost
	s.conn.mu.Lock()
	s.conn.closing = &lost // as conn.close does it
	s.conn.mu.Unlock()
	if err := w.pods[podB].TerminateSession(t.Context(), s.id); err != nil {
		t.Fatal(err)
	}
	s.conn.onClose(lost) // its last step
	rig.Eventually(t, 20*time.Second, "the session is gone", func() bool {
		_, err := w.pods[podB].FindSession(t.Context(), s.id)
		return errors.Is(err, state.ErrNotFound)
	})
}

// Streams that are ending already were not ended by whoever asks for it then.
func TestTerminateWhatIsEnding(t *testing.T) {
	inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
		pub, _ := w.up(t, podA, podB)
		hold := make(chan struct{})
		w.sfu.set(func() { w.sfu.hold["remove"] = hold })
		pub.Unpublish("pub", "s")
		synctest.Wait()
		published := true
		entries := w.entries(t, podB, StreamFilter{Name: "s", Published: &published})
		n, err := w.pods[podB].TerminateStreams(t.Context(), StreamFilter{Name: "s", Published: &published})
		if n != 0 || err != nil || len(entries) != 1 {
			t.Errorf("ended %d of %d, %v", n, len(entries), err)
		}
		close(hold)
		pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
		w.wantClean(t)
	})
}

// A dead pod's streams are still listed. The others are ended nevertheless.
func TestTerminateAtSilentPod(t *testing.T) {
	w := newWorld(t, nil)
	_, play := w.up(t, podA, podB)
	w.deaf(podA)
	n, err := w.pods[podB].TerminateStreams(t.Context(), StreamFilter{Name: "s"})
	if n != 1 || !errors.Is(err, ErrPodSilent) || !strings.Contains(err.Error(), podA) {
		t.Errorf("ended %d, %v", n, err)
	}
	play.WantStatus("play", "STOPPED", "Stopped by rest /terminate")
	id := w.entries(t, podB, StreamFilter{MediaIDs: []string{"pub"}})[0].Session
	if err := w.pods[podB].TerminateSession(t.Context(), id); !errors.Is(err, ErrPodSilent) {
		t.Errorf("session of that pod: %v", err)
	}
	w.store.SetAway(true)
	if _, err := w.pods[podB].TerminateStreams(t.Context(), StreamFilter{}); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	w.store.SetAway(false)
	w.deaf("")
}

func TestDeploymentStatistics(t *testing.T) {
	w := newWorld(t, nil)
	w.up(t, podA, podB)
	s, err := w.pods[podA].DeploymentStatistics(t.Context())
	if want := (Statistics{Pods: 2, Connections: 2, Published: 1, Played: 1}); s != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
	if s, want := w.pods[podB].PodStatistics(), (Statistics{Pods: 1, Connections: 1, Played: 1}); s != want {
		t.Errorf("pod: %+v, want %+v", s, want)
	}
	for len(w.told) > 0 {
		<-w.told
	}
	for range 100 {
		if _, err := w.pods[podA].DeploymentStatistics(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.told); n > 4 { // once more if 5 s have passed meanwhile, which are a question and an answer
		t.Errorf("%d events for a hundred requests", n)
	}
	w.deaf(podA)
	if s, err := w.pods[podB].DeploymentStatistics(t.Context()); s.Pods != 1 || s.Silent != 1 || err != nil {
		t.Errorf("with a silent pod: %+v, %v", s, err)
	}
	w.deaf("")
}

// What is measured at the pod that has the stream is told by the other.
func TestFigures(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Rates = RatesProbe
		c.Apps["defaultApp"] = app
		c.Rates.MaxProbes = 10
	})
	w.up(t, podA, podB)
	rig.Eventually(t, 20*time.Second, "the figures", func() bool {
		f, err := w.pods[podB].Figures(t.Context(), w.entries(t, podB, StreamFilter{MediaIDs: []string{"pub"}}))
		if err != nil {
			t.Fatal(err)
		}
		_, nack := f["pub"]["VIDEO_NACK"]
		return f["pub"]["VIDEO_RATE"] == 500_000 && f["pub"]["VIDEO_FPS"] == 30 && f["pub"]["VIDEO_LOST"] == 3 && f["pub"]["VIDEO_WIDTH"] == 640 && !nack
	})
}

// An order that cannot be read is answered, so that nobody waits for it.
func TestOrderOfAnotherVersion(t *testing.T) {
	w := newWorld(t, nil)
	var result int
	for _, pod := range []string{podA, podB} {
		err := w.pods[podA].order(context.Background(), pod, "later", nil, &result)
		if err == nil || errors.Is(err, ErrPodSilent) || !strings.Contains(err.Error(), "another version") {
			t.Errorf("pod %s: %v", pod, err)
		}
	}
}
