package gateway

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
)

// The room API (protocol.md §7). Who is in a room is one record in Redis. A pod that has members in it writes what there is to say about
// them and reads the room in one step, whenever one of its own has changed, when another pod says that something has changed, and every
// roomLook. Each member is then told the difference between what it knows and the room as it is now: so nothing is told twice or in the
// wrong order, and a lost event between pods costs time only.

const (
	roomLook      = 10 * time.Second       // between two looks at a room of which nothing is heard
	roomDoubt     = 20 * time.Second       // that pods have to register their members again when Redis has lost them
	roomMove      = 15 * time.Second       // that another pod has to register a member whose session it has taken
	roomFollow    = 250 * time.Millisecond // until it is looked for, if there is a text for it
	roomFirstWait = 500 * time.Millisecond
	roomMaxWait   = 5 * time.Second
	roomParallel  = 16
	roomMaxTexts  = 256 // messages of a room that wait for Redis, or for their senders to be known
)

// RoomsConfig bounds the room API.
type RoomsConfig struct {
	MaxMembers int // of a room, on all pods
	PerSession int // rooms that a session may be in
}

// Faults of the room API's commands.
var (
	errBadRoom       = errors.New("room name is empty, too long, or has control characters or a .. segment")
	errNoLogin       = errors.New("connection has no custom.login that can be used")
	errLoginInRoom   = errors.New("login is in the room already")
	errRoomFull      = errors.New("room has all the members that it may have")
	errTooManyRooms  = errors.New("session is in too many rooms")
	errNotInRoom     = errors.New("session is not in the room")
	errNoParticipant = errors.New("nobody else of that login is in the room")
	errRoomsAway     = errors.New("rooms cannot be reached")
)

// rooms are those that this pod has members of.
type rooms struct {
	g     *Gateway
	wheel *wheel.Wheel[*room]
	calls chan struct{} // how many rooms are written and read at a time

	mu   sync.Mutex // of the rooms, too
	open map[state.Room]*room
}

// room is what this pod has to do with a room. All of it is guarded by rooms.mu.
type room struct {
	rooms   *rooms
	key     state.Room
	leave   func()               // its place among the looks
	members map[string]*member   // of this pod, by login
	gone    []state.Member       // that have left and may be in the record
	moved   map[string]time.Time // ids of members that another pod takes over, and until when it has time to
	view    *roomView            // nil until the record was read
	doubts  doubts
	outbox  []roomText // to members on other pods
	unread  []roomText // from members here, until the record was read
	waiting []roomText // to members here that do not know the sender yet, or that are just coming or going
	stale   bool       // the record is to be written and read
	suspect bool       // the record may have lost some of what it knew
	untold  bool       // it may have been changed without the other pods knowing
	running bool
	hurry   chan struct{} // holds one when there is something new to do for who waits to try again
}

// member is a session of this pod in a room.
type member struct {
	// set once
	sess *session
	room *room

	failed []string // session's loop: media ids of the last streams of it that have failed

	// guarded by rooms.mu
	rec    state.Member
	told   *roomView       // the view that was last sent to it; nil until the first one was
	missed *absence        // events that it may have missed before its session was resumed; nil if it was not
	sentAt time.Time       // when it was sent what it had missed
	in     bool            // the record has, or had, it
	away   bool            // its socket is gone: it is told nothing
	going  bool            // it leaves as soon as the record has it as this pod's
	joined func(err error) // on the session's loop: answers its join; nil if there is nothing to answer
}

// loginTaken is errLoginInRoom with the member that has the login.
type loginTaken struct{ by state.Member }

func (e *loginTaken) Error() string { return errLoginInRoom.Error() }

func (e *loginTaken) Unwrap() error { return errLoginInRoom }

func newRooms(g *Gateway) *rooms {
	r := &rooms{g: g, calls: make(chan struct{}, roomParallel), open: make(map[state.Room]*room)}
	r.wheel = wheel.New(roomLook, func(one *room) {
		r.mu.Lock()
		defer r.mu.Unlock()
		one.wake()
	})
	return r
}

// of gives a room, which is opened if need be. It needs mu.
func (r *rooms) of(key state.Room) *room {
	one := r.open[key]
	if one == nil {
		one = &room{
			rooms: r, key: key, members: make(map[string]*member), moved: make(map[string]time.Time), doubts: make(doubts),
			hurry: make(chan struct{}, 1),
		}
		one.leave = r.wheel.Add(one)
		r.open[key] = one
		r.g.metrics.rooms.Inc()
	}
	return one
}

// join lets a session into a room. joined runs on the session's loop; STATE follows it.
func (r *rooms) join(s *session, key state.Room, rec state.Member, joined func(error)) (*member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of(key)
	if other := one.members[rec.Login]; other != nil {
		return nil, &loginTaken{state.Member{Login: rec.Login, Session: other.sess.id, Owner: state.Owner{Pod: r.g.cfg.Pod}}}
	}
	return one.add(&member{sess: s, room: one, rec: rec, joined: joined}), nil
}

// resume continues the membership of a resumed session. It returns nil if another session of this pod has the login.
func (r *rooms) resume(s *session, app string, rec state.SessionRoom) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of(state.Room{App: app, Name: rec.Name})
	if one.members[rec.Member.Login] != nil {
		return nil
	}
	delete(one.moved, rec.Member.ID)
	return one.add(&member{sess: s, room: one, rec: rec.Member, missed: &absence{from: rec.MissedFrom, to: rec.MissedTo}})
}

func (one *room) add(m *member) *member {
	one.members[m.rec.Login] = m
	one.rooms.g.metrics.roomMembers.Inc()
	one.wake()
	return m
}

// drop takes a member off the pod's own. It is false if it is not one any more.
func (one *room) drop(m *member) bool {
	if one.members[m.rec.Login] != m {
		return false
	}
	delete(one.members, m.rec.Login)
	one.rooms.g.metrics.roomMembers.Dec()
	return true
}

// remove ends a membership.
func (r *rooms) remove(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.rec.From != (state.Owner{}) && !m.in { // only whose member it is can take it out of the record
		m.away, m.going = true, true
		m.room.wake()
		return
	}
	if m.room.drop(m) {
		m.room.leaves(m)
	}
}

// leaves has a member that was dropped taken out of the record.
func (one *room) leaves(m *member) {
	if m.joined != nil {
		m.answer(errNotInRoom)
	}
	one.gone = append(one.gone, m.rec)
	one.wake()
}

// move lets go of a member whose session another pod, or this one, has taken.
func (r *rooms) move(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !m.room.drop(m):
	case m.joined != nil:
		m.room.leaves(m)
	default:
		m.room.moved[m.rec.ID] = time.Now().Add(roomMove)
	}
}

// publish says what a member publishes in the room.
func (r *rooms) publish(m *member, streams []state.RoomStream, failed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.rec.Streams, m.rec.Failed = streams, failed
	m.room.wake()
}

// park notes that nobody is there who could be told anything.
func (r *rooms) park(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.away = true
}

// record describes a membership for the pod that resumes the session. detached is when the session lost its socket, zero if it has one.
// ok is false for a session that has not been admitted to the room yet.
func (r *rooms) record(m *member, detached time.Time) (rec state.SessionRoom, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.joined != nil {
		return rec, false
	}
	missed := m.missedBy(detached)
	rec = state.SessionRoom{Name: m.room.key.Name, Member: m.rec, MissedFrom: missed.from, MissedTo: missed.to}
	rec.Member.Streams, rec.Member.Failed = nil, nil
	return rec, true
}

// missedBy returns which events the client of a member may have missed if its session is resumed.
func (m *member) missedBy(detached time.Time) absence {
	if m.missed != nil && m.told == nil { // it has been sent nothing since
		return *m.missed
	}
	if detached.IsZero() {
		return absence{}
	}
	a := absence{from: detached.Add(-m.room.rooms.g.cfg.Conn.DetectionTime()), to: detached}
	if m.sentAt.After(a.from) { // the client may not have received that
		return absence{from: m.missed.from}
	}
	return a
}

// changed takes another pod's word that something about a room has changed.
func (r *rooms) changed(body []byte) {
	var key state.Room
	if err := json.Unmarshal(body, &key); err != nil {
		r.g.log.Warn().Err(err).Msg("room event of a pod of another version")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.open[key]; one != nil {
		one.wake()
	}
}

// again has everything written again: Redis may have lost it, or the last of it.
func (r *rooms) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.open {
		one.suspect = true
		one.wake()
	}
}

// forget lets go of all members: other pods have taken this one for dead and have told everybody.
func (r *rooms) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.open {
		for _, m := range one.members {
			one.drop(m)
		}
		one.gone, one.outbox, one.moved = nil, nil, make(map[string]time.Time)
		one.giveUp(errNotInRoom)
	}
}

// tell sends frames to the member. They come in the order of the calls.
func (m *member) tell(frames [][]byte) {
	s := m.sess
	s.loop.Post(func() {
		for _, f := range frames {
			s.send(f)
		}
	})
}

// wake has the record written and read.
func (one *room) wake() {
	one.stale = true
	one.run()
}

// run does what there is to do for the room, unless it is being done.
func (one *room) run() {
	if one.running {
		select {
		case one.hurry <- struct{}{}:
		default:
		}
		return
	}
	one.running = true
	go one.work(one.rooms.g.cleanup.Hold())
}

// work runs beside everything until there is nothing to do.
func (one *room) work(release func()) {
	defer release()
	wait := roomFirstWait
	for {
		err := one.try()
		if one.rest(err) {
			return
		}
		if err == nil {
			wait = roomFirstWait
			continue
		}
		one.pause(wait)
		wait = min(2*wait, roomMaxWait)
	}
}

// try does what there is to do now.
func (one *room) try() (err error) {
	r := one.rooms
	r.calls <- struct{}{}
	defer func() { <-r.calls }()
	err = errPanic // unless sync returns
	defer r.g.recovered()
	one.flush()
	err = one.sync()
	return err
}

// rest ends the work if there is nothing to do, or nothing that could be done.
func (one *room) rest(err error) bool {
	r := one.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	idle := !one.stale && len(one.outbox) == 0
	if err != nil {
		idle = !cleanup.Retryable(err) || r.g.ctx.Err() != nil ||
			len(one.gone)+len(one.members)+len(one.outbox)+len(one.unread) == 0
	}
	if idle {
		one.running = false
		one.closeIfEmpty()
	}
	return idle
}

// pause waits before the next try, unless there is something new to do: somebody waits for its answer.
func (one *room) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-one.hurry:
	case <-one.rooms.g.ctx.Done():
	}
}

// closeIfEmpty forgets the room once nothing of this pod is, or may be, in it.
func (one *room) closeIfEmpty() {
	if len(one.members)+len(one.gone)+len(one.moved) > 0 || one.rooms.open[one.key] != one {
		return
	}
	delete(one.rooms.open, one.key)
	one.leave()
	one.rooms.g.metrics.rooms.Dec()
}

// tellPods says that something about the room has changed to the pods that have members in it.
func (one *room) tellPods(pods []string) {
	ctx, cancel := one.rooms.g.withTimeout(one.rooms.g.cfg.Media.StoreTimeout)
	defer cancel()
	one.rooms.g.bus.Notify(ctx, pods, state.Event{Kind: state.EventRoom, Body: raw(one.key)})
}
