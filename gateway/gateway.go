package gateway

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/bus"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/reconcile"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/sampled"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Deps are what a Gateway needs.
type Deps struct {
	SFU      SFU
	Prober   probe.Prober
	Camera   snapshot.Camera
	Notifier Notifier
	Egress   egress.Client
	Webhooks Webhooks
	Store    Store
	Sessions Sessions
	Events   bus.Events
	// Resumption takes resumable sessions and their streams from other pods.
	Resumption Resumption
	Rooms      roomapi.Store
	Directory  Directory
	// History returns this pod's figures of the last hour, as JSON. It may be nil.
	History func() any
	// StoreReady reports whether Redis was reached at least once. Until then the pod is not ready, because it
	// could not start streams.
	StoreReady func() bool
	// Peers returns the live pods that this pod knows.
	Peers   func() []state.Peer
	Metrics *Metrics
	// Tracer records the traces of publishes and plays. It may be nil.
	Tracer trace.Tracer
	Log    zerolog.Logger
}

// Gateway serves WCS clients. Public and Internal are its HTTP handlers, StoreHandlers handle the store's
// notifications, and Run runs everything periodic.
type Gateway struct {
	// set once
	cfg        Config
	deps       Deps
	log        zerolog.Logger
	tracer     trace.Tracer   // nil: no traces
	noisy      zerolog.Logger // for messages that clients can cause at any rate
	metrics    *Metrics
	upgrader   *socket.Upgrader
	version    []byte // the getVersion frame
	pings      *wheel.Wheel[*socket.Conn]
	streams    *registry
	poller     *reconcile.Poller
	rateWheel  *wheel.Wheel[probe.Ticker]
	probes     *probe.Pool
	snapshots  *snapshot.Service
	bus        *bus.Bus
	cleanup    *cleanup.Queue
	rooms      *roomapi.Rooms
	admission  *socket.Admission
	now        atomic.Pointer[current] // the settings that a reload changes
	egress     *egress.Service
	admin      *admin.Service
	orphanHook orphanLines
	moving     keyLock // by session id: while streams are adopted or released
	hookLog    zerolog.Logger
	ctx        context.Context // of all work that outlives a command; ends last
	cancel     context.CancelFunc

	draining   atomic.Bool    // not ready
	refusing   atomic.Bool    // no new sockets
	work       sync.WaitGroup // goroutines that Run waits for
	hookBudget sync.Map       // *hooks.Budget by app key
	hookCalls  sync.WaitGroup // calls to backends that run or are queued

	mu         sync.Mutex
	sessions   map[*session]struct{}
	byID       map[string]*session    // those with a session id
	sessionsOf map[string]int         // by app key: the number of admitted sessions
	resumable  map[string]*session    // by id: sessions with keepAlive
	detached   socket.PerAddressCount // by address: the number of resumable sessions without a socket
}

// New returns a Gateway. It does not listen: the caller serves its handlers and calls Run.
func New(cfg Config, deps Deps) *Gateway {
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gateway{
		cfg:        cfg,
		deps:       deps,
		log:        deps.Log,
		noisy:      sampled.Logger(deps.Log),
		metrics:    deps.Metrics,
		tracer:     deps.Tracer,
		upgrader:   socket.NewUpgrader(),
		version:    wcs.Version(cfg.Version),
		pings:      wheel.New(cfg.Conn.PingInterval, (*socket.Conn).Ping),
		rateWheel:  wheel.New(rateInterval, probe.Ticker.Tick),
		hookLog:    newHookLog(deps.Log),
		admission:  socket.NewAdmission(),
		streams:    newRegistry(),
		ctx:        ctx,
		cancel:     cancel,
		sessions:   make(map[*session]struct{}),
		byID:       make(map[string]*session),
		sessionsOf: make(map[string]int),
		resumable:  make(map[string]*session),
	}
	g.Reload(cfg.Live)
	g.poller = reconcile.New(reconcile.Deps{
		Context: ctx, Rooms: deps.SFU, Recovered: g.recovered, Log: deps.Log,
		Local: func(publisher translate.Identity) bool { return g.streams.find(publisher) != nil },
	})
	g.probes = newProbes(g)
	g.snapshots = newSnapshots(g)
	g.bus = bus.New(bus.Deps{Events: deps.Events, Pod: cfg.Pod, Handle: g.handleEvent, Metrics: deps.Metrics.bus, Log: deps.Log})
	g.cleanup = cleanup.New(cleanup.Deps{
		Context: ctx, Remove: deps.SFU.Remove, Recovered: g.recovered, Metrics: deps.Metrics.cleanup, Log: deps.Log,
	})
	g.egress = newEgress(g)
	g.rooms = roomapi.New(roomapi.Deps{
		Context: ctx, Store: deps.Rooms, Bus: g.bus, Cleanup: g.cleanup, Recovered: g.recovered, Metrics: deps.Metrics.rooms, Log: deps.Log,
		Pod: cfg.Pod, MaxMembers: cfg.Rooms.MaxMembers, Timeout: cfg.Media.StoreTimeout, DetectionTime: cfg.Conn.DetectionTime(),
	})
	g.admin = newAdmin(g)
	return g
}

// shutdownTimeout bounds how long Run waits at the end for the last messages to clients and for cleanup.
const shutdownTimeout = 10 * time.Second

// Run pings clients and sends them their video rates until ctx is done. Then it drains the pod. It returns
// when all sessions are closed and all that they held is released, or shutdownTimeout after the last socket
// was closed and the detached sessions were held for other pods.
func (g *Gateway) Run(ctx context.Context) {
	wheelCtx, stopWheels := context.WithCancel(context.Background())
	defer stopWheels()
	g.work.Go(func() { g.pings.Run(wheelCtx) })
	g.work.Go(func() { g.rateWheel.Run(wheelCtx) })
	g.work.Go(func() { g.rooms.Run(wheelCtx) })
	g.work.Go(func() { g.bus.MeasureTransit(wheelCtx) })

	<-ctx.Done()
	g.drain()
	stopWheels()
	g.await(g.cfg.Drain.Handover + shutdownTimeout)
	g.cancel()
	g.cleanup.Wait(context.Background()) // its tasks end with g.ctx
	g.work.Wait()
}

// await waits for the end of all sessions, cleanup tasks, calls to backends and snapshots.
func (g *Gateway) await(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		for _, s := range g.openSessions() {
			<-s.gone
		}
		g.cleanup.Wait(g.ctx)
		g.hookCalls.Wait()  // sessions and cleanup, which start them, have ended
		g.snapshots.Close() // those of backends; those of clients end with their sessions
		close(done)
	}()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		g.log.Error().Int("sessions", len(g.openSessions())).Int("cleanup", g.cleanup.Pending()).Str("hint", "another pod removes the participants and names that are left").Msg("shutdown timed out")
		g.cancel()
		<-done
	}
}

func (g *Gateway) openSessions() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		all = append(all, s)
	}
	return all
}

// Ready reports whether clients should be sent to this pod.
func (g *Gateway) Ready() bool { return !g.draining.Load() && g.deps.StoreReady() }

// StoreHandlers returns the handlers of the store's notifications.
func (g *Gateway) StoreHandlers() state.Handlers {
	return state.Handlers{
		Event:     g.bus.Deliver,
		TakenOver: g.takenOver,
		Reset:     g.registerAgain,
		Lost:      g.startClean,
		Describe:  g.describe,
	}
}

// handleEvent handles an event for this pod. The events that need LiveKit, Redis or a client are handled
// beside it.
func (g *Gateway) handleEvent(e state.Event) {
	switch e.Kind {
	case state.EventChanged:
		if e.Stream != nil {
			g.streamChanged(e.From, *e.Stream, e.Notices)
		}
	case state.EventEnded:
		if e.Stream != nil {
			timing := notifyTiming{stageDeliver, time.Now()}
			if e.From == g.cfg.Pod {
				timing.stage = stageLocal
			}
			g.streamEnded(e.Stream.Name, translate.Identity(e.Stream.Identity), timing)
		}
	case state.EventWebhook:
		g.deliverForwarded(e)
	case state.EventAliveCheck:
		go func() {
			defer g.recovered()
			g.replyAlive(e)
		}()
	case state.EventResumed:
		// A task, so that a pod that shuts down does not end before it has replied.
		g.cleanup.Add(cleanup.StoreTask("hand over session", func(ctx context.Context) error { return g.onHandOverRequest(ctx, e) }))
	case state.EventWantRates:
		g.ratesWanted(e)
	case state.EventRates:
		g.probes.OnFigures(e)
	case state.EventRoom:
		g.rooms.OnChanged(e.Body)
	case state.EventMessage:
		g.rooms.OnMessage(e.Body)
	case state.EventAdmin:
		go func() {
			defer g.recovered()
			g.admin.HandleRequest(g.ctx, e)
		}()
	}
}

// takenOver removes the participants that a dead pod left at LiveKit, and notifies the pods with players of
// its streams.
func (g *Gateway) takenOver(o state.Orphan) {
	switch {
	case o.Stream != nil:
		rec := *o.Stream
		g.log.Info().Str("room", rec.Room).Str("identity", rec.Identity).Str("pod_lost", rec.Owner.Pod).Msg("stream of a dead pod taken over")
		g.cleanup.RemoveParticipant(translate.RoomName(rec.Room), translate.Identity(rec.Identity), cleanup.Expiry)
		g.cleanup.Add(cleanup.StoreTask("notify players of orphan", func(ctx context.Context) error {
			g.bus.Notify(ctx, o.Pods, state.Event{Kind: state.EventEnded, Name: rec.Name, Stream: &rec})
			return nil
		}))
	case o.Room != nil:
		g.log.Info().Str("room", o.Room.Name).Str("app", o.Room.App).Msg("members of a dead pod removed from a room")
		g.cleanup.Add(cleanup.StoreTask("notify room of orphan", func(ctx context.Context) error {
			g.bus.Notify(ctx, o.Pods, roomapi.ChangedEvent(*o.Room))
			return nil
		}))
	case o.Session != nil:
		g.notifyOrphaned(*o.Session)
	case o.Player != nil:
		for room := range g.roomsOf(*o.Player) {
			g.cleanup.RemoveParticipant(room, translate.Identity(o.Player.Identity), cleanup.Expiry)
		}
	}
}

// roomsOf returns the rooms that a player may be in. A player is registered before the application of its
// stream, and with it the room, is known. Its room is then one of those that the applications map the
// stream's name to.
func (g *Gateway) roomsOf(p state.Player) map[translate.RoomName]struct{} {
	rooms := make(map[translate.RoomName]struct{})
	if p.Room != "" {
		rooms[translate.RoomName(p.Room)] = struct{}{}
		return rooms
	}
	for _, app := range g.live().apps {
		rooms[app.Room.Room(app.Key, p.Stream)] = struct{}{}
	}
	return rooms
}

// registerAgain writes all records of this pod to Redis, which may have lost them.
func (g *Gateway) registerAgain() {
	g.rooms.Reregister()
	all := g.streams.all()
	if len(all) > 0 {
		g.log.Warn().Int("streams", len(all)).Str("hint", "Redis was unreachable or lost this pod's lease").Msg("registering all streams again")
	}
	for _, st := range all {
		st.sess.loop.Post(st.registerAgain)
	}
}

// startClean closes all sessions, because other pods regarded this one as dead: they removed its
// participants, and its names may be in use again.
func (g *Gateway) startClean() {
	open := g.openSessions()
	g.rooms.DropAll()
	g.log.Error().Int("sessions", len(open)).Str("hint", "the pod was frozen, or did not reach Redis, for longer than its lease").Msg("taken over by other pods; closing all sockets")
	for _, s := range open {
		s.terminate(socket.ClosedTakenOver)
	}
}

// streamChanged passes a stream's changed record and its events to this pod's players of it.
func (g *Gateway) streamChanged(pod string, rec state.Stream, said []state.StreamNotice) {
	if rec.Phase == state.PhasePublishing {
		g.streams.published(rec.Name)
	}
	for _, st := range g.streams.playersOf(rec.Name) {
		st.sess.loop.Post(func() { st.publisherChanged(pod, rec, said) })
	}
}

// streamEnded ends this pod's players of a publisher that is gone.
func (g *Gateway) streamEnded(name string, publisher translate.Identity, timing notifyTiming) {
	for _, st := range g.streams.playersOf(name) {
		st.sess.loop.Post(func() { st.publisherGone(publisher, timing) })
	}
}

// recovered recovers a panic in a goroutine that the gateway started, so that the process goes on. It must be
// deferred.
func (g *Gateway) recovered() {
	if v := recover(); v != nil {
		g.metrics.panics.Inc()
		g.log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("panic recovered")
	}
}

// withTimeout returns the context of a call that must outlive the command that caused it.
func (g *Gateway) withTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(g.ctx, d)
}

// newIdentity returns a new identity for a participant of this pod.
func (g *Gateway) newIdentity(r translate.Role) translate.Identity {
	return translate.NewIdentity(g.cfg.Deployment, r, g.cfg.Pod)
}

// podOf returns the pod that a LiveKit participant's identity names; ours reports whether it belongs to this
// deployment.
func (g *Gateway) podOf(id translate.Identity) (pod string, ours bool) {
	deployment, _, pod, ok := id.Parse()
	return pod, ok && deployment == g.cfg.Deployment
}
