package gateway

import (
	"slices"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// sync writes what there is to say about this pod's members, reads the room and tells them what is new.
func (one *room) sync() error {
	r := one.rooms
	u, put, due := one.due()
	if !due {
		return nil
	}
	ctx, cancel := r.g.withTimeout(cleanup.AttemptTimeout) // two calls to Redis, which have their own
	got, err := r.g.deps.Rooms.SyncRoom(ctx, u)
	cancel()
	if err != nil {
		one.failed(put, err)
		return err
	}
	one.tellPods(one.learn(u, put, got))
	return nil
}

// due gives what is to be written, if the room is to be looked at.
func (one *room) due() (u state.RoomUpdate, put []*member, due bool) {
	r := one.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	due, one.stale = one.stale, false
	u = state.RoomUpdate{Room: one.key, Remove: slices.Clone(one.gone), MaxMembers: r.g.cfg.Rooms.MaxMembers}
	for _, m := range one.members {
		u.ReadDepartures = u.ReadDepartures || m.missed != nil && m.told == nil
		put = append(put, m)
		u.Put = append(u.Put, m.rec)
	}
	return u, put, due
}

// failed refuses those who wait to be let in, and leaves everything else to the next time.
func (one *room) failed(put []*member, err error) {
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	one.stale, one.untold = true, true
	for _, m := range put {
		if m.joined != nil && one.drop(m) {
			one.gone = append(one.gone, m.rec) // it may have been written
			m.answer(roomsAway(err))
		}
	}
	one.giveUp(roomsAway(err))
}

// answer answers a join. It needs rooms.mu.
func (m *member) answer(err error) {
	joined := m.joined
	m.joined = nil
	m.sess.loop.Post(func() { joined(err) })
}

// learn takes the room as it is now, and gives the other pods that must look at it.
func (one *room) learn(u state.RoomUpdate, put []*member, got state.RoomState) (pods []string) {
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	one.gone = slices.DeleteFunc(one.gone, func(m state.Member) bool {
		return slices.ContainsFunc(u.Remove, func(removed state.Member) bool { return removed.ID == m.ID })
	})
	lost := one.settle(put, got)
	view := newRoomView(got.Members)
	if (lost || one.suspect) && one.view != nil {
		one.doubts.add(one.missing(view), time.Now().Add(roomDoubt))
	}
	if len(one.doubts) > 0 {
		view = newRoomView(one.doubts.settle(got.Members, time.Now()))
	}
	one.strays(got)
	one.view = view
	one.tellMembers(got)
	if got.Changed || one.untold {
		pods = one.otherPods()
	}
	one.untold, one.suspect = false, false
	return pods
}

// missing are other pods' members that were in the room before. It needs rooms.mu, as all below.
func (one *room) missing(view *roomView) (missing []state.Member) {
	for _, m := range one.view.members {
		if _, there := view.byLogin[m.Login]; !there && m.Owner.Pod != one.rooms.g.cfg.Pod {
			missing = append(missing, m)
		}
	}
	return missing
}

// settle does with each member what has become of it, and tells whether the record had lost some of them.
func (one *room) settle(put []*member, got state.RoomState) (lost bool) {
	for _, m := range put {
		if one.members[m.rec.Login] != m {
			continue // it has left meanwhile
		}
		switch outcome := got.Outcomes[m.rec.ID]; outcome {
		case state.OutcomeHad, state.OutcomeNew:
			lost = lost || outcome == state.OutcomeNew && m.in
			m.in = true
			if m.going {
				one.drop(m)
				one.gone, one.stale = append(one.gone, m.rec), true
			}
		case state.OutcomeTaken, state.OutcomeFull:
			one.shutOut(m, outcome, got)
		}
	}
	return lost
}

// shutOut ends a membership that the record does not have.
func (one *room) shutOut(m *member, outcome state.Outcome, got state.RoomState) {
	one.drop(m)
	if m.joined == nil { // Redis had lost the room, and somebody else has the login since; or the session is another pod's
		one.rooms.g.log.Warn().Str("room", one.key.Name).Str("app", one.key.App).Str("session", m.rec.Session).
			Msg("a member of a room is not in it any more")
		one.membershipEnded(m, "Login is not in the room any more")
		return
	}
	if outcome == state.OutcomeFull {
		m.answer(errRoomFull)
		return
	}
	for _, other := range got.Members {
		if other.Login == m.rec.Login {
			m.answer(&loginTaken{other})
			return
		}
	}
	m.answer(errLoginInRoom) // its record cannot be read
}

// membershipEnded tells a member that it is one no longer, and why. The room API has no event of its own for that: FAILED without a stream
// stands for the room.
func (one *room) membershipEnded(m *member, why string) {
	s, frame := m.sess, wcs.RoomEvent(one.key.Name, wcs.RoomFailed, why)
	s.loop.Post(func() {
		s.forgetRoom(one.key.Name, m)
		s.send(frame)
	})
}

// strays finds members that the record has as this pod's and that are not: what a call that was given up has written all the same, and
// those that no other pod has taken over in time. The next look removes them.
func (one *room) strays(got state.RoomState) {
	now := time.Now()
	for _, m := range got.Members {
		local := one.members[m.Login]
		until, moving := one.moved[m.ID]
		switch {
		case m.Owner != got.Self:
			delete(one.moved, m.ID)
		case local != nil && local.rec.ID == m.ID, moving && now.Before(until):
		case !slices.ContainsFunc(one.gone, func(gone state.Member) bool { return gone.ID == m.ID }):
			one.gone = append(one.gone, m)
		}
	}
	for id, until := range one.moved {
		if now.After(until) {
			delete(one.moved, id)
		}
	}
}

// tellMembers tells each member what it does not know of the view.
func (one *room) tellMembers(got state.RoomState) {
	news := make(map[*roomView][]roomEvent) // by what was known before
	for login, m := range one.members {
		switch {
		case !m.in || m.away:
		case m.told == nil && m.missed != nil:
			one.resync(m, got)
		case m.told == nil:
			m.told = one.view
			m.answer(nil)
			m.tell([][]byte{one.view.state(one.key.Name, login)})
		case m.told != one.view:
			events, made := news[m.told]
			if !made {
				events = one.view.since(m.told, one.key.Name)
				news[m.told] = events
			}
			m.told = one.view
			m.tellEvents(events)
		}
	}
	unread := one.unread
	one.unread = nil
	for _, t := range unread {
		one.route(t)
	}
	waiting := one.waiting
	one.waiting = nil
	for _, t := range waiting {
		switch _, known := one.view.byLogin[t.From]; {
		case known:
			one.deliver(t)
		case one.stale: // the room as it was before the text came, perhaps
			one.hold(t)
		default: // its sender has left
		}
	}
}

// resync sends a resumed member what it may have missed. If more logins left than the room has kept, it cannot know which: its
// membership ends.
func (one *room) resync(m *member, got state.RoomState) {
	if got.DroppedUntil.After(m.missed.from) {
		one.drop(m)
		one.leaves(m)
		one.membershipEnded(m, "Too many members left while the client was away")
		return
	}
	m.told, m.sentAt = one.view, time.Now()
	m.tellEvents(one.view.resync(got.Departures, *m.missed, one.key.Name))
}

// tellEvents tells the member what is not about itself.
func (m *member) tellEvents(events []roomEvent) {
	var frames [][]byte
	for _, e := range events {
		if e.about != m.rec.Login {
			frames = append(frames, e.frame)
		}
	}
	if len(frames) > 0 {
		m.tell(frames)
	}
}

// otherPods are the pods that have members in the room, besides this one.
func (one *room) otherPods() (pods []string) {
	for _, m := range one.view.members {
		if pod := m.Owner.Pod; pod != one.rooms.g.cfg.Pod && !slices.Contains(pods, pod) {
			pods = append(pods, pod)
		}
	}
	return pods
}
