package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// settledRoom gives the watched room of the stream of world.up, as it is when all has long been settled, with its timer stopped:
// the test asks itself.
func (w *world) settledRoom(t *testing.T, pod string) *watchedRoom {
	t.Helper()
	watch := w.pods[pod].watch
	var r *watchedRoom
	rig.Eventually(t, 20*time.Second, "the room is not being asked", func() bool {
		watch.mu.Lock()
		defer watch.mu.Unlock()
		r = watch.rooms["wcs.s"]
		return r.timer.Stop() // while it is being asked, the timer does not run
	})
	watch.mu.Lock()
	defer watch.mu.Unlock()
	r.asked = 2 * len(askSoon)
	return r
}

// The LiveKit node of a room dies: its participants stay in LiveKit's list, and nothing else answers for them. Publisher and
// player are on one pod, and it does not matter whose turn it is.
func TestDeadNodeIsNoticed(t *testing.T) {
	for turn := range 2 {
		w := newWorld(t, nil)
		pub, play := w.up(t, podA, podA)
		r := w.settledRoom(t, podA)
		r.asked += turn
		w.sfu.set(func() {
			w.sfu.fail["participant"] = &translate.Error{Kind: translate.ErrKindUnavailable, Op: "participant", Err: errors.New("no response from servers")}
		})
		w.pods[podA].watch.ask(r) // and again at once
		pub.WantStatus("pub", "FAILED", "Stream failed")
		if s := play.AwaitStatus("play"); s.Status != "FAILED" {
			t.Errorf("player: %+v", s)
		}
		w.wantClean(t)
	}
}

// LiveKit as a whole does not answer: that says nothing about the streams.
func TestUnansweredQuestionsEndNothing(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podA)
	r := w.settledRoom(t, podA)
	away := &translate.Error{Kind: translate.ErrKindUnavailable, Op: "x", Err: errors.New("connection refused")}
	w.sfu.set(func() { w.sfu.fail["participant"], w.sfu.fail["participants"] = away, away })
	for range 2 * strikesOut {
		w.pods[podA].watch.ask(r)
	}
	w.sfu.set(func() { w.sfu.fail["participant"], w.sfu.fail["participants"] = nil, nil })
	pub.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	pub.Await("availableStream")
	if n := pub.Count("notifyStreamStatusEvent") + play.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("clients were told: %s %s", pub.Names(), play.Names())
	}
}

// A participant that LiveKit does not know any more ends its stream, though no webhook came.
func TestGoneParticipantIsNoticed(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	room, id := w.sfu.only(t, translate.RolePlay)
	w.sfu.set(func() { delete(w.sfu.rooms[room], id) })
	w.pods[podB].watch.ask(w.settledRoom(t, podB))
	play.WantStatus("play", "FAILED", "Failed by error")
	room, id = w.sfu.only(t, translate.RolePublish)
	w.sfu.set(func() { delete(w.sfu.rooms[room], id) })
	w.pods[podA].watch.ask(w.settledRoom(t, podA))
	pub.WantStatus("pub", "FAILED", "Failed by error")
	w.wantClean(t)
}

// Removals that hang at LiveKit do not hold up the release of names.
func TestHangingRemovalsDoNotHoldUpNames(t *testing.T) {
	w := newWorld(t, nil)
	const sessions, each = debtParallel/16 + 1, 16
	hold := make(chan struct{})
	var clients []*rig.Client
	for i := range sessions {
		c := w.connect(t, podA)
		clients = append(clients, c)
		for j := range each {
			id := fmt.Sprintf("%d-%d", i, j)
			publishAV(t, c, id, id)
			c.AwaitSDP(id)
		}
	}
	w.sfu.set(func() { w.sfu.hold["remove"] = hold })
	for _, c := range clients {
		c.Close()
	}
	rig.Eventually(t, 20*time.Second, "all names are free", func() bool { return len(w.store.Names()) == 0 })
	close(hold)
	w.wantClean(t)
}

// Every question is answered, also those that come too fast or cannot be read.
func TestAvailableAlwaysAnswers(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": 123})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"id":"q","status":"false"`) {
		t.Errorf("numeric name: %s", m.Raw)
	}
	const n = 10 * maxAsking
	for range n {
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
	}
	for range n {
		if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"status":"false"`) {
			t.Errorf("%s", m.Raw)
		}
	}
}
