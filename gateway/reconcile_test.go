package gateway

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/translate"
)

// pollInterval is the time between two polls of a room whose streams are up.
const pollInterval = 5 * time.Second

// webhookWait is the time after which a participant that was not found is looked for again.
const webhookWait = 500 * time.Millisecond

// crowd is a publisher and n players on one pod whose streams have been up for a minute.
func (w *world) crowd(t *testing.T, n int) (c *rig.Client, players map[string]translate.Identity) {
	t.Helper()
	c, players = w.connect(t, podA), make(map[string]translate.Identity)
	w.publishUp(t, c, "pub", "s")
	for i := range n {
		w.playUp(t, c, fmt.Sprint("play-", i), "s")
	}
	w.sfu.set(func() { maps.Copy(players, w.sfu.players) })
	pass(time.Minute)
	for len(w.sfu.called) > 0 {
		<-w.sfu.called
	}
	return c, players
}

// The LiveKit node of a room fails right after it was polled: its participants stay in LiveKit's list, and
// calls for single participants are not answered.
func TestDeadNodeEndsStreamsWithin10Seconds(t *testing.T) {
	for _, players := range []int{0, 1, 6, 18} {
		t.Run(fmt.Sprint(players, " players"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
				c, _ := w.crowd(t, players)
				for <-w.sfu.called != "participant" {
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
				if took := time.Since(since); took >= 10*time.Second {
					t.Errorf("all streams ended after %v, want less than 10 s", took)
				}
				w.wantClean(t)
			})
		})
	}
}

// A settled room costs at most two LiveKit calls per poll, however many players are on this pod. A player's
// participant that left without a webhook is found by the next poll, and by the one that makes sure.
func TestIdleRoomCostsTwoCalls(t *testing.T) {
	for _, n := range []int{0, 1, 3, 18} {
		t.Run(fmt.Sprint(n, " players"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
				c, players := w.crowd(t, n)
				const polls = 120
				pass(polls * pollInterval)
				perPoll := min(n+1, 2)
				if calls := len(w.sfu.called); calls > (polls+1)*perPoll {
					t.Errorf("%d calls in %v, want at most %d a poll", calls, polls*pollInterval, perPoll)
				}
				for id, identity := range players {
					w.sfu.set(func() { delete(w.sfu.rooms["wcs.s"], identity) })
					pass(pollInterval + webhookWait)
					if c.Count("notifyStreamStatusEvent") != 1 {
						t.Fatalf("departure of %s not found: %s", id, c.Names())
					}
					c.WantStatus(id, "FAILED", "Failed by error")
				}
			})
		})
	}
}

// An outage of LiveKit as a whole ends no stream.
func TestLiveKitOutageEndsNoStream(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		c, players := w.crowd(t, 1)
		away := &translate.Error{Kind: translate.ErrKindUnavailable, Op: "x", Err: errors.New("connection refused")}
		w.sfu.set(func() { w.sfu.fail["participant"], w.sfu.fail["participants"] = away, away })
		pass(6 * pollInterval)
		w.sfu.set(func() { w.sfu.fail["participant"], w.sfu.fail["participants"] = nil, nil })
		pass(2 * pollInterval)
		if n := c.Count("notifyStreamStatusEvent"); n != 0 || w.sfu.participants() != 1+len(players) {
			t.Errorf("%d streams ended, %d participants left: %s", n, w.sfu.participants(), c.Names())
		}
	})
}

// A participant that LiveKit no longer has ends its stream, though no webhook came.
func TestGoneParticipantEndsItsStream(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		pub, play := w.connect(t, podA), w.connect(t, podB)
		w.publishUp(t, pub, "pub", "s")
		w.playUp(t, play, "play", "s")
		for _, gone := range []struct {
			role  translate.Role
			c     *rig.Client
			media string
		}{{translate.RolePlay, play, "play"}, {translate.RolePublish, pub, "pub"}} {
			pass(time.Minute)
			room, id := w.sfu.only(t, gone.role)
			w.sfu.set(func() { delete(w.sfu.rooms[room], id) })
			gone.c.WantStatus(gone.media, "FAILED", "Failed by error")
		}
		w.wantClean(t)
	})
}

// An end without a text of its own for clients is logged with LiveKit's reason.
func TestUnnamedEndIsLoggedWithReason(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		book := &logBook{}
		w.pods[podA].env.Log = zerolog.New(book)
		c := w.connect(t, podA)
		reasons := []translate.EndReason{translate.EndClient, translate.EndUnknown, "state_mismatch", translate.EndAbsent}
		for i, reason := range reasons {
			media := fmt.Sprintf("pub-%d", i)
			w.publishUp(t, c, media, media)
			room, id := w.sfu.only(t, translate.RolePublish)
			if reason == translate.EndAbsent {
				w.sfu.set(func() { delete(w.sfu.rooms[room], id) })
			} else {
				w.event(podA, translate.Event{Kind: translate.EventLeft, Room: room, Identity: id, Reason: reason})
			}
			c.WantStatus(media, "FAILED", "Failed by error")
			synctest.Wait()
			lines := book.lines("publish failed")
			if len(lines) != i+1 || lines[i]["level"] != "error" || lines[i]["reason"] != "livekit_lost" || lines[i]["err"] != "participant ended by LiveKit: "+string(reason) || lines[i]["identity"] != string(id) {
				t.Fatalf("%s: %v", reason, lines)
			}
		}
		w.wantClean(t)
	})
}

// A slow LiveKit repeats a WHIP call itself. The participant of the first attempt is replaced by that of the
// second, whose answer the client has. The end of the first one is no end of the stream.
func TestReplacedParticipantKeepsItsStream(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		publishAV(t, c, "pub", "s")
		c.AwaitSDP("pub")
		room, id := w.sfu.only(t, translate.RolePublish)
		w.event(podA, translate.Event{Kind: translate.EventAborted, Room: room, Identity: id, SID: "PA_first", Reason: translate.EndReplaced})
		w.allUp()
		c.WantStatus("pub", "PUBLISHING", "")
		w.event(podA, translate.Event{Kind: translate.EventLeft, Room: room, Identity: id, SID: "PA_first", Reason: translate.EndReplaced})
		pass(time.Minute)
		if n := c.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("%d statuses too many: %s", n, c.Names())
		}
	})
}

// pass advances the clock of a synctest bubble and waits for everything that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
