package roomapi

import (
	"errors"
	"slices"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// Texts for the client whose membership ended.
const (
	endedLost    = "Login is not in the room any more"
	endedTooMany = "Too many members left while the client was away"
)

// sync writes the changes of this pod's members, reads the room and sends the members the difference. The
// caller does not hold mu.
func (one *room) sync() error {
	r := one.rooms
	u, put, due := one.takeUpdate()
	if !due {
		return nil
	}
	ctx, cancel := r.timeout(cleanup.AttemptTimeout) // two calls to Redis, which have their own timeouts
	got, err := r.deps.Store.SyncRoom(ctx, u)
	cancel()
	if err != nil {
		one.syncFailed(put, err)
		return err
	}
	one.notifyPods(one.apply(u, put, got))
	return nil
}

// takeUpdate returns the changes to write, with the members among them, if a sync is due. The caller does not
// hold mu.
func (one *room) takeUpdate() (u state.RoomUpdate, put []*Member, due bool) {
	r := one.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	due, one.stale = one.stale, false
	u = state.RoomUpdate{Room: one.key, Remove: one.nextRemovals(), MaxMembers: r.deps.MaxMembers}
	for _, m := range one.members {
		u.ReadDepartures = u.ReadDepartures || m.missed != nil && m.sent == nil
		put = append(put, m)
		u.Put = append(u.Put, m.rec)
	}
	return u, put, due
}

// nextRemovals returns the removals for the next call: those of the logins that are members here, which are
// in their way, and a piece of the others. The caller holds mu.
func (one *room) nextRemovals() (next []state.Member) {
	others := 0
	for _, m := range one.gone {
		if one.members[m.Login] == nil {
			if others++; others > removalPiece {
				continue
			}
		}
		next = append(next, m)
	}
	return next
}

// syncFailed rejects joins and messages that wait for the sync. Everything else is part of the next one. The
// caller does not hold mu.
func (one *room) syncFailed(put []*Member, err error) {
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	one.stale, one.unannounced = true, true
	for _, m := range put {
		if m.joined != nil && one.drop(m) {
			if !errors.Is(err, state.ErrLeaseStale) { // it may have been written
				one.addGone(m.rec)
			}
			m.answer(unavailable(err))
		}
	}
	one.rejectUnresolved(unavailable(err))
}

// unavailable wraps an error of Redis as ErrUnavailable.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(ErrUnavailable, err)
}

// apply makes the result of a sync the present view and returns the pods that must sync, too. The caller does
// not hold mu.
func (one *room) apply(u state.RoomUpdate, put []*Member, got state.RoomState) (pods []string) {
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	one.gone = slices.DeleteFunc(one.gone, func(m state.Member) bool {
		return slices.ContainsFunc(u.Remove, func(removed state.Member) bool { return removed.ID == m.ID })
	})
	one.stale = one.stale || len(one.gone) > 0 // the next piece
	lost := one.applyOutcomes(put, got)
	next := newView(got.Members)
	if (lost || one.suspect) && one.view != nil {
		one.missing.add(one.missingFrom(next), time.Now().Add(missingLimit))
	}
	if len(one.missing) > 0 {
		next = newView(one.missing.merge(got.Members, time.Now()))
	}
	one.removeOrphans(got)
	one.view, one.syncedAt, one.changes = next, time.Now(), make(map[*view][]event)
	one.sendViews(got)
	one.routePending()
	if got.Changed || one.unannounced {
		pods = one.otherPods()
	}
	one.unannounced, one.suspect = false, false
	return pods
}

// missingFrom returns the members of other pods that were in the present view and are not in the next one.
func (one *room) missingFrom(next *view) (missing []state.Member) {
	for _, m := range one.view.members {
		if _, present := next.byLogin[m.Login]; !present && m.Owner.Pod != one.rooms.deps.Pod {
			missing = append(missing, m)
		}
	}
	return missing
}

// applyOutcomes applies the outcome for each member and reports whether the record had lost one of them.
func (one *room) applyOutcomes(put []*Member, got state.RoomState) (lost bool) {
	for _, m := range put {
		if one.members[m.rec.Login] != m {
			continue // it left since
		}
		switch outcome := got.Outcomes[m.rec.ID]; outcome {
		case state.OutcomeHad, state.OutcomeNew:
			lost = lost || outcome == state.OutcomeNew && m.in
			m.in = true
			if m.going {
				one.drop(m)
				one.addGone(m.rec)
				one.stale = true
			}
		case state.OutcomeTaken, state.OutcomeFull:
			one.reject(m, outcome, got)
		}
	}
	return lost
}

// reject ends the membership of a member that the record does not have: its join failed, another login took
// its place after Redis had lost the room, or another pod has its session.
func (one *room) reject(m *Member, outcome state.Outcome, got state.RoomState) {
	one.drop(m)
	if m.joined == nil {
		one.rooms.deps.Log.Warn().Str("room", one.key.Name).Str("app", one.key.App).Str("session", m.rec.Session).
			Msg("room member displaced")
		one.end(m, endedLost)
		return
	}
	if outcome == state.OutcomeFull {
		m.answer(ErrFull)
		return
	}
	for _, other := range got.Members {
		if other.Login == m.rec.Login {
			m.answer(&TakenError{other})
			return
		}
	}
	m.answer(ErrLoginTaken) // the record of the other member is unreadable
}

// end tells a client that its membership ended, and why. The room API has no event of its own for that:
// FAILED with a text instead of a stream is the event of the room.
func (one *room) end(m *Member, why string) {
	name, frame := one.key.Name, wcs.RoomEvent(one.key.Name, wcs.RoomFailed, why)
	m.client.Post(func() {
		m.client.Left(name, m)
		m.client.Send(frame)
	})
}

// removeOrphans finds members that the record has as this pod's but that are not: those of a call that was
// given up and succeeded all the same, and those that no other pod has taken in time. The next sync removes
// them.
func (one *room) removeOrphans(got state.RoomState) {
	now := time.Now()
	for _, m := range got.Members {
		local := one.members[m.Login]
		until, moving := one.moved[m.ID]
		switch {
		case m.Owner != got.Self:
			delete(one.moved, m.ID)
		case local != nil && local.rec.ID == m.ID, moving && now.Before(until):
		case !slices.ContainsFunc(one.gone, func(gone state.Member) bool { return gone.ID == m.ID }):
			one.addGone(m)
		}
	}
	for id, until := range one.moved {
		if now.After(until) {
			delete(one.moved, id)
		}
	}
}

// sendViews sends each member the difference between the view that it was sent last and the present one.
func (one *room) sendViews(got state.RoomState) {
	for login, m := range one.members {
		switch {
		case !m.in || m.away || m.sent == one.view:
		case m.sent != nil:
			m.sendView(one.view)
		case m.missed != nil:
			one.resync(m, got)
		default:
			m.sent = one.view
			m.answer(nil)
			m.sendState(one.view.state(one.key.Name, login))
		}
	}
}

// sendState sends STATE. Its size is caused by the other members, so that a client with room gets any.
func (m *Member) sendState(frame []byte) {
	m.client.Post(func() {
		if m.client.HasRoom() {
			m.client.SendState(frame)
		} else {
			m.client.Send(frame)
		}
	})
}

// sendView sends the member the difference to a view, in the order of the calls. A client without room gets
// the difference to the view that is present when its queue has drained, so that other members cannot have it
// closed.
func (m *Member) sendView(next *view) {
	if m.behind.IsZero() {
		m.client.Post(func() { m.update(next) })
	}
}

// Drained sends a member what it has missed while its client had no room. It is called on the session's loop.
func (r *Rooms) Drained(m *Member) {
	r.mu.Lock()
	behind, next := !m.behind.IsZero(), m.room.view
	r.mu.Unlock()
	if behind {
		m.update(next)
	}
}

// update runs on the session's loop. The caller does not hold mu.
func (m *Member) update(next *view) {
	room := m.client.HasRoom()
	for _, e := range m.difference(next, room) {
		if e.login != m.rec.Login {
			m.client.SendState(e.frame)
		}
	}
}

// difference returns the events from the view that was sent last to next, which is then the one that was sent
// last. Without room it returns none and marks the member as behind. The caller does not hold mu.
func (m *Member) difference(next *view, room bool) []event {
	one := m.room
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	switch {
	case m.away || one.members[m.rec.Login] != m || m.sent == next:
		return nil
	case !room:
		if m.behind.IsZero() {
			m.behind = time.Now()
		}
		return nil
	}
	older := m.sent
	m.sent, m.behind = next, time.Time{}
	if next != one.view {
		return next.since(older, one.key.Name)
	}
	events, made := one.changes[older]
	if !made {
		events = next.since(older, one.key.Name)
		one.changes[older] = events
	}
	return events
}

// resync sends a resumed member the events that it may have missed. If more logins left than the room keeps,
// these are unknown and the membership ends.
func (one *room) resync(m *Member, got state.RoomState) {
	if got.DroppedUntil.After(m.missed.from) {
		one.drop(m)
		one.remove(m)
		one.end(m, endedTooMany)
		return
	}
	m.sent, m.sentAt = one.view, time.Now()
	events := one.view.resync(got.Departures, *m.missed, one.key.Name)
	m.client.Post(func() {
		for _, e := range events {
			if e.login != m.rec.Login {
				m.client.SendState(e.frame)
			}
		}
	})
}

// otherPods returns the other pods that have members in the room.
func (one *room) otherPods() (pods []string) {
	for _, m := range one.view.members {
		if pod := m.Owner.Pod; pod != one.rooms.deps.Pod && !slices.Contains(pods, pod) {
			pods = append(pods, pod)
		}
	}
	return pods
}
