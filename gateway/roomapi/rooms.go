// Package roomapi keeps the rooms of the WCS room API: their members, what these publish, and messages from
// member to member. It owns the rooms that this pod has members of; the record of a room is in Redis. The
// gateway's sessions call it, and it calls them through Client.
//
// A pod that has members in a room writes its changes to the room's record and reads the record in one step:
// whenever one of its members changes, when another pod reports a change, and every syncInterval, or every
// ownInterval if no other pod has members. Each member is then sent the difference between the view that it
// was sent last and the present one. So no event is sent twice or in the wrong order, and a lost event
// between pods costs only time.
package roomapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

const (
	syncInterval  = 10 * time.Second       // between two syncs of a room without changes
	ownInterval   = 60 * time.Second       // the same, of a room that has members of this pod only
	missingLimit  = 20 * time.Second       // in which pods register their members again after Redis lost them
	moveLimit     = 15 * time.Second       // in which another pod registers a member whose session it resumed
	followDelay   = 250 * time.Millisecond // before the new pod of a message's receiver is looked up
	firstWait     = 500 * time.Millisecond // before a failed sync is retried
	longestWait   = 5 * time.Second        // between retries
	parallelSyncs = 16
	maxMessages   = 256  // of a room, that wait for Redis or until their sender is known
	maxGone       = 1000 // removals of a room that are remembered; removeOrphans finds more
	removalPiece  = 100  // removals in one call to Redis
)

// Errors of the room API's commands.
var (
	ErrLoginTaken      = errors.New("login is already in the room")
	ErrFull            = errors.New("room is full")
	ErrNotMember       = errors.New("session is not in the room")
	ErrNoParticipant   = errors.New("no other member has that login")
	ErrTooManyMessages = errors.New("too many messages of the room are pending")
	ErrUnavailable     = errors.New("rooms are unavailable")
)

var errPanic = errors.New("panic")

// TakenError is an ErrLoginTaken with the member that has the login. Of a member on this pod only Login,
// Session and Owner.Pod are set.
type TakenError struct{ By state.Member }

func (e *TakenError) Error() string { return ErrLoginTaken.Error() }

func (e *TakenError) Unwrap() error { return ErrLoginTaken }

// Client is a session that is, or wants to be, a member of rooms.
type Client interface {
	// Post runs f on the session's loop, in the order of the calls. It must not block.
	Post(f func())
	// Send queues a frame that the client caused. It is called on the session's loop, as the methods below are.
	Send(frame []byte)
	// HasRoom reports whether the client's queue has room for a state. If not, the session calls Rooms.Drained
	// when it has.
	HasRoom() bool
	// SendState queues a part of a state that other clients changed, after HasRoom.
	SendState(frame []byte)
	// Relay queues a message from another client, or drops it for a slow client.
	Relay(frame []byte)
	// Dropped counts a message from another client that a slow client does not get.
	Dropped(frame []byte)
	// Address returns the key of the client's address, by which the syncs take turns.
	Address() netip.Addr
	// Left is called after a membership ended that the client did not end.
	Left(room string, m *Member)
}

// Store has the records of the rooms.
type Store interface {
	// SyncRoom changes this pod's members of a room and reads the room, in one step.
	SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error)
}

// Bus carries events to other pods.
type Bus interface {
	// Send returns an error unless Redis accepted the event.
	Send(ctx context.Context, pod string, e state.Event) error
	// Notify sends an event to pods and returns the number of other pods for which Redis accepted it.
	Notify(ctx context.Context, pods []string, e state.Event) int
}

// Metrics are the figures of Rooms.
type Metrics struct {
	Rooms   prometheus.Gauge // that this pod has members of
	Members prometheus.Gauge // on this pod
}

// Deps are the dependencies and settings of Rooms.
type Deps struct {
	Context   context.Context // ends retries and calls
	Store     Store
	Bus       Bus
	Cleanup   *cleanup.Queue // is held while changes are pending
	Recovered func()         // is deferred: recovers from a panic
	Metrics   *Metrics
	Log       zerolog.Logger
	Pod       string // the id of this pod

	MaxMembers    int           // of a room, on all pods
	Timeout       time.Duration // of an event to another pod
	DetectionTime time.Duration // for which a client's socket can be dead before it is closed
}

// Rooms are the rooms that this pod has members of. Its methods are safe for concurrent use and do not block.
type Rooms struct {
	// set once
	deps  Deps
	wheel *wheel.Wheel[*room]
	syncs *quota.Turns // of the addresses that join

	mu   sync.Mutex // also guards the rooms
	open map[state.Room]*room
}

// room is this pod's part of a room. Rooms.mu guards it.
type room struct {
	// set once
	rooms     *Rooms
	key       state.Room
	stopTicks func()
	retry     chan struct{} // holds one element if a waiting retry should start now

	members     map[string]*Member   // of this pod, by login
	gone        []state.Member       // that left and can still be in the record: at most two of each login
	moved       map[string]time.Time // ids of members that another pod should take, and until when
	view        *view                // nil until the record was read
	syncedAt    time.Time            // when view was read
	changes     map[*view][]event    // from views that members were sent to view
	missing     missing
	outbox      []message  // to members on other pods
	unresolved  []message  // from members here, until the record was read
	waiting     []message  // to members here that do not know the sender yet, or that are joining or moving
	stale       bool       // the record must be written and read
	suspect     bool       // Redis may have lost a part of the record
	party       netip.Addr // of the member that joined last
	unannounced bool       // the record may have changed without a notification of the other pods
	working     bool
}

// Member is the membership of a session of this pod in a room.
type Member struct {
	// set once
	client Client
	room   *room

	// guarded by Rooms.mu
	rec    state.Member
	sent   *view           // the view that was sent last; nil before the first
	behind time.Time       // since when the client has no room for the next view; zero if it has
	missed *absence        // events that the client may have missed before its session was resumed; nil if it was not
	sentAt time.Time       // when the client was sent what it had missed
	in     bool            // the record has, or had, the member as this pod's
	away   bool            // the client has no socket: it is sent nothing
	going  bool            // the member leaves as soon as the record has it as this pod's
	joined func(err error) // answers the join, on the session's loop; nil after the answer
}

// New returns Rooms. The caller calls Run.
func New(d Deps) *Rooms {
	r := &Rooms{deps: d, syncs: quota.NewTurns(parallelSyncs), open: make(map[state.Room]*room)}
	r.wheel = wheel.New(syncInterval, func(one *room) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !one.isOwn() || time.Since(one.syncedAt) > ownInterval-syncInterval {
			one.requestSync()
		}
	})
	return r
}

// Run syncs each room every syncInterval or ownInterval until ctx is done.
func (r *Rooms) Run(ctx context.Context) { r.wheel.Run(ctx) }

// Join admits a session to a room. joined runs on the session's loop; STATE follows it. Join fails with a
// TakenError if a session of this pod has the login.
func (r *Rooms) Join(c Client, key state.Room, rec state.Member, joined func(error)) (*Member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.openRoom(key)
	if other := one.members[rec.Login]; other != nil {
		return nil, &TakenError{state.Member{Login: rec.Login, Session: other.rec.Session, Owner: state.Owner{Pod: r.deps.Pod}}}
	}
	return one.add(&Member{client: c, room: one, rec: rec, joined: joined}), nil
}

// Resume continues the membership of a resumed session. It returns nil if another session of this pod has the
// login, or if the record only names the room because it was too large. The client is then sent that the
// membership ended.
func (r *Rooms) Resume(c Client, app string, rec state.SessionRoom) *Member {
	if rec.Member.ID == "" {
		frame := wcs.RoomEvent(rec.Name, wcs.RoomFailed, endedLost)
		c.Post(func() { c.Send(frame) })
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.openRoom(state.Room{App: app, Name: rec.Name})
	if one.members[rec.Member.Login] != nil {
		return nil
	}
	delete(one.moved, rec.Member.ID)
	return one.add(&Member{client: c, room: one, rec: rec.Member, missed: &absence{from: rec.MissedFrom, to: rec.MissedTo}})
}

// Leave ends a membership.
func (r *Rooms) Leave(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.rec.From != (state.Owner{}) && !m.in { // only the member's owner can remove it from the record
		m.away, m.going = true, true
		m.room.requestSync()
		return
	}
	if m.room.drop(m) {
		m.room.remove(m)
	}
}

// Move ends a membership on this pod because the session was resumed, on another pod or on this one.
func (r *Rooms) Move(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !m.room.drop(m):
	case m.joined != nil: // it is not a member yet
		m.room.remove(m)
	default:
		m.room.moved[m.rec.ID] = time.Now().Add(moveLimit)
	}
}

// SetStreams sets the streams that a member publishes in the room, and the media ids of its last streams that
// failed.
func (r *Rooms) SetStreams(m *Member, streams []state.RoomStream, failed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.rec.Streams, m.rec.Failed = streams, failed
	m.room.requestSync()
}

// Detach stops sending to a member whose client lost its socket.
func (r *Rooms) Detach(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.away = true
}

// Record describes a membership for the pod that resumes the session. detached is when the client lost its
// socket, zero if it has one. ok is false for a session that was not admitted to the room yet.
func (r *Rooms) Record(m *Member, detached time.Time) (rec state.SessionRoom, ok bool) {
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

// missedBy returns which events the client may have missed if its session is resumed.
func (m *Member) missedBy(detached time.Time) absence {
	if m.missed != nil && m.sent == nil { // nothing was sent since it was resumed
		return *m.missed
	}
	if detached.IsZero() {
		return absence{}
	}
	a := absence{from: detached.Add(-m.room.rooms.deps.DetectionTime), to: detached}
	if !m.behind.IsZero() && m.behind.Before(a.from) {
		a.from = m.behind
	}
	if m.sentAt.After(a.from) { // the events after the last resume may be lost, too
		return absence{from: m.missed.from}
	}
	return a
}

// ChangedEvent returns the event that makes other pods sync a room.
func ChangedEvent(key state.Room) state.Event {
	body, _ := wcs.Encode(key) // two strings: cannot fail
	return state.Event{Kind: state.EventRoom, Body: body}
}

// OnChanged handles the body of another pod's ChangedEvent.
func (r *Rooms) OnChanged(body []byte) {
	var key state.Room
	if err := json.Unmarshal(body, &key); err != nil {
		r.deps.Log.Warn().Err(err).Msg("unreadable room event")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.open[key]; one != nil {
		one.requestSync()
	}
}

// Reregister writes all members again, because Redis may have lost records.
func (r *Rooms) Reregister() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.open {
		one.suspect = true
		one.requestSync()
	}
}

// DropAll drops all members without a change of the records: another pod has taken over this one and removed
// them there.
func (r *Rooms) DropAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.open {
		for _, m := range one.members {
			one.drop(m)
		}
		one.gone, one.outbox, one.moved = nil, nil, make(map[string]time.Time)
		one.rejectUnresolved(ErrNotMember)
	}
}

// openRoom returns a room, which it opens if necessary. The caller holds mu.
func (r *Rooms) openRoom(key state.Room) *room {
	one := r.open[key]
	if one == nil {
		one = &room{
			rooms: r, key: key, members: make(map[string]*Member), moved: make(map[string]time.Time), missing: make(missing),
			retry: make(chan struct{}, 1),
		}
		one.stopTicks = r.wheel.Add(one)
		r.open[key] = one
		r.deps.Metrics.Rooms.Inc()
	}
	return one
}

// timeout derives the context of a call to Redis.
func (r *Rooms) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.deps.Context, d)
}

// The caller of all methods of room and Member below holds Rooms.mu, unless they say otherwise.

func (one *room) add(m *Member) *Member {
	one.members[m.rec.Login] = m
	one.rooms.deps.Metrics.Members.Inc()
	one.party = m.client.Address()
	one.requestSync()
	return m
}

// drop removes a member from the pod's own. It reports whether it was one.
func (one *room) drop(m *Member) bool {
	if one.members[m.rec.Login] != m {
		return false
	}
	delete(one.members, m.rec.Login)
	one.rooms.deps.Metrics.Members.Dec()
	return true
}

// remove removes a dropped member from the record.
func (one *room) remove(m *Member) {
	if m.joined != nil {
		m.answer(ErrNotMember)
	}
	one.addGone(m.rec)
	one.requestSync()
}

// addGone has a member removed from the record. Of each login the oldest and the newest are remembered: the
// record has at most one of them.
func (one *room) addGone(m state.Member) {
	same := func(gone state.Member) bool { return gone.Login == m.Login }
	first := slices.IndexFunc(one.gone, same)
	switch {
	case first < 0 && len(one.gone) >= maxGone:
	case first < 0:
		one.gone = append(one.gone, m)
	default:
		if next := slices.IndexFunc(one.gone[first+1:], same); next >= 0 {
			one.gone = slices.Delete(one.gone, first+1+next, first+2+next)
		}
		one.gone = append(one.gone, m)
	}
}

// isOwn reports whether nothing but lost events of other pods can have changed the room since the last sync.
func (one *room) isOwn() bool {
	return one.view != nil && !one.stale && !one.suspect && len(one.moved)+len(one.gone)+len(one.missing) == 0 && len(one.otherPods()) == 0
}

// answer answers a join.
func (m *Member) answer(err error) {
	joined := m.joined
	m.joined = nil
	m.client.Post(func() { joined(err) })
}

// requestSync has the record written and read.
func (one *room) requestSync() {
	one.stale = true
	one.startWork()
}

// startWork starts work, or makes it retry now if it waits.
func (one *room) startWork() {
	if one.working {
		select {
		case one.retry <- struct{}{}:
		default:
		}
		return
	}
	one.working = true
	go one.work(one.rooms.deps.Cleanup.Hold())
}

// work is a goroutine. It runs until nothing is left to do.
func (one *room) work(release func()) {
	defer release()
	pauses := cleanup.NewBackOff(firstWait, longestWait)
	for {
		err := one.attempt()
		if one.finish(err) {
			return
		}
		if err == nil {
			pauses.Reset()
			continue
		}
		one.pause(pauses.NextBackOff())
	}
}

// attempt sends pending messages and syncs. The caller does not hold mu.
func (one *room) attempt() (err error) {
	r := one.rooms
	release, err := r.syncs.Acquire(r.deps.Context, one.turnOf())
	if err != nil {
		return err
	}
	defer release()
	err = errPanic // unless sync returns
	defer r.deps.Recovered()
	one.flush()
	err = one.sync()
	return err
}

// turnOf returns the address whose turn a sync needs. The caller does not hold mu.
func (one *room) turnOf() netip.Addr {
	one.rooms.mu.Lock()
	defer one.rooms.mu.Unlock()
	return one.party
}

// finish ends the work if nothing is left to do, or nothing that can succeed. The caller does not hold mu.
func (one *room) finish(err error) (idle bool) {
	r := one.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	idle = !one.stale && len(one.outbox) == 0
	if err != nil {
		idle = !cleanup.Retryable(err) || r.deps.Context.Err() != nil ||
			len(one.gone)+len(one.members)+len(one.outbox)+len(one.unresolved) == 0
	}
	if idle {
		one.working = false
		one.closeIfEmpty()
	}
	return idle
}

// pause waits before the next attempt, until a change requests one. The caller does not hold mu.
func (one *room) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-one.retry:
	case <-one.rooms.deps.Context.Done():
	}
}

// closeIfEmpty closes the room if no member of this pod is, or can be, in its record.
func (one *room) closeIfEmpty() {
	if len(one.members)+len(one.gone)+len(one.moved) > 0 || one.rooms.open[one.key] != one {
		return
	}
	delete(one.rooms.open, one.key)
	one.stopTicks()
	one.rooms.deps.Metrics.Rooms.Dec()
}

// notifyPods makes other pods sync the room. The caller does not hold mu.
func (one *room) notifyPods(pods []string) {
	ctx, cancel := one.rooms.timeout(one.rooms.deps.Timeout)
	defer cancel()
	one.rooms.deps.Bus.Notify(ctx, pods, ChangedEvent(one.key))
}
