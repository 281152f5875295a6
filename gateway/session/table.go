package session

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/serial"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/waiting"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Table holds the sessions of this pod and their streams. It finds them for events from LiveKit, from other
// pods and from operators, and runs what is periodic about them.
type Table struct {
	// set once
	*Env
	version []byte // the getVersion frame
	pings   *wheel.Wheel[*socket.Conn]

	// any goroutine
	streams   *registry
	settings  atomic.Pointer[apps.Settings]
	refusing  atomic.Bool    // no new sessions
	Moving    serial.KeyLock // by session id: while its streams are adopted or released; by identity: while a record is written or adopted
	hookCalls sync.WaitGroup // calls to backends that run or are queued

	mu         sync.Mutex
	sessions   map[*Session]struct{}
	byID       map[string]*Session         // those with a session id
	sessionsOf map[string]int              // by app key: the number of admitted sessions
	detached   waiting.Ranks[*resumeState] // resumable sessions without a socket
}

// NewTable returns a Table without sessions. The caller runs Run, and sets the members of env that need the
// table (Poller, Probes) before it opens a session.
func NewTable(env *Env) *Table {
	t := &Table{
		Env:        env,
		version:    wcs.Version(env.Config.Version),
		pings:      wheel.New(env.Config.Conn.PingInterval, (*socket.Conn).Ping),
		streams:    newRegistry(),
		sessions:   make(map[*Session]struct{}),
		byID:       make(map[string]*Session),
		sessionsOf: make(map[string]int),
	}
	t.Reload(env.Config.Reloadable)
	return t
}

// Run pings clients until ctx is done.
func (t *Table) Run(ctx context.Context) { t.pings.Run(ctx) }

// Open starts a session on an upgraded socket. first is its first message, nil if that was not read yet.
func (t *Table) Open(ws *websocket.Conn, p Peer, first []byte) {
	s := &Session{table: t, Peer: p, lifetime: lifetime{gone: make(chan struct{})}}
	if t.Config.Recent {
		s.messages = new(admin.MessageLog)
	}
	s.loop.Recovered = s.onPanic
	s.rooms.s = s
	s.conn = socket.New(ws, &t.Config.Conn, p.Conn, socketEvents{s})
	s.leave = t.pings.Add(s.conn)
	t.mu.Lock()
	t.sessions[s] = struct{}{}
	t.mu.Unlock()
	t.Metrics.Connections.Inc()
	if t.refusing.Load() { // Refuse might not have seen this session
		s.conn.Close(socket.ClosedShutdown)
	}
	go s.conn.Serve(first)
}

// Refuse has sessions that are opened from now on closed at once.
func (t *Table) Refuse() { t.refusing.Store(true) }

// Refusing reports whether new sessions are refused.
func (t *Table) Refusing() bool { return t.refusing.Load() }

// All returns the sessions of this pod, detached ones included.
func (t *Table) All() []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.sessions))
}

// Sockets returns the number of sessions with a socket.
func (t *Table) Sockets() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sessions) - t.detached.Len()
}

// WaitHooks waits for the calls to backends. Sessions and cleanup, which start such calls, must have ended.
func (t *Table) WaitHooks() { t.hookCalls.Wait() }

// Deliver passes LiveKit's event to the participant's stream on this pod. It reports whether there is one.
func (t *Table) Deliver(e translate.Event) bool {
	st := t.streams.find(e.Identity)
	if st == nil {
		return false
	}
	st.sess.loop.Post(func() { st.onEvent(e) })
	return true
}

// Has reports whether a stream of this pod has the participant.
func (t *Table) Has(id translate.Identity) bool { return t.streams.find(id) != nil }

// PublisherEnded ends this pod's players of a stream that ended on the pod from.
func (t *Table) PublisherEnded(from, name string, publisher translate.Identity) {
	timing := notifyTiming{stageDeliver, time.Now()}
	if from == t.Config.Pod {
		timing.stage = stageLocal
	}
	t.publisherEnded(name, publisher, timing)
}

// Reregister writes all records of this pod to Redis, which may have lost them.
func (t *Table) Reregister() {
	t.Rooms.Reregister()
	all := t.streams.all()
	if len(all) > 0 {
		t.Log.Warn().Int("streams", len(all)).Str("hint", "Redis was unreachable or lost this pod's lease").Msg("registering all streams again")
	}
	for _, st := range all {
		st.sess.loop.Post(st.reregister)
	}
}

// StartClean closes all sessions, because other pods regarded this one as dead: they removed its
// participants, and its names may be in use again.
func (t *Table) StartClean() {
	open := t.All()
	t.Rooms.DropAll()
	t.Log.Error().Int("sessions", len(open)).Str("hint", "the pod was frozen, or did not reach Redis, for longer than its lease").Msg("taken over by other pods; closing all sockets")
	for _, s := range open {
		s.Terminate(socket.ClosedTakenOver)
	}
}

// PublisherChanged passes a stream's changed record and the publisher's data to this pod's players of it.
func (t *Table) PublisherChanged(pod string, rec state.Stream, data [][]byte) {
	if rec.Phase == state.PhasePublishing {
		t.streams.published(rec.Name)
	}
	for _, st := range t.streams.playersOf(rec.Name) {
		st.sess.loop.Post(func() { st.onPublisherChanged(pod, rec, data) })
	}
}

// publisherEnded ends this pod's players of a publisher that is gone.
func (t *Table) publisherEnded(name string, publisher translate.Identity, timing notifyTiming) {
	for _, st := range t.streams.playersOf(name) {
		st.sess.loop.Post(func() { st.onPublisherEnded(publisher, timing) })
	}
}

// sessionByID returns the session of this pod that has the id, or nil. If it was resumed on this pod, that is
// the new one.
func (t *Table) sessionByID(id string) *Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// Reload replaces the settings. Existing sessions keep their application.
func (t *Table) Reload(r apps.Reloadable) {
	t.settings.Store(apps.New(r))
	for _, app := range r.Apps {
		t.Ends.Preset(app.Key)
		t.Metrics.Sessions.WithLabelValues(app.Key)
	}
}

// Settings returns the present settings.
func (t *Table) Settings() *apps.Settings { return t.settings.Load() }

// CheckPayload validates the data message of a native participant like that of a client.
func (t *Table) CheckPayload(payload json.RawMessage) error {
	return t.Settings().Limits.CheckPayload(payload)
}
