package statetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"wcsgateway/state"
)

// Bounds of the departures that a room keeps, as in state.Redis with the default configuration.
const (
	departureTTL  = 2 * time.Minute
	maxDepartures = 200
)

// departures are the logins that left a room.
type departures struct {
	all          []state.Departure // oldest first
	droppedUntil time.Time
}

// add notes that a member left.
func (d *departures) add(m state.Member) {
	now := time.Now()
	d.all = slices.DeleteFunc(d.all, func(old state.Departure) bool { return now.Sub(old.At) >= departureTTL })
	joined := m.JoinedAt
	d.all = slices.DeleteFunc(d.all, func(old state.Departure) bool {
		if old.Login == m.Login {
			joined = old.JoinedAt
		}
		return old.Login == m.Login
	})
	d.all = append(d.all, state.Departure{Login: m.Login, JoinedAt: joined, At: now})
	if n := len(d.all) - maxDepartures; n > 0 {
		d.droppedUntil = d.all[n-1].At
		d.all = slices.Delete(d.all, 0, n)
	}
}

// departed notes that a member left a room. It needs f.mu.
func (f *Fake) departed(room state.Room, m state.Member) {
	if f.left[room] == nil {
		f.left[room] = new(departures)
	}
	f.left[room].add(m)
}

// SyncRoom is that of state.Redis.
func (p *Pod) SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error) {
	return call(ctx, p, "sync_room", true, func() (state.RoomState, error) {
		if p.f.rooms[u.Room] == nil {
			p.f.rooms[u.Room] = make(map[string]state.Member)
		}
		room := p.f.rooms[u.Room]
		s := state.RoomState{Self: p.owner, Outcomes: make(map[string]state.Outcome)}
		for _, m := range u.Remove {
			if has, ok := room[m.Login]; ok && has.Owner == p.owner && has.ID == m.ID {
				delete(room, m.Login)
				p.f.departed(u.Room, has)
				s.Changed = true
			}
		}
		for _, m := range u.Put {
			has, had := room[m.Login]
			outcome := state.OutcomeHad
			switch {
			case !had && len(room) >= u.MaxMembers && m.From == (state.Owner{}):
				outcome = state.OutcomeFull
			case !had:
				outcome = state.OutcomeNew
			case has.ID != m.ID, has.Owner != p.owner && has.Owner != m.From:
				outcome = state.OutcomeTaken
			}
			s.Outcomes[m.ID] = outcome
			m.Owner, m.From = p.owner, state.Owner{}
			if (outcome == state.OutcomeNew || outcome == state.OutcomeHad) && !same(has, m) {
				room[m.Login] = m
				s.Changed = true
			}
		}
		for _, m := range room {
			s.Members = append(s.Members, m)
		}
		state.SortMembers(s.Members)
		if d := p.f.left[u.Room]; u.ReadDepartures && d != nil {
			s.Departures, s.DroppedUntil = slices.Clone(d.all), d.droppedUntil
			state.SortDepartures(s.Departures)
		}
		return s, nil
	})
}

func same(a, b state.Member) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// releaseRooms takes a dead owner's members out of all rooms. It needs f.mu.
func (f *Fake) releaseRooms(dead state.Owner) (orphans []state.Orphan) {
	for room, members := range f.rooms {
		o := state.Orphan{Room: &room, Pods: []string{}}
		released := false
		for login, m := range members {
			if m.Owner == dead {
				delete(members, login)
				f.departed(room, m)
				released = true
			} else if !slices.Contains(o.Pods, m.Owner.Pod) {
				o.Pods = append(o.Pods, m.Owner.Pod)
			}
		}
		if released {
			orphans = append(orphans, o)
		}
	}
	return orphans
}
