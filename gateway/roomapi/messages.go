package roomapi

import (
	"encoding/json"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// message is a text from member to member, also in events between pods.
type message struct {
	Room state.Room      `json:"room"`
	From string          `json:"from"`
	To   string          `json:"to"`
	Text json.RawMessage `json:"text"`
	// Followed is set when a pod sends the message on to the new pod of its receiver. It is sent on once only.
	Followed bool `json:"followed,omitempty"`

	pod  string      // of the receiver
	done func(error) // takes the result for the sender
}

// Message sends a text to another member. done can run on any goroutine, with ErrNotMember, ErrNoParticipant,
// ErrTooManyMessages or ErrUnavailable. Without an error the message is on its way, and is lost if its
// receiver goes at that moment.
func (r *Rooms) Message(m *Member, to string, text json.RawMessage, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := m.room
	msg := message{Room: one.key, From: m.rec.Login, To: to, Text: text, done: done}
	switch {
	case m.joined != nil || one.members[m.rec.Login] != m:
		done(ErrNotMember)
	case one.view != nil:
		one.route(msg)
	case len(one.unresolved) >= maxMessages:
		done(ErrTooManyMessages)
	default: // the session was just resumed here
		one.unresolved = append(one.unresolved, msg)
	}
}

// OnMessage handles the body of an event with a message for a member of this pod.
func (r *Rooms) OnMessage(body []byte) {
	var msg message
	if err := json.Unmarshal(body, &msg); err != nil {
		r.deps.Log.Warn().Err(err).Msg("unreadable room message")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.open[msg.Room]; one != nil {
		one.deliver(msg)
	}
}

// The caller of the methods below holds Rooms.mu, unless they say otherwise.

// route delivers a message of a member of this pod, or queues it for the receiver's pod. The room has a view.
func (one *room) route(msg message) {
	target, ok := one.view.byLogin[msg.To]
	msg.pod = target.Owner.Pod
	switch {
	case !ok || msg.To == msg.From:
		msg.done(ErrNoParticipant)
	case msg.pod == one.rooms.deps.Pod, one.has(msg.To): // the view may be older than a resume
		one.deliver(msg)
		msg.done(nil)
	default:
		one.queue(msg)
	}
}

// has reports whether a login is a member of this pod.
func (one *room) has(login string) bool {
	m := one.members[login]
	return m != nil && m.joined == nil
}

// queue queues a message for another pod.
func (one *room) queue(msg message) {
	if len(one.outbox) >= maxMessages {
		msg.done(ErrTooManyMessages)
		return
	}
	one.outbox = append(one.outbox, msg)
	one.startWork()
}

// deliver sends a message to its receiver on this pod, at once or as soon as the receiver knows the sender.
// If the receiver is no longer on this pod the message follows it.
func (one *room) deliver(msg message) {
	m := one.members[msg.To]
	switch {
	case m == nil:
		one.follow(msg)
	case m.away:
	case m.sent == nil: // after STATE, or after the events that it missed
		one.hold(msg)
	default:
		if _, known := one.view.byLogin[msg.From]; known {
			frame := wcs.RoomEvent(one.key.Name, wcs.RoomText, wcs.RoomMessageInfo{From: msg.From, Text: msg.Text})
			m.client.Post(func() { m.relay(msg.From, frame) }) // after the events that m.sendView posted
			return
		}
		one.hold(msg)
		one.requestSync()
	}
}

// relay passes a message to the client on the session's loop. A client without room may not know the sender
// yet; the message is then dropped. The caller does not hold mu.
func (m *Member) relay(from string, frame []byte) {
	m.room.rooms.mu.Lock()
	_, known := m.sent.byLogin[from]
	m.room.rooms.mu.Unlock()
	if known {
		m.client.Relay(frame)
	} else {
		m.client.Dropped(frame)
	}
}

// hold keeps a message until the next sync. Messages over maxMessages are dropped.
func (one *room) hold(msg message) {
	if len(one.waiting) < maxMessages {
		one.waiting = append(one.waiting, msg)
	}
}

// follow sends a message on to the pod that has its receiver now. While the receiver's session is being
// resumed elsewhere, no pod has it: the message is held until the record names the new pod.
func (one *room) follow(msg message) {
	if msg.Followed || one.view == nil {
		return
	}
	now := one.view.byLogin[msg.To]
	_, moving := one.moved[now.ID]
	switch {
	case moving:
		one.hold(msg)
		time.AfterFunc(followDelay, func() {
			one.rooms.mu.Lock()
			defer one.rooms.mu.Unlock()
			if one.rooms.open[one.key] == one {
				one.requestSync()
			}
		})
	case now.Login != "" && now.Owner.Pod != one.rooms.deps.Pod:
		msg.Followed, msg.pod, msg.done = true, now.Owner.Pod, func(error) {} // the sender has its answer
		one.queue(msg)
	}
}

// routePending routes the messages that waited for a sync.
func (one *room) routePending() {
	unresolved, waiting := one.unresolved, one.waiting
	one.unresolved, one.waiting = nil, nil
	for _, msg := range unresolved {
		one.route(msg)
	}
	for _, msg := range waiting {
		switch _, known := one.view.byLogin[msg.From]; {
		case known:
			one.deliver(msg)
		case one.stale: // the view may be older than the message
			one.hold(msg)
		default: // the sender left
		}
	}
}

// rejectUnresolved answers the messages that wait for the first view.
func (one *room) rejectUnresolved(err error) {
	for _, msg := range one.unresolved {
		msg.done(err)
	}
	one.unresolved = nil
}

// flush sends the queued messages to other pods, in their order. The caller does not hold mu.
func (one *room) flush() {
	r := one.rooms
	r.mu.Lock()
	queued := one.outbox
	one.outbox = nil
	r.mu.Unlock()
	for _, msg := range queued {
		msg.done(one.publish(msg))
	}
}

// publish sends a message to its receiver's pod. The caller does not hold mu.
func (one *room) publish(msg message) error {
	body, err := wcs.Encode(msg)
	if err != nil {
		return err
	}
	ctx, cancel := one.rooms.timeout(one.rooms.deps.Timeout)
	defer cancel()
	return unavailable(one.rooms.deps.Bus.Send(ctx, msg.pod, state.Event{Kind: state.EventMessage, Body: body}))
}
