package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const roomApp = "roomApp"

// publishIn publishes in a room.
func publishIn(t *testing.T, u *rig.RoomUser, name, room string) *rig.Peer {
	t.Helper()
	peer := rig.NewPublisher(t, rig.PeerOptions{})
	u.StartPublish(name, name, peer, rig.PublishIn(room))
	u.WantStatus(name, "PUBLISHING", "")
	return peer
}

// podsWithLongTimeouts starts pods that continue if Redis is slow because the machine is busy.
func podsWithLongTimeouts(t *testing.T, n int) ([]*rig.Gateway, *rig.Stage) {
	t.Helper()
	return podsWith(t, n, map[string]string{"WCS_REDIS_CALLTIMEOUT": "4s", "WCS_REDIS_LEASE": "20s"})
}

// wantMessagesDelivered checks that each member receives the messages of each other one, and no other event.
func wantMessagesDelivered(t *testing.T, room string, logins map[string]*rig.RoomUser) {
	t.Helper()
	for from, u := range logins {
		for to, v := range logins {
			if from == to {
				continue
			}
			if got := u.Say(room, to, "hello"); got != "ACCEPTED" {
				t.Errorf("%s to %s: %s", from, to, got)
			}
			v.WantEvents("MESSAGE " + from + ": hello")
		}
	}
	for _, u := range logins {
		u.WantNoEvent()
	}
}

func TestMembersOnSeveralPodsReceiveRoomEvents(t *testing.T) {
	t.Parallel()
	g, s := podsWithLongTimeouts(t, 3)
	alice, bob, carol := rig.EnterAs(t, g[0].URL, roomApp, "alice"), rig.EnterAs(t, g[1].URL, roomApp, "bob"), rig.EnterAs(t, g[2].URL, roomApp, "carol")
	alice.Join("room")
	bob.Join("room", "alice")
	alice.WantEvents("JOINED bob")
	publishIn(t, alice, "room-alice-1", "room")
	bob.WantEvents("PUBLISHED alice room-alice-1")
	publishIn(t, bob, "room-bob-1", "room")
	alice.WantEvents("PUBLISHED bob room-bob-1")
	carol.Join("room", "alice room-alice-1, bob room-bob-1")
	alice.WantEvents("JOINED carol")
	bob.WantEvents("JOINED carol")
	wantMessagesDelivered(t, "room", map[string]*rig.RoomUser{"alice": alice, "bob": bob, "carol": carol})
	for _, pod := range g {
		if got := rig.EnterAs(t, pod.URL, roomApp, "bob").TryJoin("room"); got != "FAILED Login is in the room already" {
			t.Errorf("a second bob: %s", got)
		}
	}

	carol.Play("carol-bob", "room-bob-1", rig.NewPlayer(t, rig.PeerOptions{}))
	bob.Unpublish("room-bob-1", "room-bob-1")
	carol.WantEvents("UNPUBLISHED bob room-bob-1")
	carol.WantStatus("carol-bob", "FAILED", "Stopped by publisher stop")
	alice.WantEvents("UNPUBLISHED bob room-bob-1")
	alice.Close()
	bob.WantEvents("UNPUBLISHED alice room-alice-1", "LEFT alice")
	carol.WantEvents("UNPUBLISHED alice room-alice-1", "LEFT alice")
	bob.Leave("room")
	carol.WantEvents("LEFT bob")
	bob.Join("room", "carol")
	carol.WantEvents("JOINED bob")
	wantMessagesDelivered(t, "room", map[string]*rig.RoomUser{"bob": bob, "carol": carol})
	bob.Close()
	carol.Close()
	s.WantClean(t)
	wantNoRoom(t, s)
}

// A member loses its network and joins again with its login, on the same pod and on another.
func TestMemberJoinsAgainAfterNetworkLoss(t *testing.T) {
	t.Parallel()
	g, s := podsWithLongTimeouts(t, 2)
	bob := rig.EnterAs(t, g[1].URL, roomApp, "bob")
	bob.Join("room")
	alice := rig.EnterAs(t, g[0].URL, roomApp, "alice")
	alice.Join("room", "bob")
	bob.WantEvents("JOINED alice")
	for i, pod := range g {
		name := fmt.Sprintf("login-alice-%d", i)
		publishIn(t, alice, name, "room")
		bob.WantEvents("PUBLISHED alice " + name)
		alice.StopPongs() // the page is busy, but the browser answers
		if got := rig.EnterAs(t, pod.URL, roomApp, "alice").TryJoin("room"); got != "FAILED Login is in the room already" {
			t.Errorf("a second alice: %s", got)
		}
		alice.Freeze()
		again := rig.EnterAs(t, pod.URL, roomApp, "alice")
		since := time.Now()
		again.Join("room", "bob")
		t.Logf("in the room again after %v", time.Since(since))
		bob.WantEvents("UNPUBLISHED alice "+name, "LEFT alice", "JOINED alice")
		_ = alice.AwaitClosed()
		alice = again
	}
	wantMessagesDelivered(t, "room", map[string]*rig.RoomUser{"alice": alice, "bob": bob})
	bob.Close()
	alice.Close()
	s.WantClean(t)
	wantNoRoom(t, s)
}

// wantNoRoom waits until Redis has no members.
func wantNoRoom(t *testing.T, s *rig.Stage) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "no room is left in Redis", func() bool {
		return strings.TrimSpace(s.Redis.CLI("--raw", "KEYS", "wcs:*{room:*:members")+s.Redis.CLI("--raw", "KEYS", "wcs:*:rooms")) == ""
	})
}

// Many members join and leave on all pods at the same time. Each has the present members in the end, and
// received no event twice or in a wrong order.
func TestRoomConvergesAfterManyJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	g, s := podsWithLongTimeouts(t, 3)
	const n = 12
	stays := rig.EnterAs(t, g[0].URL, roomApp, "stays")
	stays.Join("busy")
	var users []*rig.RoomUser
	for i := range n {
		users = append(users, rig.EnterAs(t, g[i%3].URL, roomApp, fmt.Sprintf("user-%d", i)))
	}
	const rounds = 20
	done := make(chan struct{})
	for i, u := range users {
		go func() {
			defer func() { done <- struct{}{} }()
			for range rounds {
				if got := u.TryJoin("busy"); got != "ACCEPTED" {
					t.Errorf("user-%d joins: %s", i, got)
				}
				if got := u.TryLeave("busy"); got != "ACCEPTED" {
					t.Errorf("user-%d leaves: %s", i, got)
				}
			}
		}()
	}
	for range users {
		<-done
	}
	there := map[string]bool{}
	last := rig.EnterAs(t, g[1].URL, roomApp, "last")
	last.Join("busy", "stays")
	for event := ""; event != "JOINED last"; {
		event = stays.Event()
		var what, who string
		if _, err := fmt.Sscanf(event, "%s %s", &what, &who); err != nil {
			t.Fatalf("event %q: %v", event, err)
		}
		if joined := what == "JOINED"; there[who] == joined || what != "JOINED" && what != "LEFT" {
			t.Errorf("%s, present: %v", event, there[who])
		}
		there[who] = what == "JOINED"
	}
	for who, is := range there {
		if is != (who == "last") {
			t.Errorf("%s is present: %v", who, is)
		}
	}
	wantMessagesDelivered(t, "busy", map[string]*rig.RoomUser{"stays": stays, "last": last})
	stays.Close()
	last.Close()
	wantNoRoom(t, s)
}

// A pod is killed: the others are sent once, within 15 s, the ends of its members' streams and their
// departure.
func TestMembersOfKilledPodLeaveOnce(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 3)
	alice, bob, carol := rig.EnterAs(t, g[0].URL, roomApp, "alice"), rig.EnterAs(t, g[1].URL, roomApp, "bob"), rig.EnterAs(t, g[2].URL, roomApp, "carol")
	alice.Join("room")
	bob.Join("room", "alice")
	carol.Join("room", "alice, bob")
	alice.WantEvents("JOINED bob", "JOINED carol")
	bob.WantEvents("JOINED carol")
	publishIn(t, bob, "room-bob-1", "room")
	alice.WantEvents("PUBLISHED bob room-bob-1")
	carol.WantEvents("PUBLISHED bob room-bob-1")
	alice.Play("alice-bob", "room-bob-1", rig.NewPlayer(t, rig.PeerOptions{}))
	rig.Eventually(t, 40*time.Second, "the pods have seen Redis for long enough to take over", func() bool {
		return time.Since(g[2].Started) > 16*time.Second
	})
	g[1].Kill()
	since := time.Now()
	for _, u := range []*rig.RoomUser{alice, carol} {
		u.WantEvents("UNPUBLISHED bob room-bob-1", "LEFT bob")
		took := time.Since(since)
		if t.Logf("notified after %v", took); took > 15*time.Second {
			t.Errorf("notified only after %v", took)
		}
	}
	alice.WantStatus("alice-bob", "FAILED", "Stopped by publisher stop")
	back := rig.EnterAs(t, g[2].URL, roomApp, "bob")
	back.Join("room", "alice, carol")
	alice.WantEvents("JOINED bob")
	carol.WantEvents("JOINED bob")
	wantMessagesDelivered(t, "room", map[string]*rig.RoomUser{"alice": alice, "bob": back, "carol": carol})
	alice.Close()
	back.Close()
	carol.Close()
	s.WantClean(t)
	wantNoRoom(t, s)
}

// sessionValues returns the values of all sessions in Redis.
const sessionValues = `local all = {} for _, key in ipairs(redis.call('KEYS', 'wcs:*:session:*')) do all[#all+1] = redis.call('GET', key) end return all`

// A client with keepAlive loses its socket, or its pod, and resumes its session on another pod: it stays a
// member and is sent the members.
func TestResumedSessionStaysMember(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(*rig.RoomUser, *rig.Gateway){
		"socket lost": func(u *rig.RoomUser, _ *rig.Gateway) { u.Drop() },
		"pod killed":  func(_ *rig.RoomUser, g *rig.Gateway) { g.Kill() },
		"pod stopped": func(u *rig.RoomUser, g *rig.Gateway) { g.Terminate(); _ = u.AwaitClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, s := podsWithLongTimeouts(t, 2)
			alice, token := rig.LoginKeptAs(rig.Dial(t, g[0].URL), roomApp, "alice", "")
			bob, carol := rig.EnterAs(t, g[1].URL, roomApp, "bob"), rig.EnterAs(t, g[1].URL, roomApp, "carol")
			bob.Join("room")
			alice.Join("room", "bob")
			bob.WantEvents("JOINED alice")
			publishIn(t, alice, "room-alice-1", "room")
			bob.WantEvents("PUBLISHED alice room-alice-1")
			rig.Eventually(t, 20*time.Second, "the stream is in the session's registration", func() bool {
				return strings.Contains(s.Redis.CLI("--raw", "EVAL", sessionValues, "0"), `"inRoom":"room"`)
			})
			gone(alice, g[0])
			back, _ := rig.LoginKeptAs(rig.Dial(t, g[1].URL), roomApp, "alice", token)
			back.WantStatus("room-alice-1", "PUBLISHING", "")
			back.WantEvents("JOINED bob")
			carol.Join("room", "bob, alice room-alice-1")
			back.WantEvents("JOINED carol")
			bob.WantEvents("JOINED carol")
			wantMessagesDelivered(t, "room", map[string]*rig.RoomUser{"alice": back, "bob": bob, "carol": carol})
			back.Unpublish("room-alice-1", "room-alice-1")
			bob.WantEvents("UNPUBLISHED alice room-alice-1")
			back.Leave("room")
			bob.WantEvents("LEFT alice")
			back.Close()
			bob.Close()
			carol.Close()
			s.WantClean(t)
			rig.Eventually(t, 20*time.Second, "no member is left in Redis", func() bool { // the dead pod's index is, for its lease
				return strings.TrimSpace(s.Redis.CLI("--raw", "KEYS", "wcs:*{room:*:members")) == ""
			})
		})
	}
}

// Redis is restarted and has lost everything: members are sent no event, and the room continues.
func TestRoomContinuesWithEmptyRedis(t *testing.T) {
	t.Parallel()
	g, s := podsWithLongTimeouts(t, 3)
	logins := map[string]*rig.RoomUser{}
	for i, login := range []string{"alice", "bob", "carol"} {
		logins[login] = rig.EnterAs(t, g[i].URL, roomApp, login)
		if got := logins[login].TryJoin("room"); got != "ACCEPTED" {
			t.Fatalf("%s: %s", login, got)
		}
	}
	publishIn(t, logins["bob"], "room-bob-1", "room")
	logins["alice"].WantEvents("STATE", "JOINED bob", "JOINED carol", "PUBLISHED bob room-bob-1")
	logins["bob"].WantEvents("STATE alice", "JOINED carol")
	logins["carol"].WantEvents("STATE alice, bob", "PUBLISHED bob room-bob-1")
	wantMessagesDelivered(t, "room", logins)
	since := time.Now()
	s.Redis.Kill()
	if got := rig.EnterAs(t, g[0].URL, roomApp, "dave").TryJoin("room"); got != "FAILED Rooms are not available" {
		t.Errorf("a join while Redis is away: %s", got)
	}
	s.Redis.Restart() // it kept nothing
	rig.Eventually(t, 40*time.Second, "all members are registered again", func() bool {
		return strings.TrimSpace(s.Redis.CLI("HLEN", "wcs:default:{room:roomApp/room}:members")) == "3"
	})
	t.Logf("registered again after %v", time.Since(since))
	if *more { // the fakes of package gateway have this with a virtual clock
		rig.Eventually(t, time.Minute, "missing members would have left", func() bool { return time.Since(since) > 35*time.Second })
	}
	wantMessagesDelivered(t, "room", logins)
	dave := rig.EnterAs(t, g[0].URL, roomApp, "dave")
	dave.Join("room", "alice, bob room-bob-1, carol")
	for _, u := range logins {
		u.WantEvents("JOINED dave")
	}
	for _, u := range logins {
		u.Close()
	}
	dave.Close()
	wantNoRoom(t, s)
}

// A session is resumed on another pod as soon as its client was admitted to a room, before the session's
// record has the room: the client stays a member.
func TestSessionResumedAtOnceStaysMemberOfNewRoom(t *testing.T) {
	t.Parallel()
	g, s := podsWithLongTimeouts(t, 2)
	bob := rig.EnterAs(t, g[1].URL, roomApp, "bob")
	for i := range 5 {
		room := fmt.Sprint("room-", i)
		bob.Join(room)
		alice, token := rig.LoginKeptAs(rig.Dial(t, g[0].URL), roomApp, "alice", "")
		digits := strings.Split(token, "/")[2] // of its id
		rig.Eventually(t, 20*time.Second, "the session is registered", func() bool {
			return strings.Contains(s.Redis.CLI("--raw", "KEYS", "wcs:*:session:*"), digits)
		})
		socket := rig.Dial(t, g[1].URL)
		if got := alice.TryJoin(room); got != "ACCEPTED" {
			t.Fatalf("join: %s", got)
		}
		back, _ := rig.LoginKeptAs(socket, roomApp, "alice", token)
		if got := back.Say(room, "bob", "hello"); got != "ACCEPTED" {
			t.Errorf("attempt %d: a message of the member: %s", i, got)
		}
		bob.WantEvents("JOINED alice", "MESSAGE alice: hello")
		back.Leave(room)
		bob.WantEvents("LEFT alice")
		bob.Leave(room)
		back.Close()
	}
	bob.Close()
	s.WantClean(t)
}
