package statetest

import (
	"context"
	"fmt"
	"slices"

	"wcsgateway/state"
)

// SyncRoom is that of state.Redis.
func (p *Pod) SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error) {
	const op = "sync_room"
	if err := p.f.enter(ctx, op, p, true); err != nil {
		return state.RoomState{}, err
	}
	defer p.f.mu.Unlock()
	if p.f.rooms[u.Room] == nil {
		p.f.rooms[u.Room] = make(map[string]state.Member)
	}
	room := p.f.rooms[u.Room]
	s := state.RoomState{Self: p.owner, Outcomes: make(map[string]state.Outcome)}
	for _, m := range u.Remove {
		if has, ok := room[m.Login]; ok && has.Owner == p.owner && has.ID == m.ID {
			delete(room, m.Login)
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
	return s, nil
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
