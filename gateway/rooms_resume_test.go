package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/state"
)

// A session that is resumed, on another pod or on its own, stays a member and is sent the present members.
func TestRoomMemberIsResumed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to, as string
		dead   bool
	}{
		"on another pod": {to: podB, as: "alice"}, "on the same pod": {to: podA, as: "alice"}, "when its pod is dead": {to: podB, as: "alice", dead: true},
		"without a login": {to: podB},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, keptRooms)
			bob, carol := w.enter(t, podB, "bob"), w.enter(t, podB, "carol")
			kept, token := w.enterKept(t, podA, "alice", "")
			bob.Join("r")
			kept.Join("r", "bob")
			bob.WantEvents("JOINED alice")
			w.publishIn(t, kept, "m1", "r-alice-1", "r")
			bob.WantEvents("PUBLISHED alice r-alice-1")
			kept.Drop()
			rig.Eventually(t, 20*time.Second, "the session is detached", func() bool { return testutil.ToFloat64(w.pods[podA].metrics.Detached) == 1 })
			if c.dead {
				w.kill(podA)
			}
			carol.Join("r", "bob, alice r-alice-1")
			bob.WantEvents("JOINED carol")
			back, _ := w.enterKept(t, c.to, c.as, token)
			back.WantStatus("m1", "PUBLISHING", "")
			back.WantEvents("JOINED bob", "JOINED carol")
			if c.dead {
				w.store.TakeOver(podA, podB) // finds nothing
			}
			wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": back, "bob": bob, "carol": carol})
			back.Unpublish("m1", "r-alice-1")
			bob.WantEvents("UNPUBLISHED alice r-alice-1")
			carol.WantEvents("UNPUBLISHED alice r-alice-1")
			back.Leave("r")
			bob.WantEvents("LEFT alice")
			carol.WantEvents("LEFT alice")
			bob.WantNoEvent()
			carol.WantNoEvent()
			back.WantNoEvent()
		})
	}
}

// A client that resumes its session with another login has left its rooms.
func TestRoomMemberResumedWithAnotherLoginLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		to   string
		dead bool
	}{"on another pod": {to: podB}, "on the same pod": {to: podA}, "when its pod is dead": {to: podB, dead: true}} {
		t.Run(name, func(t *testing.T) {
			inRoomBubble(t, func(t *testing.T, w *world) {
				bob := w.enter(t, podB, "bob")
				kept, token := w.enterKept(t, podA, "alice", "")
				bob.Join("r")
				kept.Join("r", "bob")
				bob.WantEvents("JOINED alice")
				w.publishIn(t, kept, "m1", "r-alice-1", "r")
				bob.WantEvents("PUBLISHED alice r-alice-1")
				kept.Drop()
				synctest.Wait()
				if c.dead {
					w.kill(podA)
				}
				since := time.Now()
				back, _ := w.enterKept(t, c.to, "mallory", token)
				back.WantStatus("m1", "PUBLISHING", "")
				bob.WantEvents("UNPUBLISHED alice r-alice-1", "LEFT alice")
				if took := time.Since(since); took > time.Second {
					t.Errorf("the others know after %v", took)
				}
				if got := back.Say("r", "bob", "I am alice"); got != "FAILED Not in this room" {
					t.Errorf("a message: %s", got)
				}
				back.Join("r", "bob")
				bob.WantEvents("JOINED mallory", "PUBLISHED mallory r-alice-1")
				alice := w.enter(t, podC, "alice")
				alice.Join("r", "bob, mallory r-alice-1")
				bob.WantEvents("JOINED alice")
				back.WantEvents("JOINED alice")
				pass(time.Minute)
				bob.WantNoEvent()
				back.WantNoEvent()
				alice.WantNoEvent()
			})
		})
	}
}

func (w *world) enterKept(t *testing.T, pod, login, token string) (u *rig.RoomUser, newToken string) {
	t.Helper()
	return rig.LoginKeptAs(w.dial(t, pod), "roomApp", login, token)
}

// A client lost its network and its socket is still open: it may or may not have received the last events.
func TestMemberResumedFromOpenSocketReceivesRoom(t *testing.T) {
	for name, to := range map[string]string{"on another pod": podB, "on the same pod": podA} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, keptRooms)
			bob, carol, dave := w.enter(t, podB, "bob"), w.enter(t, podB, "carol"), w.enter(t, podA, "dave")
			kept, token := w.enterKept(t, podA, "alice", "")
			bob.Join("r")
			dave.Join("r", "bob")
			w.publishIn(t, dave, "m1", "r-dave-1", "r")
			bob.WantEvents("JOINED dave", "PUBLISHED dave r-dave-1")
			kept.Join("r", "bob, dave r-dave-1")
			kept.Freeze()
			carol.Join("r", "bob, dave r-dave-1, alice")
			kept.WantEvents("JOINED carol") // the socket is open
			w.publishIn(t, carol, "m2", "r-carol-1", "r")
			kept.WantEvents("PUBLISHED carol r-carol-1")
			w.publishIn(t, dave, "m3", "r-dave-2", "r")
			kept.WantEvents("PUBLISHED dave r-dave-2")
			bob.Leave("r")
			kept.WantEvents("LEFT bob")
			back, _ := w.enterKept(t, to, "alice", token)
			back.WantEvents("JOINED bob", "LEFT bob", "JOINED dave", "PUBLISHED dave r-dave-1", "PUBLISHED dave r-dave-2", "JOINED carol", "PUBLISHED carol r-carol-1")
			carol.Leave("r")
			back.WantEvents("UNPUBLISHED carol r-carol-1", "LEFT carol")
			back.WantNoEvent()
		})
	}
}

// A client that may not have received STATE is sent the members as JOINED, and never a second STATE.
func TestRoomSendsNoSecondState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		keptRooms(c)
		c.Conn.PingInterval = time.Hour
	})
	bob := w.enter(t, podB, "bob")
	kept, token := w.enterKept(t, podA, "alice", "")
	bob.Join("r")
	kept.Join("r", "bob")
	kept.Drop()
	back, _ := w.enterKept(t, podB, "alice", token)
	back.WantEvents("JOINED bob")
	back.Say("r", "bob", "hello")
	bob.WantEvents("JOINED alice", "MESSAGE alice: hello")
	back.WantNoEvent()
}

// A client whose socket was alive until it was lost knows the members of before: it is sent LEFT for those
// that left since, JOINED and PUBLISHED for those that are present, and nothing about those that came and
// went.
func TestResumedMemberReceivesChangesOfRoom(t *testing.T) {
	for name, c := range map[string]struct {
		to   string
		away time.Duration // before the session is resumed
	}{"on another pod": {podC, time.Minute / 2}, "on the same pod": {podA, time.Minute / 2}, "at once": {podC, 0}} {
		t.Run(name, func(t *testing.T) {
			roomBubble(t, quickDetection, func(t *testing.T, w *world) {
				bob, carol, dave := w.enter(t, podB, "bob"), w.enter(t, podA, "carol"), w.enter(t, podB, "dave")
				for _, u := range []*rig.RoomUser{bob, carol, dave} {
					u.TryJoin("r")
					pass(time.Second)
				}
				kept, token := w.enterKept(t, podA, "alice", "")
				kept.Join("r", "bob, carol, dave")
				dave.Leave("r")
				kept.WantEvents("LEFT dave")
				pass(time.Minute)
				kept.Drop()
				pass(time.Second)
				bob.Leave("r")
				w.publishIn(t, carol, "m1", "r-carol-1", "r")
				for _, login := range []string{"eve", "frank"} {
					u := w.enter(t, podB, login)
					u.TryJoin("r")
					if login == "eve" {
						u.Leave("r")
					}
				}
				pass(c.away)
				back, _ := w.enterKept(t, c.to, "alice", token)
				back.WantEvents("LEFT bob", "JOINED carol", "PUBLISHED carol r-carol-1", "JOINED frank")
				carol.Leave("r")
				back.WantEvents("UNPUBLISHED carol r-carol-1", "LEFT carol")
				pass(time.Minute)
				back.WantNoEvent()
			})
		})
	}
}

// quickDetection makes a dead socket be detected in 5 s.
func quickDetection(c *Config) { c.Conn.PingInterval, c.Conn.PingProbes = 500*time.Millisecond, 9 }

// The events after a resume may be lost, too: they are sent again if the session is resumed again.
func TestSecondResumeRepeatsRoomEvents(t *testing.T) {
	roomBubble(t, quickDetection, func(t *testing.T, w *world) {
		bob, carol := w.enter(t, podB, "bob"), w.enter(t, podB, "carol")
		kept, token := w.enterKept(t, podA, "alice", "")
		bob.Join("r")
		carol.Join("r", "bob")
		kept.Join("r", "bob, carol")
		pass(time.Minute)
		kept.Drop()
		pass(time.Second)
		bob.Leave("r")
		pass(20 * time.Second)
		back, token := w.enterKept(t, podB, "alice", token)
		back.WantEvents("LEFT bob", "JOINED carol")
		back.Freeze()
		again, token := w.enterKept(t, podA, "alice", token)
		again.WantEvents("JOINED bob", "LEFT bob", "JOINED carol")
		pass(time.Minute)
		again.Drop()
		pass(time.Second)
		last, _ := w.enterKept(t, podB, "alice", token)
		last.WantEvents("JOINED carol")
		last.WantNoEvent()
	})
}

// A client that was admitted to a room stays a member if its session is resumed before its record has the
// room.
func TestHandOverNamesARoomThatWasJustJoined(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		kept, token := w.enterKept(t, podA, "alice", "")
		synctest.Wait()
		stale, err := w.resumption(podB).FindSession(t.Context(), sessionOf(t, token))
		if err != nil {
			t.Fatal(err)
		}
		kept.Join("r")
		var had struct{ Rooms []state.SessionRoom }
		if err := json.Unmarshal([]byte(w.requestHandOver(t, stale)), &had); err != nil {
			t.Fatal(err)
		}
		if len(had.Rooms) != 1 || had.Rooms[0].Name != "r" || had.Rooms[0].Member.Login != "alice" {
			t.Errorf("the pod before names %+v", had.Rooms)
		}
	})
}

// More members left while the client was away than the room keeps: its membership ends, and it is sent
// FAILED.
func TestRoomMembershipEndsAfterTooManyDepartures(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		bob := w.enter(t, podB, "bob")
		bob.Join("r")
		kept, token := w.enterKept(t, podA, "alice", "")
		kept.Join("r", "bob")
		bob.WantEvents("JOINED alice")
		kept.Drop()
		synctest.Wait()
		for i := range 201 {
			m := state.Member{Login: fmt.Sprintf("user-%d", i), ID: "x", JoinedAt: time.Now()}
			for _, u := range []state.RoomUpdate{{Put: []state.Member{m}, MaxMembers: 10}, {Remove: []state.Member{m}}} {
				u.Room = state.Room{App: "roomApp", Name: "r"}
				if _, err := w.pods[podC].env.Store.(roomapi.Store).SyncRoom(t.Context(), u); err != nil {
					t.Fatal(err)
				}
			}
		}
		back, _ := w.enterKept(t, podC, "alice", token)
		back.AwaitMatch("the end of the membership", func(m rig.Message) bool {
			return m.Name == "OnDataEvent" && strings.Contains(m.Raw, `"FAILED"`) && strings.Contains(m.Raw, "Too many members left")
		})
		if got := back.Say("r", "bob", "x"); got != "FAILED Not in this room" {
			t.Errorf("a message: %s", got)
		}
		bob.WantEvents("LEFT alice")
		back.Join("r", "bob")
		bob.WantEvents("JOINED alice")
	})
}

func keptRooms(c *Config) {
	withRooms(c)
	c.KeepAliveGrace, c.Conn.PingInterval, c.Conn.PingProbes = time.Minute, 50*time.Millisecond, 1000
	c.Rooms.MaxMembers = 10
}

func TestRoomMemberLeavesAfterTheGracePeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		withRooms(c)
		c.KeepAliveGrace = 100 * time.Millisecond
	})
	bob := w.enter(t, podB, "bob")
	bob.Join("r")
	kept, _ := w.enterKept(t, podA, "alice", "")
	kept.Join("r", "bob")
	bob.WantEvents("JOINED alice")
	kept.Drop()
	bob.WantEvents("LEFT alice")
}

// A detached session loses its login to another client that joins with it.
func TestRoomLoginOfADetachedSessionIsFree(t *testing.T) {
	t.Parallel()
	for _, pod := range []string{podA, podB} {
		t.Run(pod, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) {
				withRooms(c)
				c.KeepAliveGrace = time.Minute
			})
			bob := w.enter(t, podB, "bob")
			bob.Join("r")
			kept, token := w.enterKept(t, podA, "alice", "")
			kept.Join("r", "bob")
			bob.WantEvents("JOINED alice")
			kept.Drop()
			again := w.enter(t, pod, "alice")
			again.Join("r", "bob")
			bob.WantEvents("LEFT alice", "JOINED alice")
			if _, got := w.enterKept(t, podA, "alice", token); sessionOf(t, got) == sessionOf(t, token) {
				t.Error("the session that has lost its login was resumed")
			}
			wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": again, "bob": bob})
		})
	}
}
