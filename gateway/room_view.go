package gateway

import (
	"cmp"
	"slices"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// roomView is who is in a room and what they publish there, as members are told of it. It is not changed any more.
type roomView struct {
	members []state.Member // in the order in which they have joined
	byLogin map[string]state.Member
}

func newRoomView(members []state.Member) *roomView {
	v := &roomView{members: members, byLogin: make(map[string]state.Member, len(members))}
	for _, m := range members {
		v.byLogin[m.Login] = m
	}
	return v
}

// roomEvent is a message about a login, which everybody gets but the login itself.
type roomEvent struct {
	about string
	frame []byte
}

// state is the one STATE that who has joined gets. A login is in it as the client reads it: with each of its streams, or alone
// if it has none (protocol.md §7).
func (v *roomView) state(room, login string) []byte {
	info := []any{}
	for _, m := range v.members {
		if m.Login == login {
			continue
		}
		if len(m.Streams) == 0 {
			info = append(info, m.Login)
		}
		for _, st := range m.Streams {
			info = append(info, wcs.RoomStream{Login: m.Login, Name: st.Name})
		}
	}
	return wcs.RoomEvent(room, wcs.RoomState, info)
}

// since gives what has to be told to a member that knows the older view: who has gone first, and of each member in the order that
// clients need: a login is known before its streams are, and its streams are gone before it is.
func (v *roomView) since(older *roomView, room string) (events []roomEvent) {
	add := func(login string, name wcs.RoomEventName, info any) {
		events = append(events, roomEvent{login, wcs.RoomEvent(room, name, info)})
	}
	for _, was := range older.members {
		now, there := v.byLogin[was.Login]
		there = there && now.ID == was.ID
		for _, st := range was.Streams {
			if there && slices.Contains(now.Streams, st) {
				continue
			}
			name := wcs.RoomUnpublished
			if there && slices.Contains(now.Failed, st.MediaID) {
				name = wcs.RoomFailed
			}
			add(was.Login, name, wcs.RoomStream{Login: was.Login, Name: st.Name})
		}
		if !there {
			add(was.Login, wcs.RoomLeft, was.Login)
		}
	}
	for _, now := range v.members {
		was, there := older.byLogin[now.Login]
		if !there || was.ID != now.ID {
			was = state.Member{}
			add(now.Login, wcs.RoomJoined, now.Login)
		}
		for _, st := range now.Streams {
			if !slices.Contains(was.Streams, st) {
				add(now.Login, wcs.RoomPublished, wcs.RoomStream{Login: now.Login, Name: st.Name})
			}
		}
	}
	return events
}

// absence is the time in which a client may have missed events of a room. Zero times are unknown.
type absence struct {
	from time.Time // all events before it have been received
	to   time.Time // no event was sent after it
}

// resync returns the events that bring the client of a resumed member to v: LEFT for each login that it may know and that left, then JOINED and
// PUBLISHED for each member. JOINED resets a login in the client, whether it knows the login or not. LEFT of a login that it does not know
// hands undefined to the app: a login that it may not know is made known before.
func (v *roomView) resync(departures []state.Departure, missed absence, room string) (events []roomEvent) {
	add := func(login string, name wcs.RoomEventName) {
		events = append(events, roomEvent{login, wcs.RoomEvent(room, name, login)})
	}
	for _, d := range departures {
		_, present := v.byLogin[d.Login]
		switch {
		case d.At.Before(missed.from), !missed.to.IsZero() && d.JoinedAt.After(missed.to): // it knows, or never knew it
		case !missed.to.IsZero() && d.JoinedAt.Before(missed.from) && d.At.After(missed.to):
			add(d.Login, wcs.RoomLeft)
		case !present:
			add(d.Login, wcs.RoomJoined)
			add(d.Login, wcs.RoomLeft)
		}
	}
	return append(events, v.since(newRoomView(nil), room)...)
}

// doubts are members that are missing because Redis has lost what it knew: their pods will register them again, or are dead.
type doubts map[string]doubted // by login

type doubted struct {
	member state.Member
	until  time.Time
}

// add doubts members for a while.
func (d doubts) add(members []state.Member, until time.Time) {
	for _, m := range members {
		if _, already := d[m.Login]; !already {
			d[m.Login] = doubted{m, until}
		}
	}
}

// settle ends doubts about those who are there again or have been missing for too long, and gives the room with the others.
func (d doubts) settle(members []state.Member, now time.Time) []state.Member {
	for _, m := range members {
		delete(d, m.Login)
	}
	all := slices.Clone(members)
	for login, one := range d {
		if now.After(one.until) {
			delete(d, login)
			continue
		}
		all = append(all, one.member)
	}
	state.SortMembers(all)
	return all
}

// byCreation puts streams into the order in which they were made.
func byCreation(a, b *stream) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
}
