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

// enter puts members into the lobby.
func (n node) enter(put ...state.Member) state.RoomState {
	n.t.Helper()
	return n.sync(state.RoomUpdate{Room: lobby, Put: put, MaxMembers: 10})
}

// leave takes members out of the lobby.
func (n node) leave(remove ...state.Member) state.RoomState {
	n.t.Helper()
	return n.sync(state.RoomUpdate{Room: lobby, Remove: remove})
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

func testRoom(p *pair) {
	alice, bob := memberOf("alice", "1"), memberOf("bob", "22")
	wantMembers(p.t, p.b.enter())
	s := p.a.enter(alice)
	wantOutcome(p.t, s, "1", state.OutcomeNew, true)
	wantMembers(p.t, s, alice)
	if owner := s.Members[0].Owner; owner.Pod != podA || owner.Epoch == 0 {
		p.t.Errorf("owner is %v, want a life of %s", owner, podA)
	}
	wantOutcome(p.t, p.a.enter(alice), "1", state.OutcomeHad, false)
	s = p.b.enter(bob)
	wantOutcome(p.t, s, "22", state.OutcomeNew, true)
	wantMembers(p.t, s, alice, bob)

	alice.Streams = []state.RoomStream{{Name: "lobby-alice", MediaID: "m1"}}
	alice.Failed = []string{"m0"}
	wantOutcome(p.t, p.a.enter(alice), "1", state.OutcomeHad, true)
	wantMembers(p.t, p.b.enter(), alice, bob)
	wantMembers(p.t, p.b.sync(state.RoomUpdate{Room: state.Room{App: "other", Name: "lobby"}}))

	s = p.b.leave(alice, memberOf("bob", "x")) // neither is its own
	wantOutcome(p.t, s, "", "", false)
	wantMembers(p.t, s, alice, bob)
	for _, changed := range []bool{true, false} {
		s = p.a.leave(alice)
		wantOutcome(p.t, s, "", "", changed)
		wantMembers(p.t, s, bob)
	}
	p.b.leave(bob)
	wantMembers(p.t, p.a.enter())
}

func testRoomLogin(p *pair) {
	alice, second := memberOf("alice", "1"), memberOf("alice", "2")
	p.a.enter(alice)
	for _, n := range []node{p.a, p.b} {
		s := n.enter(second)
		wantOutcome(p.t, s, "2", state.OutcomeTaken, false)
		wantMembers(p.t, s, alice)
	}
	wantOutcome(p.t, p.b.enter(alice), "1", state.OutcomeTaken, false) // the same, but another pod's
	// A login that leaves and comes back at once is a new member.
	s := p.a.sync(state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}, Put: []state.Member{second}, MaxMembers: 10})
	wantOutcome(p.t, s, "2", state.OutcomeNew, true)
	wantMembers(p.t, s, second)
	p.a.leave(alice) // a repeat that comes late
	wantMembers(p.t, p.b.enter(), second)
}

func testRoomFull(p *pair) {
	alice, bob, eve := memberOf("alice", "1"), memberOf("bob", "2"), memberOf("eve", "3")
	update := state.RoomUpdate{Room: lobby, Put: []state.Member{alice, bob, eve}, MaxMembers: 2}
	for range 2 {
		s := p.a.sync(update)
		if s.Outcomes["3"] != state.OutcomeFull || s.Outcomes["1"] == state.OutcomeFull || s.Outcomes["2"] == state.OutcomeFull {
			p.t.Fatalf("outcomes %v", s.Outcomes)
		}
		wantMembers(p.t, s, alice, bob)
	}
	update = state.RoomUpdate{Room: lobby, Put: []state.Member{eve}, MaxMembers: 2}
	wantOutcome(p.t, p.b.sync(update), "3", state.OutcomeFull, false)
	p.a.leave(bob)
	wantOutcome(p.t, p.b.sync(update), "3", state.OutcomeNew, true)
}

func testRoomAdopt(p *pair) {
	alice := memberOf("alice", "1")
	was := p.a.enter(alice).Members[0].Owner
	adopted := alice
	adopted.From = was
	s := p.b.enter(adopted)
	wantOutcome(p.t, s, "1", state.OutcomeHad, true)
	wantMembers(p.t, s, alice)
	if pod := s.Members[0].Owner.Pod; pod != podB {
		p.t.Errorf("owner is %s", pod)
	}
	wantOutcome(p.t, p.a.enter(alice), "1", state.OutcomeTaken, false)
	wantMembers(p.t, p.a.leave(alice), alice)
	wantOutcome(p.t, p.b.enter(adopted), "1", state.OutcomeHad, false)
}

// hasDepartures requires the departures of the lobby, as "login joinedAt-nanoseconds", in their order.
func (n node) hasDepartures(want ...string) {
	n.t.Helper()
	s := n.sync(state.RoomUpdate{Room: lobby, ReadDepartures: true})
	var got []string
	for _, d := range s.Departures {
		if since := time.Since(d.At); since < -time.Second || since > time.Minute {
			n.t.Errorf("%s left %v ago", d.Login, since)
		}
		got = append(got, fmt.Sprint(d.Login, " ", d.JoinedAt.Nanosecond()))
	}
	if !slices.Equal(got, want) || !s.DroppedUntil.IsZero() {
		n.t.Errorf("departures %q, dropped until %v, want %q", got, s.DroppedUntil, want)
	}
}

func testRoomDepartures(p *pair) {
	alice, bob, other := memberOf("alice", "1"), memberOf("bob b", "22"), memberOf("alice", "333")
	p.a.enter(alice)
	p.b.enter(bob)
	p.a.hasDepartures()
	p.b.leave(alice, other) // neither is its own
	p.a.hasDepartures()
	if s := p.b.leave(bob); s.Departures != nil {
		p.t.Errorf("departures %v, which were not asked for", s.Departures)
	}
	time.Sleep(2 * time.Millisecond)
	p.a.sync(state.RoomUpdate{Room: lobby, Remove: []state.Member{alice}, Put: []state.Member{other}, MaxMembers: 10})
	for _, n := range []node{p.a, p.b} {
		n.hasDepartures("bob b 2000", "alice 1000")
	}
	time.Sleep(2 * time.Millisecond)
	p.b.enter(bob)
	p.a.leave(other)
	p.a.leave(other) // again
	p.b.hasDepartures("bob b 2000", "alice 1000")
	if s := p.b.sync(state.RoomUpdate{Room: state.Room{App: "other", Name: "lobby"}, ReadDepartures: true}); s.Departures != nil {
		p.t.Errorf("departures of another room: %v", s.Departures)
	}
}

func testRoomDeparturesBounded(p *pair) {
	const n, kept = 203, 200
	var last state.RoomState
	for i := range n {
		m := memberOf(fmt.Sprintf("user-%d", i), "1")
		p.a.enter(m)
		last = p.a.sync(state.RoomUpdate{Room: lobby, Remove: []state.Member{m}, ReadDepartures: true})
		if i == kept-1 && (len(last.Departures) != kept || !last.DroppedUntil.IsZero()) {
			p.t.Errorf("%d departures, dropped until %v", len(last.Departures), last.DroppedUntil)
		}
	}
	if len(last.Departures) != kept {
		p.t.Fatalf("%d departures, want %d", len(last.Departures), kept)
	}
	if last.DroppedUntil.IsZero() || last.DroppedUntil.After(last.Departures[0].At) {
		p.t.Errorf("dropped until %v, the oldest that is left is of %v", last.DroppedUntil, last.Departures[0].At)
	}
}

func testRoomNames(p *pair) {
	for i, name := range []string{"a", "a b", "{x}", "ü/ä", "-", "a:b"} {
		r := state.Room{App: "app/" + name, Name: name}
		m := memberOf(name, fmt.Sprint(i))
		s := p.a.sync(state.RoomUpdate{Room: r, Put: []state.Member{m}, MaxMembers: 1})
		wantMembers(p.t, s, m)
		wantMembers(p.t, p.b.sync(state.RoomUpdate{Room: r}), m)
		p.a.sync(state.RoomUpdate{Room: r, Remove: []state.Member{m}})
		wantMembers(p.t, p.b.sync(state.RoomUpdate{Room: r}))
	}
}

func testRoomRace(p *pair) {
	states := make([]state.RoomState, 16)
	errs := make([]error, len(states))
	var work sync.WaitGroup
	for i := range states {
		work.Go(func() {
			n := []node{p.a, p.b}[i%2]
			states[i], errs[i] = n.SyncRoom(p.t.Context(), state.RoomUpdate{
				Room: lobby, Put: []state.Member{memberOf("alice", fmt.Sprint(i))}, MaxMembers: 10,
			})
		})
	}
	work.Wait()
	won := 0
	for i, s := range states {
		wantErr(p.t, errs[i], nil)
		if s.Outcomes[fmt.Sprint(i)] == state.OutcomeNew {
			won++
		}
	}
	if won != 1 {
		p.t.Errorf("%d have the login", won)
	}
}
