package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/session"
	"wcsgateway/translate"
)

// Times of package roomapi: between two syncs of a room, and in which a pod registers its members again after
// Redis lost them.
const (
	roomSync    = 10 * time.Second
	roomMissing = 20 * time.Second
)

// withRooms enables the room API in the application roomApp, with rooms of three members.
func withRooms(c *Config) {
	c.Rooms = session.RoomsConfig{MaxMembers: 3, PerSession: 2}
	c.Apps["roomApp"] = apps.App{Key: "roomApp", Room: "wcs.{name}", Native: apps.NativeOff, Codecs: translate.DefaultCodecs(), Rooms: true}
	c.Limits.NameBytes, c.Limits.Detached, c.Media.StoreTimeout = 100, 10, 5*time.Second
}

func (w *world) enter(t *testing.T, pod, login string) *rig.RoomUser {
	t.Helper()
	return rig.LoginAs(w.dial(t, pod), "roomApp", login)
}

// publishIn publishes in a room and waits until the stream is up.
func (w *world) publishIn(t *testing.T, u *rig.RoomUser, id, name, room string) {
	t.Helper()
	u.Send("publishStream", rig.StreamRequest(id, name, offerOf(t, "publish"), true, rig.PublishIn(room)))
	u.AwaitSDP(id)
	w.allUp()
	u.WantStatus(id, "PUBLISHING", "")
}

// wantNoRoomEvents checks that no member is sent an event. Events of earlier changes have arrived once a
// message of each member has reached each other one.
func wantNoRoomEvents(t *testing.T, room string, logins map[string]*rig.RoomUser) {
	t.Helper()
	for from, u := range logins {
		for to, v := range logins {
			if from == to {
				continue
			}
			if got := u.Say(room, to, "ping"); got != "ACCEPTED" {
				t.Errorf("%s to %s: %s", from, to, got)
			}
			v.WantEvents("MESSAGE " + from + ": ping")
		}
	}
}

func TestMembersReceiveRoomEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
	alice.Join("r")
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob")

	w.publishIn(t, alice, "m1", "r-alice-1", "r")
	bob.WantEvents("PUBLISHED alice r-alice-1")
	carol := w.enter(t, podA, "carol")
	carol.Join("r", "alice r-alice-1, bob")
	alice.WantEvents("JOINED carol")
	bob.WantEvents("JOINED carol")
	if got := w.enter(t, podB, "eve").TryJoin("r"); got != "FAILED Room is full" {
		t.Errorf("fourth: %s", got)
	}

	alice.Unpublish("m1", "r-alice-1")
	bob.WantEvents("UNPUBLISHED alice r-alice-1")
	carol.WantEvents("UNPUBLISHED alice r-alice-1")
	w.publishIn(t, bob, "m2", "r-bob-1", "r")
	alice.WantEvents("PUBLISHED bob r-bob-1")
	carol.WantEvents("PUBLISHED bob r-bob-1")
	room, id := w.sfu.only(t, translate.RolePublish)
	w.event(podA, translate.Event{Kind: translate.EventLeft, Room: room, Identity: id, Reason: translate.EndTimeout})
	alice.WantEvents("FAILED bob r-bob-1")
	carol.WantEvents("FAILED bob r-bob-1")

	// The stream of a member that leaves is no longer in the room, and is in it again when the member returns.
	w.publishIn(t, alice, "m3", "r-alice-2", "r")
	bob.WantEvents("PUBLISHED alice r-alice-2")
	alice.Leave("r")
	bob.WantEvents("UNPUBLISHED alice r-alice-2", "LEFT alice")
	alice.Join("r", "bob, carol")
	bob.WantEvents("JOINED alice", "PUBLISHED alice r-alice-2")
	carol.WantEvents("PUBLISHED alice r-alice-2", "UNPUBLISHED alice r-alice-2", "LEFT alice", "JOINED alice", "PUBLISHED alice r-alice-2")
	alice.Close()
	bob.WantEvents("UNPUBLISHED alice r-alice-2", "LEFT alice")
	carol.WantEvents("UNPUBLISHED alice r-alice-2", "LEFT alice")
	wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"bob": bob, "carol": carol})
	bob.WantNoEvent()
	carol.WantNoEvent()
}

// A room has only the streams whose publisher is a member and names the room.
func TestRoomHasStreamsOfItsMembersOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
	alice.Join("r")
	w.publishIn(t, bob, "m1", "r-bob-1", "r") // is not a member yet
	bob.Join("other")
	w.publishIn(t, bob, "m2", "other-bob-1", "other")
	w.publishUp(t, bob.Client, "m3", "r-bob-2") // names none
	alice.Send("publishStream", rig.StreamRequest("m4", "x", offerOf(t, "publish"), true, map[string]any{"custom": "r"}))
	alice.AwaitSDP("m4")
	plain := w.connect(t, podA)
	plain.Send("publishStream", rig.StreamRequest("m5", "y", offerOf(t, "publish"), true, rig.PublishIn("r")))
	plain.AwaitSDP("m5")
	w.allUp()
	plain.WantStatus("m5", "PUBLISHING", "")
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob", "PUBLISHED bob r-bob-1")
	wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": alice, "bob": bob})
	alice.WantNoEvent()
}

func TestRoomMessagesArriveInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice, bob, carol := w.enter(t, podA, "alice"), w.enter(t, podB, "bob"), w.enter(t, podA, "carol")
	alice.Join("r")
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	var operations []string
	for i := range 100 {
		operations = append(operations, alice.SendCommand(rig.SayOf("r", "bob", fmt.Sprint(i))))
	}
	for i, o := range operations {
		if got := alice.Outcome(o); got != "ACCEPTED" {
			t.Errorf("message %d: %s", i, got)
		}
		bob.WantEvents(fmt.Sprintf("MESSAGE alice: %d", i))
	}
	forged := map[string]any{"command": "sendMessage", "from": "carol", "options": map[string]any{
		"roomConfig": map[string]any{"name": "r"}, "to": "alice", "from": "carol", "login": "carol", "text": map[string]any{"a": 1},
	}}
	if got := bob.Command(forged); got != "ACCEPTED" {
		t.Errorf("a text that is an object: %s", got)
	}
	alice.WantEvents("MESSAGE bob: map[a:1]")
	for name, c := range map[string]struct {
		user     *rig.RoomUser
		to, want string
	}{
		"to no member":    {alice, "carol", "FAILED No such participant in the room"},
		"to itself":       {alice, "alice", "FAILED No such participant in the room"},
		"from outside":    {carol, "bob", "FAILED Not in this room"},
		"to no login":     {alice, "", "FAILED No such participant in the room"},
		"after a message": {alice, "bob", "ACCEPTED"},
	} {
		if got := c.user.Say("r", c.to, "x"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	bob.WantEvents("MESSAGE alice: x")
	bob.WantNoEvent()
}

func TestInvalidRoomCommandsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice := w.enter(t, podA, "alice")
	alice.Join("r")
	for _, pod := range []string{podA, podB} {
		twin := w.enter(t, pod, "alice")
		if got := twin.TryJoin("r"); got != "FAILED Login is in the room already" {
			t.Errorf("second alice on %s: %s", pod, got)
		}
		if got := twin.TryLeave("r"); got != "FAILED Not in this room" {
			t.Errorf("second alice leaves: %s", got)
		}
	}
	alice.Join("s")
	for what, c := range map[string]struct{ room, want string }{
		"again":        {"r", "FAILED Login is in the room already"},
		"a third room": {"t", "FAILED Too many rooms in this session"},
		"no name":      {"", "FAILED Bad room name"},
		"bad name":     {"a/../b", "FAILED Bad room name"},
		"long name":    {strings.Repeat("x", 101), "FAILED Bad room name"},
	} {
		if got := alice.TryJoin(c.room); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", what, got)
		}
	}
	for _, payload := range []any{
		map[string]any{"command": "join"}, map[string]any{"command": "join", "options": 1}, map[string]any{"command": "leave", "options": map[string]any{"name": []int{1}}},
	} {
		if got := alice.Command(payload); !strings.HasPrefix(got, "FAILED Bad request") {
			t.Errorf("%v: %s", payload, got)
		}
	}
	for _, payload := range []any{nil, "join", map[string]any{"command": "dance"}, []any{1}} {
		if got := alice.Command(payload); got != "FAILED No application server takes data" {
			t.Errorf("%v: %s", payload, got)
		}
	}
	for _, login := range []string{"", "a\u202eb"} {
		if got := w.enter(t, podA, login).TryJoin("r"); !strings.HasPrefix(got, "FAILED No login") {
			t.Errorf("login %q: %s", login, got)
		}
	}
	other := rig.LoginAs(w.dial(t, podA), "defaultApp", "bob")
	if got := other.TryJoin("r"); got != "FAILED No application server takes data" {
		t.Errorf("an application without rooms: %s", got)
	}
	bob := w.enter(t, podB, "bob")
	w.store.SetAway(true)
	if got := bob.TryJoin("r"); got != "FAILED Rooms are not available" {
		t.Errorf("while Redis is away: %s", got)
	}
	w.store.SetAway(false)
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	alice.WantNoEvent()
}

// A client that lost its network joins again with its login, on any pod, before its old socket has timed out.
func TestRoomLoginIsFreeAfterTheClientStopsAnswering(t *testing.T) {
	t.Parallel()
	for _, pod := range []string{podA, podB} {
		t.Run(pod, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withRooms)
			alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
			alice.Join("r")
			bob.Join("r", "alice")
			alice.WantEvents("JOINED bob")
			alice.Freeze()
			again := w.enter(t, pod, "alice")
			again.Join("r", "bob")
			bob.WantEvents("LEFT alice", "JOINED alice")
			_ = alice.AwaitClosed()
			wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": again, "bob": bob})
			if got := w.enter(t, podB, "alice").TryJoin("r"); got != "FAILED Login is in the room already" {
				t.Errorf("third alice: %s", got)
			}
			again.WantNoEvent()
		})
	}
}

// A pod that misses an event between pods finds the change at its next sync and sends it once.
func TestMissedRoomEventIsFoundBySync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, withRooms)
		w.start(t, podB, withRooms)
		alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
		bob.Join("r")
		w.dropEventsTo(podB)
		alice.Join("r", "bob")
		w.publishIn(t, alice, "m1", "r-alice-1", "r")
		synctest.Wait()
		bob.WantNoEvent()
		time.Sleep(roomSync + time.Second)
		synctest.Wait()
		bob.WantEvents("JOINED alice", "PUBLISHED alice r-alice-1")
		alice.Leave("r")
		alice.Join("r", "bob")
		time.Sleep(2 * roomSync)
		synctest.Wait()
		bob.WantEvents("UNPUBLISHED alice r-alice-1", "LEFT alice", "JOINED alice", "PUBLISHED alice r-alice-1")
		bob.WantNoEvent()
		alice.WantNoEvent()
	})
}

// A pod dies: another pod takes over, and each of its members leaves once.
func TestRoomMembersOfADeadPodLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
	bob.Join("r")
	alice.Join("r", "bob")
	w.publishIn(t, bob, "m1", "r-bob-1", "r")
	alice.WantEvents("PUBLISHED bob r-bob-1")
	w.kill(podB)
	w.store.TakeOver(podB, podA)
	alice.WantEvents("UNPUBLISHED bob r-bob-1", "LEFT bob")
	again := w.enter(t, podA, "bob")
	again.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	alice.WantNoEvent()
}

// Another pod takes over a live pod: the sockets of its clients are closed, and its members leave once.
func TestRoomMembersOfAPodTakenOverLeaveOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
	alice.Join("r")
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	w.store.TakeOver(podB, podA)
	alice.WantEvents("LEFT bob")
	_ = bob.AwaitClosed()
	back := w.enter(t, podB, "bob")
	back.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": alice, "bob": back})
	alice.WantNoEvent()
}

// Redis restarts empty: members are sent only changes, and a member whose pod does not register it again
// leaves after a while.
func TestRoomSurvivesEmptyRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, withRooms)
		w.start(t, podB, withRooms)
		alice, bob := w.enter(t, podA, "alice"), w.enter(t, podB, "bob")
		alice.Join("r")
		bob.Join("r", "alice")
		alice.WantEvents("JOINED bob")
		w.publishIn(t, alice, "m1", "r-alice-1", "r")
		bob.WantEvents("PUBLISHED alice r-alice-1")
		for range 10 { // pods register again in any order
			w.store.Restart()
			time.Sleep(time.Second)
		}
		time.Sleep(2 * roomMissing)
		synctest.Wait()
		wantNoRoomEvents(t, "r", map[string]*rig.RoomUser{"alice": alice, "bob": bob})
		alice.WantNoEvent()
		bob.WantNoEvent()

		w.store.SetAway(true)
		alice.Unpublish("m1", "r-alice-1")
		time.Sleep(roomSync)
		w.store.Restart()
		time.Sleep(roomSync)
		synctest.Wait()
		bob.WantEvents("UNPUBLISHED alice r-alice-1")

		w.kill(podB)
		w.store.Restart()
		time.Sleep(roomMissing - time.Second)
		synctest.Wait()
		alice.WantNoEvent()
		time.Sleep(2 * roomSync)
		synctest.Wait()
		alice.WantEvents("LEFT bob")
		time.Sleep(2 * roomMissing)
		synctest.Wait()
		alice.WantNoEvent()
	})
}

// A backend with OnDataEvent approves commands of rooms, too, but cannot prevent a leave.
func TestBackendApprovesRoomCommandsExceptLeave(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Rooms = true })
	w.policy(map[string]map[string]string{"OnDataEvent": {"restOnError": "FAIL"}})
	enter := func(pod, login string) *rig.RoomUser { return rig.LoginAs(w.dial(t, pod), "defaultApp", login) }
	alice, bob := enter(podA, "alice"), enter(podB, "bob")
	alice.Join("r")
	if h := w.backend.Await("OnDataEvent"); !strings.Contains(string(h.Raw), `"command":"join"`) {
		t.Errorf("backend got %s", h.Raw)
	}
	if h := w.backend.Await("DataStatusEvent"); h.Text("status") != "ACCEPTED" {
		t.Errorf("backend got %s", h.Raw)
	}
	bob.Join("r", "alice")
	alice.WantEvents("JOINED bob")
	w.backend.On("OnDataEvent", rig.Refuse(403))
	if got := enter(podA, "carol").TryJoin("r"); !strings.HasPrefix(got, "FAILED") {
		t.Errorf("a join that the backend refuses: %s", got)
	}
	if got := bob.Say("r", "alice", "x"); !strings.HasPrefix(got, "FAILED") {
		t.Errorf("a message that the backend refuses: %s", got)
	}
	if got := bob.TryLeave("r"); !strings.HasPrefix(got, "FAILED") {
		t.Errorf("a leave that the backend refuses: %s", got)
	}
	alice.WantEvents("LEFT bob")
	alice.WantNoEvent()
}
