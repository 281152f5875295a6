// Package reconcile polls LiveKit about the rooms of this pod's streams and reports what it finds to the
// streams. It owns the schedule of the polls. It repairs what lost or late webhooks and events between pods
// leave wrong, and finds LiveKit nodes that have died. Streams add themselves when their participant exists
// and remove themselves when they end.
package reconcile

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"wcsgateway/translate"
)

// Stream is a publisher's or player's stream. Its methods are called from the poller's goroutines.
type Stream interface {
	// Identity returns the identity of the stream's own participant.
	Identity() translate.Identity
	// Publisher returns the identity of a player's publisher. Only Add calls it.
	Publisher() translate.Identity
	// Published reports whether this is a publisher's stream.
	Published() bool
	// Up reports whether the stream's media is up.
	Up() bool
	// Observe takes the result of a poll.
	Observe(Observation)
	// Lost ends the stream because its participant is gone.
	Lost(translate.EndReason)
	// PublisherLeft ends the stream if it is a player of this publisher's connection, which the SID identifies.
	PublisherLeft(id translate.Identity, sid string)
}

// Rooms reads rooms from LiveKit. Errors are *translate.Error.
type Rooms interface {
	// Participant returns a participant as the node that hosts the room knows it. If it is not in the room,
	// the error is of the kind translate.ErrKindNotFound.
	Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error)
	// Participants lists a room from LiveKit's storage: departed participants may be listed, and tracks or
	// sizes missing.
	Participants(ctx context.Context, room translate.RoomName) ([]translate.Participant, error)
}

// Deps are what a Poller needs.
type Deps struct {
	// Context is the parent of all calls. Rooms are not polled once it is done.
	Context context.Context
	Rooms   Rooms
	// Local reports whether the publisher with this identity is a stream of this pod. Its players need no
	// poll for it.
	Local func(translate.Identity) bool
	// Recovered is deferred in every goroutine and recovers its panic.
	Recovered func()
	Log       zerolog.Logger
}

// Poller polls each room with streams of this pod: often while a stream starts, every interval afterwards.
// The number of a room's streams does not change the number of calls. Its methods are safe for concurrent
// use.
type Poller struct {
	// set once
	deps  Deps
	slots *semaphore.Weighted // bounds how many rooms are polled at a time

	mu    sync.Mutex
	rooms map[translate.RoomName]*polledRoom
}

// polledRoom is a room with at least one stream.
type polledRoom struct {
	name translate.RoomName

	// guarded by Poller.mu
	streams map[Stream]translate.Identity // their publishers
	polls   int                           // since the last stream was added
	timer   *time.Timer

	// the timer's goroutine
	failures int             // polls in a row that found the room's node dead
	missing  map[Stream]bool // the last poll did not find their participants
}

const (
	// interval is the pause between two polls of a room whose streams are up. A settled room costs at most
	// two calls: one to its node about a publisher, and LiveKit's list for all players. A pod with 1,000
	// streams makes at most 200 calls a second; players of native publishers need both calls in rooms of
	// their own, so 1,000 of those make 400.
	interval    = 5 * time.Second
	callTimeout = 2 * time.Second
	parallel    = 32
	// maxFailures is after how many polls a node is given up. A dead node is noticed within interval +
	// maxFailures * callTimeout after the last poll that it answered, which is less than 10 s.
	maxFailures = 2
	// webhookWait is the pause before a participant that was not found is looked for again. LiveKit's webhook,
	// which has the reason, comes some milliseconds after the participant is gone.
	webhookWait = 500 * time.Millisecond
)

// initialDelays are the pauses before the first polls after a stream was added. Media is usually up after 100
// ms, and LiveKit knows the picture size within a second of that.
var initialDelays = []time.Duration{
	300 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
	time.Second, time.Second, time.Second, time.Second,
}

// New returns a Poller without rooms.
func New(d Deps) *Poller {
	return &Poller{deps: d, slots: semaphore.NewWeighted(parallel), rooms: make(map[translate.RoomName]*polledRoom)}
}

// Add polls the room for the stream, starting with initialDelays. The stream's identity must not change while
// it is polled; for another publisher it is removed and added again.
func (p *Poller) Add(room translate.RoomName, s Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	if r == nil {
		r = &polledRoom{name: room, streams: make(map[Stream]translate.Identity)}
		r.timer = time.AfterFunc(initialDelays[0], func() { p.poll(r) })
		p.rooms[room] = r
	} else if r.polls > 0 && r.timer.Stop() {
		r.timer.Reset(initialDelays[0])
	}
	r.polls = 0
	r.streams[s] = s.Publisher()
}

// Remove stops polling for the stream. A poll that is running may still report to it.
func (p *Poller) Remove(room translate.RoomName, s Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	if r == nil {
		return
	}
	delete(r.streams, s)
	if len(r.streams) == 0 {
		r.timer.Stop()
		delete(p.rooms, room)
	}
}

// PublisherLeft notifies the room's streams that a connection of a native publisher ended.
func (p *Poller) PublisherLeft(room translate.RoomName, publisher translate.Identity, sid string) {
	for s := range p.in(room) {
		s.PublisherLeft(publisher, sid)
	}
}

// in returns this pod's streams in a room, and their publishers.
func (p *Poller) in(room translate.RoomName) map[Stream]translate.Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[room]; r != nil {
		return maps.Clone(r.streams)
	}
	return nil
}

// poll runs on the room's timer and resets it.
func (p *Poller) poll(r *polledRoom) {
	pause := regularly
	defer func() { p.schedule(r, pause) }()
	defer p.deps.Recovered()
	if err := p.slots.Acquire(p.deps.Context, 1); err != nil {
		return
	}
	defer p.slots.Release(1)
	round, missing := newRound(p.deps, r.name), make(map[Stream]bool)
	for s, publisher := range p.in(r.name) {
		o, err := round.observe(s, publisher)
		switch {
		case err != nil:
			if p.nodeFailed(r, round, err) {
				pause = 0
			}
			return // calls for the room's other streams would fail, too
		case !o.SelfPresent && !r.missing[s]:
			missing[s], pause = true, webhookWait
		default:
			s.Observe(o)
		}
	}
	r.failures, r.missing = 0, missing
}

// nodeFailed counts polls that the room's node did not answer while the rest of LiveKit answers. A killed
// node sends no webhooks, and its participants stay in LiveKit's list (docs/livekit-notes.md#nodes): after
// maxFailures in a row, its streams are ended. again reports whether to poll the room at once.
func (p *Poller) nodeFailed(r *polledRoom, round *round, err error) (again bool) {
	p.deps.Log.Debug().Err(err).Str("room", string(r.name)).Msg("poll of a room failed")
	if translate.KindOf(err) != translate.ErrKindUnavailable || !round.listed() {
		r.failures = 0
		return false
	}
	r.failures++
	if r.failures < maxFailures {
		return true
	}
	streams := p.in(r.name)
	p.deps.Log.Error().Err(err).Str("room", string(r.name)).Int("streams", len(streams)).Msg("LiveKit node of the room is dead")
	for s := range streams {
		s.Lost(translate.EndShutdown)
	}
	return false
}

// regularly is the pause that follows from the number of polls.
const regularly = time.Duration(-1)

// schedule sets the timer for the next poll. A poll that is repeated after a pause of its own does not count.
func (p *Poller) schedule(r *polledRoom, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rooms[r.name] != r || p.deps.Context.Err() != nil {
		return
	}
	if pause == regularly {
		r.polls++
		pause = interval
		if r.polls < len(initialDelays) {
			pause = initialDelays[r.polls]
		}
	}
	r.timer.Reset(pause)
}
