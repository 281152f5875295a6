package statetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wcsgateway/state"
)

var lobby = state.Room{App: "roomApp", Name: "lobby"}

// memberOf returns a member; the length of its id determines when it joined.
func memberOf(login, id string) state.Member {
	return state.Member{
		Login: login, ID: id, Session: "/10.0.0.1:1234/" + id, JoinedAt: time.Date(2026, 1, 2, 3, 4, 5, len(id)*1000, time.UTC),
	}
}

func sync1(t *testing.T, n Node, put ...state.Member) state.RoomState {
	t.Helper()
	return syncWith(t, n, state.RoomUpdate{Room: lobby, Put: put, MaxMembers: 10})
}

func syncWith(t *testing.T, n Node, u state.RoomUpdate) state.RoomState {
	t.Helper()
	s, err := n.SyncRoom(t.Context(), u)
	must(t, err)
	return s
}

func wantMembers(t *testing.T, s state.RoomState, want ...state.Member) {
	t.Helper()
	if diff := cmp.Diff(want, s.Members, ignoreOwner, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("members (-want +got):\n%s", diff)
	}
}

func wantOutcome(t *testing.T, s state.RoomState, id string, want state.Outcome, changed bool) {
	t.Helper()
	if s.Outcomes[id] != want || s.Changed != changed {
		t.Fatalf("outcomes %v, changed %v; want %s of %s, changed %v", s.Outcomes, s.Changed, want, id, changed)
	}
}

func testRoom(t *testing.T, p *pair) {
	alice, bob := memberOf("alice", "1"), memberOf("bob", "22")
	wantMembers(t, sync1(t, p.b))
	s := sync1(t, p.a, alice)
	wantOutcome(t, s, "1", state.OutcomeNew, true)
	wantMembers(t, s, alice)
	if owner := s.Members[0].Owner; owner.Pod != podA || owner.Epoch == 0 {
		t.Errorf("owner is %v, want a life of %s", owner, podA)
	}
	wantOutcome(t, sync1(t, p.a, alice), "1", state.OutcomeHad, false)
	s = sync1(t, p.b, bob)
	wantOutcome(t, s, "22", state.OutcomeNew, true)
	wantMembers(t, s, alice, bob)

	alice.Streams = []state.RoomStream{{Name: "lobby-alice", MediaID: "m1"}}
	alice.Failed = []string{"m0"}
	wantOutcome(t, sync1(t, p.a, alice), "1", state.OutcomeHad, true)
	wantMembers(t, sync1(t, p.b), alice, bob)
	wantMembers(t, syncWith(t, p.b, state.RoomUpdate{Room: state.Room{App: "other", Name: "lobby"}}))

	s = syncWith(t, p.b, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice, memberOf("bob", "x")}}) // neither is its own
	wantOutcome(t, s, "", "", false)
	wantMembers(t, s, alice, bob)
	for _, changed := range []bool{true, false} {
		s = syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}})
		wantOutcome(t, s, "", "", changed)
		wantMembers(t, s, bob)
	}
	syncWith(t, p.b, state.RoomUpdate{Room: lobby, Remove: []state.Member{bob}})
	wantMembers(t, sync1(t, p.a))
}

func testRoomLogin(t *testing.T, p *pair) {
	alice, second := memberOf("alice", "1"), memberOf("alice", "2")
	sync1(t, p.a, alice)
	for _, n := range []Node{p.a, p.b} {
		s := sync1(t, n, second)
		wantOutcome(t, s, "2", state.OutcomeTaken, false)
		wantMembers(t, s, alice)
	}
	wantOutcome(t, sync1(t, p.b, alice), "1", state.OutcomeTaken, false) // the same, but another pod's
	// A login that leaves and comes back at once is a new member.
	s := syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}, Put: []state.Member{second}, MaxMembers: 10})
	wantOutcome(t, s, "2", state.OutcomeNew, true)
	wantMembers(t, s, second)
	syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}}) // a repeat that comes late
	wantMembers(t, sync1(t, p.b), second)
}

func testRoomFull(t *testing.T, p *pair) {
	alice, bob, eve := memberOf("alice", "1"), memberOf("bob", "2"), memberOf("eve", "3")
	update := state.RoomUpdate{Room: lobby, Put: []state.Member{alice, bob, eve}, MaxMembers: 2}
	for range 2 {
		s := syncWith(t, p.a, update)
		if s.Outcomes["3"] != state.OutcomeFull || s.Outcomes["1"] == state.OutcomeFull || s.Outcomes["2"] == state.OutcomeFull {
			t.Fatalf("outcomes %v", s.Outcomes)
		}
		wantMembers(t, s, alice, bob)
	}
	update = state.RoomUpdate{Room: lobby, Put: []state.Member{eve}, MaxMembers: 2}
	wantOutcome(t, syncWith(t, p.b, update), "3", state.OutcomeFull, false)
	syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{bob}})
	wantOutcome(t, syncWith(t, p.b, update), "3", state.OutcomeNew, true)
}

func testRoomAdopt(t *testing.T, p *pair) {
	alice := memberOf("alice", "1")
	was := sync1(t, p.a, alice).Members[0].Owner
	adopted := alice
	adopted.From = was
	s := sync1(t, p.b, adopted)
	wantOutcome(t, s, "1", state.OutcomeHad, true)
	wantMembers(t, s, alice)
	if pod := s.Members[0].Owner.Pod; pod != podB {
		t.Errorf("owner is %s", pod)
	}
	wantOutcome(t, sync1(t, p.a, alice), "1", state.OutcomeTaken, false)
	wantMembers(t, syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}}), alice)
	wantOutcome(t, sync1(t, p.b, adopted), "1", state.OutcomeHad, false)
}

// departuresOf returns the departures of the lobby as "login joinedAt-nanoseconds", in their order.
func departuresOf(t *testing.T, n Node) (all []string, droppedUntil time.Time) {
	t.Helper()
	s := syncWith(t, n, state.RoomUpdate{Room: lobby, ReadDepartures: true})
	for _, d := range s.Departures {
		if since := time.Since(d.At); since < -time.Second || since > time.Minute {
			t.Errorf("%s left %v ago", d.Login, since)
		}
		all = append(all, fmt.Sprint(d.Login, " ", d.JoinedAt.Nanosecond()))
	}
	return all, s.DroppedUntil
}

func wantDepartures(t *testing.T, n Node, want ...string) {
	t.Helper()
	got, droppedUntil := departuresOf(t, n)
	if !slices.Equal(got, want) || !droppedUntil.IsZero() {
		t.Errorf("departures %q, dropped until %v, want %q", got, droppedUntil, want)
	}
}

func testRoomDepartures(t *testing.T, p *pair) {
	alice, bob, other := memberOf("alice", "1"), memberOf("bob b", "22"), memberOf("alice", "333")
	sync1(t, p.a, alice)
	sync1(t, p.b, bob)
	wantDepartures(t, p.a)
	syncWith(t, p.b, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice, other}}) // neither is its own
	wantDepartures(t, p.a)
	if s := syncWith(t, p.b, state.RoomUpdate{Room: lobby, Remove: []state.Member{bob}}); s.Departures != nil {
		t.Errorf("departures %v, which were not asked for", s.Departures)
	}
	time.Sleep(2 * time.Millisecond)
	syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}, Put: []state.Member{other}, MaxMembers: 10})
	for _, n := range []Node{p.a, p.b} {
		wantDepartures(t, n, "bob b 2000", "alice 1000")
	}
	time.Sleep(2 * time.Millisecond)
	sync1(t, p.b, bob)
	syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{other}})
	syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{other}}) // again
	wantDepartures(t, p.b, "bob b 2000", "alice 1000")
	if s := syncWith(t, p.b, state.RoomUpdate{Room: state.Room{App: "other", Name: "lobby"}, ReadDepartures: true}); s.Departures != nil {
		t.Errorf("departures of another room: %v", s.Departures)
	}
}

func testRoomDeparturesBounded(t *testing.T, p *pair) {
	const n, kept = 203, 200
	var last state.RoomState
	for i := range n {
		m := memberOf(fmt.Sprintf("user-%d", i), "1")
		sync1(t, p.a, m)
		last = syncWith(t, p.a, state.RoomUpdate{Room: lobby, Remove: []state.Member{m}, ReadDepartures: true})
		if i == kept-1 && (len(last.Departures) != kept || !last.DroppedUntil.IsZero()) {
			t.Errorf("%d departures, dropped until %v", len(last.Departures), last.DroppedUntil)
		}
	}
	if len(last.Departures) != kept {
		t.Fatalf("%d departures, want %d", len(last.Departures), kept)
	}
	if last.DroppedUntil.IsZero() || last.DroppedUntil.After(last.Departures[0].At) {
		t.Errorf("dropped until %v, the oldest that is left is of %v", last.DroppedUntil, last.Departures[0].At)
	}
}

func testRoomNames(t *testing.T, p *pair) {
	for i, name := range []string{"a", "a b", "{x}", "ü/ä", "-", "a:b"} {
		r := state.Room{App: "app/" + name, Name: name}
		m := memberOf(name, fmt.Sprint(i))
		s := syncWith(t, p.a, state.RoomUpdate{Room: r, Put: []state.Member{m}, MaxMembers: 1})
		wantMembers(t, s, m)
		wantMembers(t, syncWith(t, p.b, state.RoomUpdate{Room: r}), m)
		syncWith(t, p.a, state.RoomUpdate{Room: r, Remove: []state.Member{m}})
		wantMembers(t, syncWith(t, p.b, state.RoomUpdate{Room: r}))
	}
}

func testRoomRace(t *testing.T, p *pair) {
	states := make([]state.RoomState, 16)
	errs := make([]error, len(states))
	var work sync.WaitGroup
	for i := range states {
		work.Go(func() {
			node := []Node{p.a, p.b}[i%2]
			states[i], errs[i] = node.SyncRoom(t.Context(), state.RoomUpdate{
				Room: lobby, Put: []state.Member{memberOf("alice", fmt.Sprint(i))}, MaxMembers: 10,
			})
		})
	}
	work.Wait()
	won := 0
	for i, s := range states {
		must(t, errs[i])
		if s.Outcomes[fmt.Sprint(i)] == state.OutcomeNew {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d have the login", won)
	}
}
