package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
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

// crowd is a publisher and n players on one pod, all of them for long.
func (w *world) crowd(t *testing.T, n int) (c *rig.Client, players map[string]translate.Identity) {
	t.Helper()
	c, players = w.connect(t, podA), make(map[string]translate.Identity)
	w.publishUp(t, c, "pub", "s")
	for i := range n {
		w.playUp(t, c, fmt.Sprint("play-", i), "s")
	}
	for _, st := range w.pods[podA].streams.playersOf("s") {
		players[st.id] = st.identity
	}
	pass(time.Minute)
	for len(w.sfu.called) > 0 {
		<-w.sfu.called
	}
	return c, players
}

// The LiveKit node of a room dies right after it was asked, whoever's turn that was: its participants stay in LiveKit's list, and
// nothing else answers for them.
func TestDeadNodeIsNoticed(t *testing.T) {
	for players, turns := range map[int]int{0: 1, 1: 2, fewPlayers: 2, fewPlayers + 1: listTurn} {
		for turn := range turns {
			t.Run(fmt.Sprintf("%d players, turn %d", players, turn), func(t *testing.T) {
				t.Parallel()
				inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
					c, _ := w.crowd(t, players)
					for range turn + 1 {
						for <-w.sfu.called != "participant" {
						}
					}
					synctest.Wait()
					w.sfu.set(func() { w.sfu.hold["participant"] = make(chan struct{}) })
					since := time.Now()
					c.WantStatus("pub", "FAILED", "Stream failed")
					for i := range players {
						c.AwaitMatch("end of a player", func(m rig.Message) bool {
							return m.Name == "notifyStreamStatusEvent" && strings.Contains(m.Raw, fmt.Sprintf(`"play-%d"`, i)) && strings.Contains(m.Raw, `"FAILED"`)
						})
					}
					if told := time.Since(since); told >= 10*time.Second {
						t.Errorf("all are told after %v", told)
					}
					w.wantClean(t)
				})
			})
		}
	}
}

// A settled room costs LiveKit a call every 5 s, however many players are here, and each of them has its turn: one that has gone
// without a word is found out.
func TestSettledRoomCostsOneCall(t *testing.T) {
	for _, n := range []int{1, 3, fewPlayers, fewPlayers + 1, 3 * fewPlayers} {
		t.Run(fmt.Sprint(n, " players"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
				c, players := w.crowd(t, n)
				const turns = 120
				pass(turns * askInterval)
				if calls := len(w.sfu.called); calls > turns+1 {
					t.Errorf("%d calls in %v", calls, turns*askInterval)
				}
				for id, identity := range players {
					w.sfu.set(func() { delete(w.sfu.rooms["wcs.s"], identity) })
					pass(listTurn*crowdInterval + time.Second)
					if c.Count("notifyStreamStatusEvent") != 1 {
						t.Fatalf("not found out: %s", c.Names())
					}
					c.WantStatus(id, "FAILED", "Failed by error")
				}
			})
		})
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

// Every question is answered, also those that come too fast or cannot be read.
func TestAvailableAlwaysAnswers(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": 123})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"id":"q","status":"false"`) {
		t.Errorf("numeric name: %s", m.Raw)
	}
	const n = 2 * maxWaiting
	for range n {
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
	}
	for range n {
		if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"status":"false"`) {
			t.Errorf("%s", m.Raw)
		}
	}
}

// pass advances the clock of a synctest bubble and waits for everything that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
