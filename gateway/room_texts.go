package gateway

import (
	"encoding/json"
	"errors"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// roomText is a message from member to member, also in events between pods.
type roomText struct {
	Room state.Room      `json:"room"`
	From string          `json:"from"`
	To   string          `json:"to"`
	Text json.RawMessage `json:"text"`

	pod  string      // of the receiver
	done func(error) // whether it was sent
}

// send sends a text to another member. done may run on any goroutine.
func (r *rooms) send(m *member, to string, text json.RawMessage, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := m.room
	if m.told == nil || one.members[m.rec.Login] != m {
		done(errNotInRoom)
		return
	}
	target, ok := m.told.byLogin[to]
	t := roomText{Room: one.key, From: m.rec.Login, To: to, Text: text, pod: target.Owner.Pod, done: done}
	switch {
	case !ok || to == m.rec.Login:
		done(errNoParticipant)
	case t.pod == r.g.cfg.Pod:
		one.deliver(t)
		done(nil)
	case len(one.outbox) >= roomMaxTexts:
		done(errTooManyQuestions)
	default:
		one.outbox = append(one.outbox, t)
		one.run()
	}
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

// deliver tells a member of this pod what another one says, at once or when it knows that one.
func (one *room) deliver(t roomText) {
	m := one.members[t.To]
	if m == nil || m.told == nil || m.away {
		return
	}
	if _, known := m.told.byLogin[t.From]; known {
		m.tell([][]byte{wcs.RoomEvent(one.key.Name, wcs.RoomText, wcs.RoomSaying{From: t.From, Text: t.Text})})
		return
	}
	if len(one.waiting) < roomMaxTexts {
		one.waiting = append(one.waiting, t)
	}
	one.wake()
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
	return roomsAway(one.rooms.g.deps.Events.Publish(ctx, t.pod, state.Event{Kind: state.EventMessage, Body: body}))
}

// roomsAway is a fault of Redis as clients are told of it.
func roomsAway(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(errRoomsAway, err)
}
