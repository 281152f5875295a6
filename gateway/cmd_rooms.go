package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// roomCommand reads the payload of sendData as a command of the room API, in an application that has it; nil if it is none.
func (s *session) roomCommand(payload json.RawMessage) *roomCommand {
	if !s.app.Rooms {
		return nil
	}
	c, ok, err := wcs.ParseRoomCommand(payload)
	if !ok {
		return nil
	}
	if err == nil && s.g.live().limits.checkName(c.Room) != nil {
		err = errBadRoom
	}
	return &roomCommand{c, err}
}

// roomCommand is a command with what is wrong with it.
type roomCommand struct {
	wcs.RoomCommand
	fault error
}

// leaves tells whether the client leaves a room by it. Nobody can keep it from that.
func (c *roomCommand) leaves() bool { return c != nil && c.Command == wcs.RoomLeave && c.fault == nil }

// obey does what the client asks for. answer runs on the loop, once.
func (s *session) obey(c *roomCommand, answer func(error)) {
	if c.fault != nil {
		answer(c.fault)
		return
	}
	switch c.Command {
	case wcs.RoomJoin:
		s.join(c.Room, answer)
	case wcs.RoomLeave:
		answer(s.leaveRoom(c.Room))
	case wcs.RoomMessage:
		m := s.rooms[c.Room]
		if m == nil {
			answer(errNotInRoom)
			return
		}
		s.g.rooms.send(m, c.To, c.Text, func(err error) { s.loop.Post(func() { answer(err) }) })
	}
}

// join enters a room under the name that the connection had: no message can say another (protocol.md §7). Who has that login already, and
// does not answer any more, has it no longer: as a rule it is the same user, whose network has dropped, and whose old socket has not timed out
// yet. Who is alive is never displaced.
func (s *session) join(room string, answer func(error)) {
	s.tryJoin(room, func(err error) {
		var taken *loginTaken
		if !errors.As(err, &taken) || s.joining {
			answer(err)
			return
		}
		s.joining = true
		found := checkUnanswered
		s.offLoop(func() {
			found = s.g.checkAlive(s.g.ctx, taken.by.Owner.Pod, state.Event{Kind: state.EventAliveCheck, Name: taken.by.Session})
		}, func() {
			answer := func(err error) { s.joining = false; answer(err) }
			if found == clientAlive {
				answer(err)
				return
			}
			s.joinFreed(room, freedTries, answer) // also if nobody has said so: the client's end may take long on a busy machine
		})
	})
}

const (
	freedTries = 10
	freedPause = 50 * time.Millisecond // the pod that has let a client go takes it out of the room's record, which takes some ms
)

// joinFreed enters a room whose record may have the login still.
func (s *session) joinFreed(room string, tries int, answer func(error)) {
	if s.closed {
		return
	}
	s.tryJoin(room, func(err error) {
		if tries == 1 || !errors.Is(err, errLoginInRoom) {
			answer(err)
			return
		}
		s.offLoop(func() { pause(s.g.ctx, freedPause) }, func() { s.joinFreed(room, tries-1, answer) })
	})
}

func (s *session) tryJoin(room string, answer func(error)) {
	switch {
	case s.login == "" || hasControls(s.login):
		answer(errNoLogin)
		return
	case s.rooms[room] != nil:
		answer(errLoginInRoom)
		return
	case len(s.rooms) >= s.g.cfg.Rooms.PerSession:
		answer(errTooManyRooms)
		return
	}
	rec := state.Member{
		Login: s.login, ID: translate.RandomHex(16), Session: s.id, JoinedAt: time.Now().UTC().Truncate(time.Microsecond), Streams: s.streamsIn(room),
	}
	var m *member
	m, err := s.g.rooms.join(s, state.Room{App: s.app.Key, Name: room}, rec, func(err error) {
		if err != nil {
			s.forgetRoom(room, m)
		} else {
			s.remember()
		}
		answer(err)
	})
	if err != nil {
		answer(err)
		return
	}
	s.enterRoom(room, m)
}

func (s *session) enterRoom(name string, m *member) {
	if s.rooms == nil {
		s.rooms = make(map[string]*member)
	}
	s.rooms[name] = m
}

// forgetRoom notes that the session is not, or not any more, a member.
func (s *session) forgetRoom(name string, m *member) {
	if s.rooms[name] == m {
		delete(s.rooms, name)
		s.remember()
	}
}

func (s *session) leaveRoom(room string) error {
	m := s.rooms[room]
	if m == nil {
		return errNotInRoom
	}
	delete(s.rooms, room)
	s.g.rooms.remove(m)
	s.remember()
	return nil
}

// leaveRooms ends all memberships with the session.
func (s *session) leaveRooms() {
	for _, m := range s.rooms {
		s.g.rooms.remove(m)
	}
	s.rooms = nil
}

// moveRooms lets go of memberships that go on elsewhere.
func (s *session) moveRooms() {
	for _, m := range s.rooms {
		s.g.rooms.move(m)
	}
	s.rooms = nil
}

// parkRooms keeps the memberships of a session whose client is gone.
func (s *session) parkRooms() {
	for _, m := range s.rooms {
		s.g.rooms.park(m)
	}
}

// roomRecords describes the memberships for the pod that resumes the session.
func (s *session) roomRecords(detached time.Time) (all []state.SessionRoom) {
	for _, m := range s.rooms {
		if rec, ok := s.g.rooms.record(m, detached); ok {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b state.SessionRoom) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// resumeRooms continues the memberships of a session that was taken from an owner. Those under another login than the one in the client's
// connection command end.
func (s *session) resumeRooms(sess state.Session, from state.Owner, all []state.SessionRoom) {
	for _, r := range all {
		r.Member.Streams, r.Member.From = s.streamsIn(r.Name), from
		m := s.g.rooms.resume(s, sess.App, r)
		switch {
		case m == nil:
		case s.login != "" && s.login != r.Member.Login:
			s.g.rooms.remove(m)
		default:
			s.enterRoom(r.Name, m)
		}
	}
}

// streamsIn are the streams that the session publishes in a room, in the order in which they were made.
func (s *session) streamsIn(room string) (in []state.RoomStream) {
	var all []*stream
	for _, st := range s.streams {
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

// maxFailed is how many streams that have failed are remembered, so that others are told FAILED and not UNPUBLISHED.
const maxFailed = 4

// tellRoom tells the room that the stream names what has become of it. Only who is a member is heard.
func (st *stream) tellRoom() {
	s := st.sess
	m := s.rooms[st.inRoom]
	if st.inRoom == "" || m == nil {
		return
	}
	if st.ending != nil && st.ending.status == wcs.StatusFailed {
		m.failed = append(slices.Clone(m.failed[max(0, len(m.failed)-maxFailed+1):]), st.id)
	}
	s.g.rooms.publish(m, s.streamsIn(st.inRoom), m.failed)
}
