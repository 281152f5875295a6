package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
)

func (w *world) resumption(pod string) session.Sessions { return w.pods[pod].env.Sessions }

// A pod that does not know that a session was taken writes a stream's record again, as after an outage of
// Redis. The write is rejected, and the pod yields the session: the participant belongs to the other pod.
func TestUnnotifiedPodFindsItsStreamAdopted(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		c, token, other := w.keptUp(t)
		w.dropEventsTo(podA)
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		back.WantStatus("kept-pub", "PUBLISHING", "")
		back.WantStatus("kept-play", "PLAYING", "")
		w.pods[podA].table.Reregister()
		_ = c.AwaitClosed()
		pass(2 * session.AdoptDeadline)
		if n := len(w.pods[podA].table.All()); n != 0 {
			t.Errorf("%d sessions on the old pod", n)
		}
		wantNoStatus(t, other)
		wantNoStatus(t, back)
		w.wantParticipants(t, 4)
		back.Unpublish("kept-pub", "s")
		other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
	})
}

// A session is resumed on a pod that does not know that the session ever left: its stale copy does no harm.
func TestStaleSessionDoesNoHarmOnResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Hour))
	c, token, other := w.keptUp(t)
	w.dropEventsTo(podA)
	onB, token := w.keptAlive(t, podB, "defaultApp", token)
	onB.WantStatus("kept-pub", "PUBLISHING", "")
	w.dropEventsTo("")
	onA, token := w.keptAlive(t, podA, "defaultApp", token)
	onA.WantStatus("kept-pub", "PUBLISHING", "")
	onA.WantStatus("kept-play", "PLAYING", "")
	_, _ = c.AwaitClosed(), onB.AwaitClosed()
	rig.Eventually(t, 20*time.Second, "only one session is left on the pod", func() bool { return len(w.pods[podA].table.All()) == 1 })
	w.wantParticipants(t, 4)
	if s, err := w.resumption(podB).FindSession(t.Context(), sessionOf(t, token)); err != nil || s.Owner.Pod != podA || len(s.Streams) != 2 {
		t.Errorf("session %+v, %v", s, err)
	}
	onA.Unpublish("kept-pub", "s")
	onA.WantStatus("kept-pub", "UNPUBLISHED", "Stopped by publisher stop")
	other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
}

// A late hand-over request of an earlier take-over arrives after the pod has resumed the session.
func TestLateHandOverOfEarlierTakeOverIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Hour))
	_, token, _ := w.keptUp(t)
	id := sessionOf(t, token)
	first, err := w.resumption(podB).FindSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, token = w.keptAlive(t, podB, "defaultApp", token)
	back, _ := w.keptAlive(t, podA, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
	if had := w.requestHandOver(t, first); had != "" {
		t.Errorf("the session was handed over to the pod that had it before: %s", had)
	}
	wantNoStatus(t, back)
	w.wantParticipants(t, 4)
}

// requestHandOver requests from pod A, for pod B, a session that pod B took when it was as given. The reply
// is "" if pod A does not hand it over.
func (w *world) requestHandOver(t *testing.T, was state.Session) (reply string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	reply, err := w.pods[podB].env.Bus.Request(ctx, podA, state.Event{
		Kind: state.EventResumed, Name: was.ID, Body: asJSON(t, map[string]any{"was": was.TokenHash}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// A pod takes a session and dies, or gets no reply that it has taken it. No pod adopts the streams: the
// previous pod releases them.
func TestUnadoptedStreamsAreReleased(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Minute), func(t *testing.T, w *world) {
		c, token, other := w.keptUp(t)
		_, err := w.pods[podB].env.Sessions.TakeSession(t.Context(), sessionOf(t, token), func(was state.Session) (state.Session, error) {
			was.TokenHash, was.Generation = state.TokenHash{1}, was.Generation+1
			return was, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Drop()
		pass(time.Minute + session.AdoptDeadline - time.Second)
		wantNoStatus(t, other)
		w.wantParticipants(t, 4)
		pass(2 * time.Second)
		other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
		w.wantParticipants(t, 1)
		if names, ids := w.store.Names(), w.store.MediaIDs(); len(names) != 1 || len(ids) != 1 {
			t.Errorf("left: %v, %v", names, ids)
		}
	})
}

// A client publishes the name of a stream whose session is being taken by another pod.
func TestAdoptedStreamIsNotEvicted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepFor(time.Hour))
	_, token, other := w.keptUp(t)
	old, err := w.pods[podB].env.Store.FindStream(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	back.WantStatus("kept-play", "PLAYING", "")
	if _, err := w.pods[podB].env.Store.DisplaceStream(t.Context(), old); !errors.Is(err, state.ErrLostOwnership) {
		t.Error(err)
	}
	wantNoStatus(t, other)
	wantNoStatus(t, back)
	w.wantParticipants(t, 4)
}

// A pod does not know that a session was taken, and Redis restarts empty: both pods register the session,
// in any order. The pod that took it last keeps it, also after the grace period of the other.
func TestPodThatTookSessionLastKeepsItAfterEmptyRedis(t *testing.T) {
	for i := range 8 {
		inBubble(t, apps.RatesOff, keepFor(time.Minute), func(t *testing.T, w *world) {
			c, token, other := w.keptUp(t)
			participants := 4
			if i%2 == 1 { // the pod does not find out from its published stream
				c.Unpublish("kept-pub", "s")
				other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
				c.WantStatus("kept-pub", "UNPUBLISHED", "Stopped by publisher stop")
				participants = 2
			}
			synctest.Wait() // the session is registered as it is
			w.dropEventsTo(podA)
			back, token := w.keptAlive(t, podB, "defaultApp", token)
			if i%2 == 1 {
				back.WantStatus("kept-pub", "UNPUBLISHED", "Stopped by publisher stop") // it may not have read that
			}
			for range participants / 2 {
				back.AwaitMatch("stream that goes on", func(m rig.Message) bool {
					return m.Name == "notifyStreamStatusEvent" && (strings.Contains(m.Raw, `"PUBLISHING"`) || strings.Contains(m.Raw, `"PLAYING"`))
				})
			}
			w.store.Restart()
			c.Drop()
			pass(time.Minute + 2*session.AdoptDeadline)
			if n := len(w.pods[podA].table.All()); n != 0 {
				t.Errorf("%d sessions on the old pod", n)
			}
			wantNoStatus(t, other)
			wantNoStatus(t, back)
			w.wantParticipants(t, participants)
			s, err := w.resumption(podA).FindSession(t.Context(), sessionOf(t, token))
			on := slices.DeleteFunc(s.Streams, func(k state.SessionStream) bool { return k.Status != "" })
			if err != nil || s.Owner.Pod != podB || len(on) != participants/2 {
				t.Errorf("session %+v, %v", s, err)
			}
			back.Drop()
			other.Close()
			pass(2 * time.Minute)
			w.wantClean(t)
		})
	}
}

// Redis restarts empty. The pod that does not know that a session was taken claims its stream first, and the
// pod that took the session claims it before the first pod writes the record.
func TestStreamClaimedByEarlierGenerationFirstIsYielded(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		c, token, other := w.keptUp(t)
		synctest.Wait()
		w.dropEventsTo(podA)
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		back.WantStatus("kept-pub", "PUBLISHING", "")
		back.WantStatus("kept-play", "PLAYING", "")
		synctest.Wait()
		a, b := w.pods[podA], w.pods[podB]
		taker := &claimsAfter{Store: b.env.Store, name: "s", claimed: make(chan struct{})}
		a.env.Store, b.env.Store = &claimsFirst{Store: a.env.Store, taker: taker}, taker
		w.store.Restart()
		_ = c.AwaitClosed()
		pass(2 * session.AdoptDeadline)
		if n := len(a.table.All()); n != 0 {
			t.Errorf("%d sessions on the old pod", n)
		}
		wantNoStatus(t, other)
		wantNoStatus(t, back)
		w.wantParticipants(t, 4)
		if s, err := b.env.Store.FindStream(t.Context(), "s"); err != nil || s.Owner.Pod != podB {
			t.Errorf("stream %+v, %v", s, err)
		}
	})
}

// claimsFirst is the store of a pod after whose first claim of a stream another pod claims it.
type claimsFirst struct {
	session.Store
	taker *claimsAfter
}

func (c *claimsFirst) ClaimStream(ctx context.Context, s state.Stream) error {
	err := c.Store.ClaimStream(ctx, s)
	if s.Name == c.taker.name && err == nil {
		s.Generation++
		err = c.taker.ClaimStream(ctx, s)
		close(c.taker.claimed)
	}
	return err
}

// claimsAfter is the store of the other pod: it writes the stream only after that claim.
type claimsAfter struct {
	session.Store
	name    string
	claimed chan struct{}
}

func (c *claimsAfter) PutStream(ctx context.Context, s state.Stream) ([]string, error) {
	if s.Name == c.name {
		select {
		case <-c.claimed:
		case <-ctx.Done():
		}
	}
	return c.Store.PutStream(ctx, s)
}

// A client returns to its pod while a record of its earlier session is written. The write can be rejected and
// undone, so the stream is adopted only after it.
func TestAdoptionWaitsForWriteOfEarlierSession(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		_, token, _ := w.keptUp(t)
		synctest.Wait()
		a := w.pods[podA]
		store := &heldWrite{Store: a.env.Store, Sessions: a.env.Sessions, name: "s", hold: make(chan struct{})}
		a.env.Store, a.env.Sessions = store, store
		a.table.Reregister()
		synctest.Wait()
		c := w.dial(t, podA)
		c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "keepAlive": true, "authToken": token})
		pass(3 * time.Second)
		if n := store.adopted.Load(); n != 0 {
			t.Errorf("adopted %d times during the write", n)
		}
		close(store.hold)
		c.WantStatus("kept-pub", "PUBLISHING", "")
		c.WantStatus("kept-play", "PLAYING", "")
		if n := store.adopted.Load(); n != 1 {
			t.Errorf("adopted %d times", n)
		}
	})
}

// heldWrite is a store in which writes of a stream's record wait until hold is closed.
type heldWrite struct {
	session.Store
	session.Sessions
	name    string
	hold    chan struct{}
	adopted atomic.Int32
}

func (h *heldWrite) PutStream(ctx context.Context, s state.Stream) ([]string, error) {
	if s.Name == h.name {
		<-h.hold
	}
	return h.Store.PutStream(ctx, s)
}

func (h *heldWrite) AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error {
	h.adopted.Add(1)
	return h.Sessions.AdoptStream(ctx, s, from)
}

// A pod handed a session over and resumed it again before it reaps the streams that no pod adopted.
func TestSessionRegainedBeforeReapKeepsStreams(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		_, token, other := w.keptUp(t)
		synctest.Wait()
		for _, pod := range []string{podB, podA} {
			var c *rig.Client
			c, token = w.keptAlive(t, pod, "defaultApp", token)
			c.WantStatus("kept-pub", "PUBLISHING", "")
			c.WantStatus("kept-play", "PLAYING", "")
			defer wantNoStatus(t, other)
			synctest.Wait()
		}
		pass(2 * session.AdoptDeadline)
		w.wantParticipants(t, 4)
	})
}

// While the streams of a session are adopted, the pod does not reap its unadopted streams, and vice versa.
func TestAdoptionAndReleaseExcludeEachOther(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		_, token, _ := w.keptUp(t)
		synctest.Wait()
		id, a := sessionOf(t, token), w.pods[podA]
		unlock := a.table.Moving.Lock(t.Context(), id)
		c := w.dial(t, podA)
		c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "keepAlive": true, "authToken": token})
		pass(time.Second)
		if n := c.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("streams are taken up: %s", c.Names())
		}
		unlock()
		c.WantStatus("kept-pub", "PUBLISHING", "")
		c.WantStatus("kept-play", "PLAYING", "")
		synctest.Wait()

		_, err := w.pods[podB].env.Sessions.TakeSession(t.Context(), id, func(was state.Session) (state.Session, error) {
			was.TokenHash, was.Generation = state.TokenHash{1}, was.Generation+1
			return was, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		unlock = a.table.Moving.Lock(t.Context(), id)
		c.Drop()
		pass(time.Hour + session.AdoptDeadline + time.Second)
		w.wantParticipants(t, 4)
		unlock()
		pass(time.Minute)
		w.wantParticipants(t, 1) // the other's publisher
	})
}

// The pod of a session is dead, and another client publishes the name of its stream before the session is
// resumed.
func TestStreamOfResumedSessionFailsIfNameIsTaken(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Hour), func(t *testing.T, w *world) {
		c, token, other := w.keptUp(t)
		w.kill(podA)
		c.Drop()
		publishAV(t, other, "newcomer", "s")
		other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
		other.AwaitSDP("newcomer")
		w.allUp()
		other.WantStatus("newcomer", "PUBLISHING", "")
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		back.WantStatus("kept-pub", "FAILED", "Stopped by session disconnect")
		back.WantStatus("kept-play", "PLAYING", "")
		w.playUp(t, back, "play-newcomer", "s")
		wantNoStatus(t, other)
		wantNoStatus(t, back)
		other.Unpublish("newcomer", "s")
		back.WantStatus("play-newcomer", "FAILED", "Stopped by publisher stop")
	})
}
