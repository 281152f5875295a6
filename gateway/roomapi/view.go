package roomapi

import (
	"slices"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// view is the members of a room and what they publish, as members are sent it. It is immutable.
type view struct {
	members []state.Member // in the order in which they joined
	byLogin map[string]state.Member
}

func newView(members []state.Member) *view {
	v := &view{members: members, byLogin: make(map[string]state.Member, len(members))}
	for _, m := range members {
		v.byLogin[m.Login] = m
	}
	return v
}

// event is a message about a login. All members receive it except the login itself.
type event struct {
	login string
	frame []byte
}

// state returns STATE, which a login is sent once, when it joins. It has an entry for each stream of another
// login, or the login alone if it has no stream (docs/wcs-protocol.md#room-api).
func (v *view) state(room, login string) []byte {
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

// since returns the events from an older view to v: first about members that left or stopped publishing, then
// about new ones. Of each login they have the order that clients need: it joins before its streams are
// published, and they are unpublished before it leaves.
func (v *view) since(older *view, room string) (events []event) {
	add := func(login string, name wcs.RoomEventName, info any) {
		events = append(events, event{login, wcs.RoomEvent(room, name, info)})
	}
	for _, was := range older.members {
		now, present := v.byLogin[was.Login]
		present = present && now.ID == was.ID
		for _, st := range was.Streams {
			if present && slices.Contains(now.Streams, st) {
				continue
			}
			name := wcs.RoomUnpublished
			if present && slices.Contains(now.Failed, st.MediaID) {
				name = wcs.RoomFailed
			}
			add(was.Login, name, wcs.RoomStream{Login: was.Login, Name: st.Name})
		}
		if !present {
			add(was.Login, wcs.RoomLeft, was.Login)
		}
	}
	for _, now := range v.members {
		was, present := older.byLogin[now.Login]
		if !present || was.ID != now.ID {
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

// absence is the time in which a client may have missed events of a room. A zero time is unknown.
type absence struct {
	from time.Time // the client has received all earlier events
	to   time.Time // the client was sent no later event
}

// resync returns the events that bring the client of a resumed member to v: LEFT for each login that left and
// that the client may know, then JOINED and PUBLISHED for each member. JOINED resets a login in the client
// whether or not it knows the login. LEFT for an unknown login passes undefined to the app, so a login that
// the client may not know joins first.
func (v *view) resync(departures []state.Departure, missed absence, room string) (events []event) {
	add := func(login string, name wcs.RoomEventName) {
		events = append(events, event{login, wcs.RoomEvent(room, name, login)})
	}
	for _, d := range departures {
		_, present := v.byLogin[d.Login]
		switch {
		case d.At.Before(missed.from), !missed.to.IsZero() && d.JoinedAt.After(missed.to): // received, or never known
		case !missed.to.IsZero() && d.JoinedAt.Before(missed.from) && d.At.After(missed.to):
			add(d.Login, wcs.RoomLeft)
		case !present:
			add(d.Login, wcs.RoomJoined)
			add(d.Login, wcs.RoomLeft)
		}
	}
	return append(events, v.since(newView(nil), room)...)
}

// missing are members that disappeared because Redis lost records, by login: their pods register them again,
// or are dead.
type missing map[string]missingMember

type missingMember struct {
	member state.Member
	until  time.Time // then it has left
}

// add marks members as missing.
func (m missing) add(members []state.Member, until time.Time) {
	for _, one := range members {
		if _, already := m[one.Login]; !already {
			m[one.Login] = missingMember{one, until}
		}
	}
}

// merge drops missing members that are registered again or whose time is up, and returns the registered and
// the missing members.
func (m missing) merge(members []state.Member, now time.Time) []state.Member {
	for _, one := range members {
		delete(m, one.Login)
	}
	all := slices.Clone(members)
	for login, one := range m {
		if now.After(one.until) {
			delete(m, login)
			continue
		}
		all = append(all, one.member)
	}
	state.SortMembers(all)
	return all
}
