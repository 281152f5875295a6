package session

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// memberships are the rooms that a session is a member of. It is the session's roomapi.Client. All of it is
// on the session's loop, except Post.
type memberships struct {
	s       *Session
	byRoom  map[string]*membership // by room name
	joining bool                   // whether the member that has the session's login is alive is being checked
}

// membership is a room that the session is a member of, or that it is joining.
type membership struct {
	member *roomapi.Member
	failed []string // media ids of the session's last streams in the room that failed
}

// Post implements roomapi.Client.
func (ms *memberships) Post(f func()) { ms.s.loop.Post(f) }

// Send implements roomapi.Client.
func (ms *memberships) Send(frame []byte) { ms.s.send(frame) }

// HasRoom implements roomapi.Client.
func (ms *memberships) HasRoom() bool { return ms.s.conn.HasRoom() }

// SendState implements roomapi.Client.
func (ms *memberships) SendState(frame []byte) { ms.s.sendState(frame) }

// Dropped implements roomapi.Client.
func (ms *memberships) Dropped(frame []byte) { ms.s.dropped(frame) }

// Relay implements roomapi.Client.
func (ms *memberships) Relay(frame []byte) { ms.s.relay(frame) }

// Address implements roomapi.Client.
func (ms *memberships) Address() netip.Addr { return ms.s.Conn.Key }

// roomCommand is a command with its fault.
type roomCommand struct {
	wcs.RoomCommand
	fault error
}

// parse reads the payload of sendData as a command of the room API. It returns nil for other data and in
// applications without the room API.
func (ms *memberships) parse(payload json.RawMessage) *roomCommand {
	if !ms.s.app.Rooms {
		return nil
	}
	c, ok, err := wcs.ParseRoomCommand(payload)
	if !ok {
		return nil
	}
	if err == nil && ms.s.table.Settings().Limits.CheckName(c.Room) != nil {
		err = errBadRoom
	}
	return &roomCommand{c, err}
}

// joins reports whether the client joins a room with the command.
func (c *roomCommand) joins() bool { return c != nil && c.Command == wcs.RoomJoin }

// leaves reports whether the client leaves a room with the command. A backend cannot prevent that.
func (c *roomCommand) leaves() bool { return c != nil && c.Command == wcs.RoomLeave && c.fault == nil }

// handle runs a command. answer runs on the loop, once.
func (ms *memberships) handle(c *roomCommand, answer func(error)) {
	if c.fault != nil {
		answer(c.fault)
		return
	}
	switch c.Command {
	case wcs.RoomJoin:
		ms.join(c.Room, answer)
	case wcs.RoomLeave:
		answer(ms.leave(c.Room))
	case wcs.RoomMessage:
		m := ms.byRoom[c.Room]
		if m == nil {
			answer(roomapi.ErrNotMember)
			return
		}
		ms.s.table.Rooms.Message(m.member, c.To, c.Text, func(err error) { ms.Post(func() { answer(err) }) })
	}
}

// join joins a room with the login of the session's connection; no command can name another
// (docs/wcs-protocol.md#room-api). If the login is held by a session whose client no longer answers, that
// session is closed and the join is retried; usually it is the same user after a network change. A responsive
// client is never displaced.
func (ms *memberships) join(room string, answer func(error)) {
	ms.tryJoin(room, func(err error) {
		var taken *roomapi.TakenError
		if !errors.As(err, &taken) || ms.joining {
			answer(err)
			return
		}
		ms.joining = true
		s, found := ms.s, checkUnanswered
		s.offLoop(func() {
			found = s.table.checkAlive(s.table.Context, taken.By.Owner.Pod, state.Event{Kind: state.EventAliveCheck, Name: taken.By.Session})
		}, func() {
			answer := func(err error) { ms.joining = false; answer(err) }
			if found == clientAlive {
				answer(err)
				return
			}
			ms.joinFreed(room, freedTries, answer) // also without a reply: closing a client takes long on a busy machine
		})
	})
}

const (
	freedTries = 10
	freedPause = 50 * time.Millisecond // in which the pod of the closed client removes it from the room's record
)

// joinFreed joins a room whose record may still have the login of a closed client.
func (ms *memberships) joinFreed(room string, tries int, answer func(error)) {
	s := ms.s
	if s.closed {
		return
	}
	ms.tryJoin(room, func(err error) {
		if tries == 1 || !errors.Is(err, roomapi.ErrLoginTaken) {
			answer(err)
			return
		}
		s.offLoop(func() { state.Sleep(s.table.Context, freedPause) }, func() { ms.joinFreed(room, tries-1, answer) })
	})
}

func (ms *memberships) tryJoin(room string, answer func(error)) {
	s := ms.s
	switch {
	case s.login == "" || apps.HasControls(s.login):
		answer(errNoLogin)
		return
	case ms.byRoom[room] != nil:
		answer(roomapi.ErrLoginTaken)
		return
	case len(ms.byRoom) >= s.table.Config.Rooms.PerSession:
		answer(errTooManyRooms)
		return
	}
	rec := state.Member{
		Login: s.login, ID: translate.RandomHex(16), Session: s.id, JoinedAt: time.Now().UTC().Truncate(time.Microsecond), Streams: ms.streamsIn(room),
	}
	var m *roomapi.Member
	m, err := s.table.Rooms.Join(ms, state.Room{App: s.app.Key, Name: room}, rec, func(err error) {
		if err != nil {
			ms.Left(room, m)
		} else {
			s.resume.save()
		}
		answer(err)
	})
	if err != nil {
		answer(err)
		return
	}
	ms.add(room, m)
}

func (ms *memberships) add(room string, m *roomapi.Member) {
	if ms.byRoom == nil {
		ms.byRoom = make(map[string]*membership)
	}
	ms.byRoom[room] = &membership{member: m}
}

// Left implements roomapi.Client: it drops a membership that has ended.
func (ms *memberships) Left(room string, m *roomapi.Member) {
	if now := ms.byRoom[room]; now != nil && now.member == m {
		delete(ms.byRoom, room)
		ms.s.resume.save()
	}
}

func (ms *memberships) leave(room string) error {
	m := ms.byRoom[room]
	if m == nil {
		return roomapi.ErrNotMember
	}
	delete(ms.byRoom, room)
	ms.s.table.Rooms.Leave(m.member)
	ms.s.resume.save()
	return nil
}

// endAll ends all memberships by Leave, or by Move if they continue in a resumed session.
func (ms *memberships) endAll(end func(*roomapi.Member)) {
	for _, m := range ms.byRoom {
		end(m.member)
	}
	ms.byRoom = nil
}

// records describes the memberships for the pod that resumes the session. detached is when it lost its
// socket, zero if it has one.
func (ms *memberships) records(detached time.Time) (all []state.SessionRoom) {
	for _, m := range ms.byRoom {
		if rec, ok := ms.s.table.Rooms.Record(m.member, detached); ok {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b state.SessionRoom) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// resume continues the memberships of a resumed session that an owner had. Those under another login than
// that of the client's connection command end.
func (ms *memberships) resume(sess state.Session, from state.Owner, all []state.SessionRoom) {
	s := ms.s
	for _, r := range all {
		r.Member.Streams, r.Member.From = ms.streamsIn(r.Name), from
		m := s.table.Rooms.Resume(ms, sess.App, r)
		switch {
		case m == nil:
		case s.login != "" && s.login != r.Member.Login:
			s.table.Rooms.Leave(m)
		default:
			ms.add(r.Name, m)
		}
	}
}

// streamsIn returns the streams that the session publishes in a room, in the order of their creation.
func (ms *memberships) streamsIn(room string) (in []state.RoomStream) {
	var all []*stream
	for _, st := range ms.s.streams {
		if st.inRoom == room && st.phase == phaseUp && st.ending == nil {
			all = append(all, st)
		}
	}
	slices.SortFunc(all, byCreation)
	for _, st := range all {
		in = append(in, state.RoomStream{Name: st.name, MediaID: st.id})
	}
	return in
}

// byCreation sorts streams by the time of their creation.
func byCreation(a, b *stream) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
}

// maxFailed bounds the failed streams of a room that are kept: other members receive FAILED for them instead
// of UNPUBLISHED.
const maxFailed = 4

// updateRoom publishes a change of the stream in the room that it names, if the session is a member of it.
func (st *stream) updateRoom() {
	ms := &st.sess.rooms
	m := ms.byRoom[st.inRoom]
	if st.inRoom == "" || m == nil {
		return
	}
	if st.ending != nil && st.ending.status == wcs.StatusFailed {
		m.failed = append(slices.Clone(m.failed[max(0, len(m.failed)-maxFailed+1):]), st.id)
	}
	st.sess.table.Rooms.SetStreams(m.member, ms.streamsIn(st.inRoom), m.failed)
}
