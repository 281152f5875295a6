package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/session"
	"wcsgateway/translate"
)

func keepFor(d time.Duration) func(*Config) {
	return func(c *Config) {
		c.KeepAliveGrace, c.Media.StoreTimeout, c.Limits.Detached = d, 5*time.Second, 10
	}
}

// keptAlive opens a session with keepAlive, with the token of an earlier one unless that is empty.
func (w *world) keptAlive(t *testing.T, pod, app, token string) (c *rig.Client, newToken string) {
	t.Helper()
	c = w.dial(t, pod)
	return c, c.LoginKept(app, token)
}

func sessionOf(t *testing.T, token string) string {
	t.Helper()
	id, ok := session.IDOfToken(token)
	if !ok {
		t.Fatalf("%q is not an authToken", token)
	}
	return id
}

// keptUp is a client with keepAlive on pod A that publishes "s" and plays "t", and another on B that plays
// "s" and publishes "t".
func (w *world) keptUp(t *testing.T) (kept *rig.Client, token string, other *rig.Client) {
	t.Helper()
	kept, token = w.keptAlive(t, podA, "defaultApp", "")
	other = w.connect(t, podB)
	w.publishUp(t, kept, "kept-pub", "s")
	w.publishUp(t, other, "other-pub", "t")
	w.playUp(t, kept, "kept-play", "t")
	w.playUp(t, other, "other-play", "s")
	return kept, token, other
}

func (w *world) publishUp(t *testing.T, c *rig.Client, id, name string) {
	t.Helper()
	publishAV(t, c, id, name)
	c.AwaitSDP(id)
	w.allUp()
	c.WantStatus(id, "PUBLISHING", "")
}

func (w *world) playUp(t *testing.T, c *rig.Client, id, name string) {
	t.Helper()
	playAV(t, c, id, name)
	c.AwaitSDP(id)
	w.allUp()
	c.WantStatus(id, "PLAYING", "")
}

// allUp makes the media of all participants at LiveKit arrive.
func (w *world) allUp() {
	var events []translate.Event
	w.sfu.set(func() {
		for room, all := range w.sfu.rooms {
			for id, p := range all {
				if p.Active {
					continue
				}
				p.Active = true
				events = append(events, translate.Event{Kind: translate.EventJoined, Room: room, Identity: id})
				if _, role, _, _ := id.Parse(); role == translate.RolePublish {
					p.Tracks = avTracks
					for _, track := range avTracks {
						events = append(events, translate.Event{Kind: translate.EventTrack, Room: room, Identity: id, Track: track})
					}
				}
			}
		}
	})
	for _, e := range events {
		w.event(podA, e)
	}
}

func wantNoStatus(t *testing.T, c *rig.Client) {
	t.Helper()
	c.Send("availableStream", map[string]any{"mediaSessionId": "quiet", "name": "nobody"})
	c.Await("availableStream")
	if n := c.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("received a status: %s", c.Names())
	}
}

func (w *world) wantParticipants(t *testing.T, n int) {
	t.Helper()
	if got := w.sfu.participants(); got != n {
		t.Errorf("%d participants at LiveKit, want %d", got, n)
	}
}

// The client's socket ends, or stays open, and it returns: to another pod, to the same, to another while its
// pod is dead or was not notified. Its streams continue, other clients are not notified, and later events of
// its streams reach it.
func TestClientResumesSessionAfterLoss(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to   string
		gone func(*world, *rig.Client)
		dead bool
	}{
		"on another pod":                   {to: podB, gone: func(_ *world, c *rig.Client) { c.Drop() }},
		"on the same pod":                  {to: podA, gone: func(_ *world, c *rig.Client) { c.Close() }},
		"on another pod, old socket open":  {to: podB, gone: func(*world, *rig.Client) {}},
		"on the same pod, old socket open": {to: podA, gone: func(*world, *rig.Client) {}},
		"when its pod is dead":             {to: podB, gone: func(w *world, _ *rig.Client) { w.kill(podA) }, dead: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, keepFor(time.Minute))
			old, token, other := w.keptUp(t)
			c.gone(w, old)
			back, next := w.keptAlive(t, c.to, "defaultApp", token)
			if next == token || sessionOf(t, next) != sessionOf(t, token) {
				t.Errorf("token %q after %q", next, token)
			}
			back.WantStatus("kept-pub", "PUBLISHING", "")
			back.WantStatus("kept-play", "PLAYING", "")
			if !c.dead {
				_ = old.AwaitClosed()
			} else {
				w.store.TakeOver(podA, podB) // finds nothing
			}
			wantNoStatus(t, other)
			w.wantParticipants(t, 4)

			other.Unpublish("other-pub", "t")
			other.WantStatus("other-pub", "UNPUBLISHED", "Stopped by publisher stop")
			back.WantStatus("kept-play", "FAILED", "Stopped by publisher stop")
			w.publishUp(t, back, "new", "u")
			back.Unpublish("kept-pub", "s")
			back.WantStatus("kept-pub", "UNPUBLISHED", "Stopped by publisher stop")
			other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
			back.Unpublish("new", "u")
			back.WantStatus("new", "UNPUBLISHED", "Stopped by publisher stop")
			w.wantClean(t)
			wantNoStatus(t, back)
		})
	}
}

// A session can be resumed many times.
func TestSessionResumesManyTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Minute))
	c, token, other := w.keptUp(t)
	for i := range 6 {
		c.Drop()
		c, token = w.keptAlive(t, []string{podB, podA}[i%2], "defaultApp", token)
		c.WantStatus("kept-pub", "PUBLISHING", "")
		c.WantStatus("kept-play", "PLAYING", "")
	}
	wantNoStatus(t, other)
	w.wantParticipants(t, 4)
}

// A token that is wrong, of another application or was used already gets a new session, and does no harm to
// the one there is.
func TestInvalidTokenGetsNewSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Minute))
	old, token, other := w.keptUp(t)
	_, plain := w.keptAlive(t, podA, "defaultApp", "")
	id := sessionOf(t, token)
	for what, try := range map[string][2]string{
		"guessed token":         {"defaultApp", id + "/" + strings.Repeat("0", 64)},
		"session id":            {"defaultApp", id},
		"other application":     {"native", token},
		"another session's":     {"defaultApp", id + plain[strings.LastIndex(plain, "/"):]},
		"no token at all":       {"defaultApp", "x"},
		"a name of a long line": {"defaultApp", strings.Repeat("a/", 1000)},
	} {
		c, got := w.keptAlive(t, podB, try[0], try[1])
		if sessionOf(t, got) == id {
			t.Errorf("%s: the session was resumed", what)
		}
		wantNoStatus(t, c)
	}
	wantNoStatus(t, old)
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
	attacker, got := w.keptAlive(t, podA, "defaultApp", token) // used up
	if sessionOf(t, got) == id {
		t.Error("a used token resumed the session")
	}
	wantNoStatus(t, attacker)
	wantNoStatus(t, back)
	wantNoStatus(t, other)
}

// The session is not resumed: its streams end after the grace period.
func TestSessionEndsAfterGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(50*time.Millisecond))
	c, token, other := w.keptUp(t)
	c.Drop()
	other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, 20*time.Second, "only the other's publisher is left", func() bool { return w.sfu.participants() == 1 })
	back, got := w.keptAlive(t, podB, "defaultApp", token)
	if sessionOf(t, got) == sessionOf(t, token) {
		t.Error("a session that is over was resumed")
	}
	wantNoStatus(t, back)
	if names := w.store.Names(); len(names) != 1 {
		t.Errorf("names %v", names)
	}
}

// Detached sessions are limited per pod and per address: above the limit the oldest one ends.
func TestDetachedSessionsAreBounded(t *testing.T) {
	for name, bound := range map[string]func(*apps.Limits){
		"of the pod":    func(l *apps.Limits) { l.Detached = 1 },
		"of an address": func(l *apps.Limits) { l.Detached, l.ConnectionsPerAddress = 10, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) {
				keepFor(time.Minute)(c)
				bound(&c.Limits)
			})
			gone := func(pod string) {
				t.Helper()
				rig.Eventually(t, 20*time.Second, "the socket is closed, and one session is detached", func() bool {
					g := w.pods[pod]
					return testutil.ToFloat64(g.metrics.Connections) == 0 && testutil.ToFloat64(g.metrics.Detached) == 1 && len(g.table.All()) == 1
				})
			}
			var tokens [2]string
			for i := range tokens {
				c, token := w.keptAlive(t, podA, "defaultApp", "")
				tokens[i] = token
				c.Drop()
				gone(podA)
			}
			for i, token := range tokens {
				c, got := w.keptAlive(t, podB, "defaultApp", token)
				if resumed := sessionOf(t, got) == sessionOf(t, token); resumed != (i == 1) {
					t.Errorf("session %d resumed: %v", i, resumed)
				}
				c.Drop()
				gone(podB)
			}
		})
	}
}

// The ends of streams that the client may have missed are repeated at the resume, after the loss of the
// socket and after the loss of the network, which is not detected yet.
func TestResumeRepeatsMissedEnds(t *testing.T) {
	for name, lose := range map[string]func(*rig.Client){"socket lost": (*rig.Client).Drop, "network lost": (*rig.Client).Freeze} {
		for _, to := range []string{podA, podB} {
			t.Run(name+", to "+to, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, keepFor(time.Minute))
				c, token, other := w.keptUp(t)
				lose(c)
				other.Unpublish("other-pub", "t")
				other.WantStatus("other-pub", "UNPUBLISHED", "Stopped by publisher stop")
				rig.Eventually(t, 20*time.Second, "its player has been removed", func() bool { return w.sfu.participants() == 2 })
				rig.Eventually(t, 20*time.Second, "that is registered", func() bool {
					s, err := w.resumption(podB).FindSession(t.Context(), sessionOf(t, token))
					return err == nil && len(s.Streams) == 2 && (s.Streams[0].Status != "" || s.Streams[1].Status != "")
				})
				back, token := w.keptAlive(t, to, "defaultApp", token)
				back.WantStatus("kept-play", "FAILED", "Stopped by publisher stop")
				back.WantStatus("kept-pub", "PUBLISHING", "")
				wantNoStatus(t, back)
				lose(back) // it may not have read that
				back, _ = w.keptAlive(t, podA, "defaultApp", token)
				back.WantStatus("kept-play", "FAILED", "Stopped by publisher stop")
				back.WantStatus("kept-pub", "PUBLISHING", "")
				wantNoStatus(t, back)
			})
		}
	}
}

// A stream's end that is older than a dead socket can be is not repeated.
func TestResumeDoesNotRepeatOldEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		keepFor(time.Minute)(c)
		c.Conn.PingInterval = 20 * time.Millisecond
	})
	c, token, other := w.keptUp(t)
	other.Unpublish("other-pub", "t")
	c.WantStatus("kept-play", "FAILED", "Stopped by publisher stop")
	time.Sleep(w.pods[podA].cfg.Conn.DetectionTime() + 50*time.Millisecond)
	c.Drop()
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	wantNoStatus(t, back)
}

// The previous pod is not notified that the session was taken. It finds out at the end of the grace period
// and touches nothing.
func TestUnnotifiedPodLosesTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(3*time.Second))
	c, token, other := w.keptUp(t)
	w.dropEventsTo(podA)
	c.Drop()
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
	rig.Eventually(t, 20*time.Second, "the old pod has let go", func() bool { return len(w.pods[podA].table.All()) == 0 })
	wantNoStatus(t, other)
	wantNoStatus(t, back)
	w.wantParticipants(t, 4)
}

// Sessions without streams make room for one with a stream, whichever came first.
func TestDetachedSessionsWithoutStreamsMakeRoom(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		keepFor(time.Minute)(c)
		c.Limits.Detached = 3
	})
	a := w.pods[podA]
	detached := func(dropped int) {
		t.Helper()
		rig.Eventually(t, 20*time.Second, "the socket is closed", func() bool {
			return testutil.ToFloat64(a.metrics.Connections) == 0 && len(a.table.All()) == min(dropped, 3) &&
				testutil.ToFloat64(a.metrics.Detached) == float64(min(dropped, 3))
		})
	}
	dropped := 0
	drop := func(c *rig.Client) {
		c.Drop()
		dropped++
		detached(dropped)
	}
	for range 4 {
		c, _ := w.keptAlive(t, podA, "defaultApp", "")
		drop(c)
	}
	c, token := w.keptAlive(t, podA, "defaultApp", "")
	w.publishUp(t, c, "pub", "s")
	drop(c)
	for range 4 {
		c, _ := w.keptAlive(t, podA, "defaultApp", "")
		drop(c)
	}
	back, now := w.keptAlive(t, podA, "defaultApp", token)
	if sessionOf(t, now) != sessionOf(t, token) {
		t.Error("the session with a stream was not resumed")
	}
	back.WantStatus("pub", "PUBLISHING", "")
}

// A detached publisher is displaced by a client of the same application that publishes its name.
func TestDetachedPublisherIsDisplaced(t *testing.T) {
	t.Parallel()
	for _, pod := range []string{podA, podB} {
		w := newWorld(t, keepFor(time.Minute))
		c, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishUp(t, c, "kept", "s")
		c.Drop()
		d := w.connect(t, pod)
		w.publishUp(t, d, "new", "s")
		w.wantParticipants(t, 1)
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		wantNoStatus(t, back)
		wantNoStatus(t, d)
	}
}

// A pod that was taken over ends its detached sessions, too.
func TestDetachedSessionOfAPodTakenOverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Minute))
	c, _, other := w.keptUp(t)
	c.Drop()
	rig.Eventually(t, 20*time.Second, "its pod has seen it go", func() bool {
		return testutil.ToFloat64(w.pods[podA].metrics.Detached) == 1
	})
	w.store.TakeOver(podA, podB)
	other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, 20*time.Second, "the session is gone", func() bool {
		return len(w.pods[podA].table.All()) == 0 && w.sfu.participants() == 1
	})
}

// Redis is away: the client gets a new session; the old one can be resumed later.
func TestResumeWithoutRedisCreatesNewSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Minute))
	c, token, _ := w.keptUp(t)
	c.Drop()
	w.store.SetAway(true)
	d, got := w.keptAlive(t, podB, "defaultApp", token)
	if sessionOf(t, got) == sessionOf(t, token) {
		t.Error("resumed without Redis")
	}
	wantAlive(t, d)
	w.store.SetAway(false)
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
}

func wantAlive(t *testing.T, c *rig.Client) {
	t.Helper()
	c.Send("availableStream", map[string]any{"mediaSessionId": "alive", "name": "nobody"})
	c.Await("availableStream")
}

// A session that did not request keepAlive, and one that is resumed without it, ends with its socket.
func TestSessionWithoutKeepAliveEndsWithSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Minute))
	c, token, other := w.keptUp(t)
	c.Drop()
	back := rig.Dial(t, w.urls[podB])
	back.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "authToken": token})
	back.Await("getUserData")
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
	back.Drop()
	other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
	other.Close()
	w.wantClean(t)
}
