package gateway

import (
	"encoding/json"
	"errors"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// roomText is a message from member to member, also in events between pods.
type roomText struct {
	Room state.Room      `json:"room"`
	From string          `json:"from"`
	To   string          `json:"to"`
	Text json.RawMessage `json:"text"`
	// Followed says that it was sent on to the pod that the receiver has gone to.
	Followed bool `json:"followed,omitempty"`

	pod  string      // of the receiver
	done func(error) // whether it was sent
}

// send sends a text to another member. done may run on any goroutine.
func (r *rooms) send(m *member, to string, text json.RawMessage, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := m.room
	t := roomText{Room: one.key, From: m.rec.Login, To: to, Text: text, done: done}
	switch {
	case m.joined != nil || one.members[m.rec.Login] != m:
		done(errNotInRoom)
	case one.view != nil:
		one.route(t)
	case len(one.unread) >= roomMaxTexts:
		done(errTooManyQuestions)
	default: // its session was just resumed here
		one.unread = append(one.unread, t)
	}
}

// route sends a text of a member of this pod on its way. It needs rooms.mu and a view.
func (one *room) route(t roomText) {
	target, ok := one.view.byLogin[t.To]
	t.pod = target.Owner.Pod
	switch {
	case !ok || t.To == t.From:
		t.done(errNoParticipant)
	case t.pod == one.rooms.g.cfg.Pod, one.has(t.To): // Redis may not know yet
		one.deliver(t)
		t.done(nil)
	default:
		one.post(t)
	}
}

// giveUp answers the texts that wait for the record to be read. It needs rooms.mu.
func (one *room) giveUp(err error) {
	for _, t := range one.unread {
		t.done(err)
	}
	one.unread = nil
}

// has tells whether a login is a member of this pod. It needs rooms.mu.
func (one *room) has(login string) bool {
	m := one.members[login]
	return m != nil && m.joined == nil
}

// post queues a text for a member on another pod. It needs rooms.mu, as all below but publish and flush.
func (one *room) post(t roomText) {
	if len(one.outbox) >= roomMaxTexts {
		t.done(errTooManyQuestions)
		return
	}
	one.outbox = append(one.outbox, t)
	one.run()
}

// said takes a text for a member on this pod.
func (r *rooms) said(body []byte) {
	var t roomText
	if err := json.Unmarshal(body, &t); err != nil {
		r.g.log.Warn().Err(err).Msg("message of a pod of another version")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.open[t.Room]; one != nil {
		one.deliver(t)
	}
}

// deliver tells a member of this pod what another one says, at once or when it knows that one. It goes after one that is not here any more.
func (one *room) deliver(t roomText) {
	m := one.members[t.To]
	switch {
	case m == nil:
		one.follow(t)
	case m.away:
	case m.told == nil: // with its STATE, or what it may have missed
		one.hold(t)
	default:
		if _, known := m.told.byLogin[t.From]; known {
			frame := wcs.RoomEvent(one.key.Name, wcs.RoomText, wcs.RoomMessageInfo{From: t.From, Text: t.Text})
			m.sess.loop.Post(func() { m.sess.relay(frame) }) // after what m.tell has posted
			return
		}
		one.hold(t)
		one.wake()
	}
}

// hold keeps a text until the room was looked at.
func (one *room) hold(t roomText) {
	if len(one.waiting) < roomMaxTexts {
		one.waiting = append(one.waiting, t)
	}
}

// follow sends a text on to the pod that has its receiver now: whoever has sent it did not know yet. Nobody has it while a session goes on
// elsewhere, until that pod has said so.
func (one *room) follow(t roomText) {
	if t.Followed || one.view == nil {
		return
	}
	now := one.view.byLogin[t.To]
	_, moving := one.moved[now.ID]
	switch {
	case moving:
		one.hold(t)
		time.AfterFunc(roomFollow, func() {
			one.rooms.mu.Lock()
			defer one.rooms.mu.Unlock()
			if one.rooms.open[one.key] == one {
				one.wake()
			}
		})
	case now.Login != "" && now.Owner.Pod != one.rooms.g.cfg.Pod:
		t.Followed, t.pod, t.done = true, now.Owner.Pod, func(error) {} // its sender has its answer
		one.post(t)
	}
}

// flush sends the texts that are for members on other pods, in their order.
func (one *room) flush() {
	r := one.rooms
	r.mu.Lock()
	texts := one.outbox
	one.outbox = nil
	r.mu.Unlock()
	for _, t := range texts {
		t.done(one.publish(t))
	}
}

func (one *room) publish(t roomText) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	ctx, cancel := one.rooms.g.withTimeout(one.rooms.g.cfg.Media.StoreTimeout)
	defer cancel()
	return roomsAway(one.rooms.g.bus.Send(ctx, t.pod, state.Event{Kind: state.EventMessage, Body: body}))
}

// roomsAway is a fault of Redis as clients are told of it.
func roomsAway(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(errRoomsAway, err)
}
