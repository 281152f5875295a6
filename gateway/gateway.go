package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/bus"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/natives"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/reconcile"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/sampled"
	"wcsgateway/gateway/session"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// SFU is LiveKit.
type SFU interface {
	session.SFU
	// Follow moves a player to the tracks of another publisher.
	Follow(ctx context.Context, f translate.Following) error
}

// Deps are the services that a Gateway uses. Members are set unless their comment says otherwise.
type Deps struct {
	SFU       SFU
	Prober    probe.Prober
	Camera    snapshot.Camera
	Notifier  session.Notifier
	Egress    egress.Client
	Webhooks  Webhooks
	Store     session.Store
	Sessions  session.Sessions
	Events    bus.Events
	Rooms     roomapi.Store
	Directory admin.Directory
	Pulls     pulls.Store
	// Tokens keeps the tokens of upstreams with their sessions, and the names that clients publish there.
	Tokens hybrid.Tokens
	// Issued records which upstream issued the token of a spliced session.
	Issued upstream.TokenStore
	// Usage keeps what upstreams are used for. It can be nil.
	Usage upstream.UsageStore
	// History returns this pod's figures of the last hour, as JSON.
	History func() any
	// Health returns what this pod found out of order in what its configuration names.
	Health func() []admin.Finding
	// StoreReady reports whether Redis was reached at least once. Until then the pod is not ready, because it
	// could not start streams.
	StoreReady func() bool
	// Peers returns the live pods that this pod knows.
	Peers   func() []state.Peer
	Metrics *Metrics
	// Tracer records the traces of publishes and plays. It can be nil.
	Tracer trace.Tracer
	Log    zerolog.Logger
}

// Gateway is the edge of a pod: it listens, wires the services together, routes events of LiveKit and of
// other pods to the sessions, and shuts them down. Public and Internal are its HTTP handlers, StoreHandlers
// handle the store's notifications, and Run runs everything periodic.
type Gateway struct {
	// Pulls holds the sources outside the deployment. It is set once, as are the following.
	Pulls *pulls.Service

	cfg       Config
	deps      Deps
	started   time.Time
	env       *session.Env
	table     *session.Table
	admin     *admin.Service
	links     *upstream.Links
	admission *socket.Admission
	upgrader  *socket.Upgrader
	metrics   *Metrics
	cancel    context.CancelFunc // of env.Context

	waits    mediaWaits
	draining atomic.Bool    // not ready
	work     sync.WaitGroup // goroutines that Run waits for
}

// New returns a Gateway. It does not listen: the caller serves its handlers and calls Run.
func New(cfg Config, deps Deps) *Gateway {
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gateway{
		cfg: cfg, deps: deps, started: time.Now(), cancel: cancel,
		admission: socket.NewAdmission(deps.Metrics.Rejected), upgrader: socket.NewUpgrader(), metrics: deps.Metrics,
	}
	env := &session.Env{
		Config: cfg.Config, Context: ctx, Log: deps.Log, Sampled: sampled.Logger(deps.Log), HookLog: sampled.Failures(deps.Log), Tracer: deps.Tracer,
		Metrics: &deps.Metrics.Metrics,
		SFU:     deps.SFU, Notifier: deps.Notifier, Store: deps.Store, Sessions: deps.Sessions,
		Natives: natives.New(ctx, deps.SFU), Quotas: quota.New(cfg.Snapshot.PerMinute), Turns: quota.NewTurns(cfg.Limits.Quota.StartsUnderWay),
		Lookups: quota.NewTurns(session.MaxLookups), ClientLogs: rate.NewLimiter(session.PodClientLogs, session.PodClientLogs),
		RateWheel: wheel.New(rates.Interval, probe.Ticker.Tick), Ends: deps.Metrics.Ends(cfg.Recent),
	}
	env.Bus = bus.New(bus.Deps{Events: deps.Events, Pod: cfg.Pod, Handle: g.handleEvent, Transit: deps.Metrics.Transit(), Log: deps.Log})
	env.Cleanup = cleanup.New(cleanup.Deps{
		Context: ctx, Remove: deps.SFU.Remove, Recovered: env.Recovered, Pending: deps.Metrics.cleanup, Log: deps.Log,
	})
	env.Egress = egress.New(egress.Deps{
		Config: cfg.Egress, Client: deps.Egress, Cleanup: env.Cleanup, Egresses: deps.Metrics.Egresses, Context: ctx,
	})
	env.Rooms = roomapi.New(roomapi.Deps{
		Context: ctx, Store: deps.Rooms, Bus: env.Bus, Cleanup: env.Cleanup, Recovered: env.Recovered, Metrics: deps.Metrics.rooms, Log: deps.Log,
		Pod: cfg.Pod, MaxMembers: cfg.Rooms.MaxMembers, Timeout: cfg.Media.StoreTimeout, DetectionTime: cfg.Conn.DetectionTime(),
	})
	env.Pulls = pulls.New(pulls.Deps{
		Config: cfg.Pulls, Deployment: cfg.Deployment, Pod: cfg.Pod, Context: ctx, Store: deps.Pulls, SFU: deps.SFU,
		Settings: func() map[string]*pulls.App { return pullSettings(g.table.Settings()) }, Workers: deps.Metrics.workers,
		Recovered: env.Recovered, Log: deps.Log,
	})
	env.Snapshots = snapshot.New(snapshot.Deps{
		Config: cfg.Snapshot.Config, Camera: deps.Camera, Duration: deps.Metrics.snapshot, Context: ctx, Recovered: env.Recovered,
		NewIdentity: func() translate.Identity { return env.NewIdentity(translate.RoleSnapshot) },
	})
	g.env, g.table, g.Pulls = env, session.NewTable(env), env.Pulls
	g.links = upstream.NewLinks(upstream.Deps{
		Context: ctx, Stall: cfg.Conn.DetectionTime(), Metrics: &deps.Metrics.upstream, Refusing: g.table.Refusing, Recovered: env.Recovered, Log: deps.Log,
		Usage: deps.Usage, Tokens: deps.Issued, Opened: deps.Metrics.Connections.Inc,
		Ended: func(r socket.Reason) {
			deps.Metrics.Connections.Dec()
			deps.Metrics.Closed(r)
		},
	})
	env.Hybrid = hybrid.New(hybrid.Deps{
		Context: ctx, Links: g.links, Tokens: deps.Tokens, Names: deps.Tokens, StoreTimeout: cfg.Media.StoreTimeout, MaxStreams: cfg.MaxStreams, MaxMessageBytes: cfg.Conn.MaxQueueBytes / 2, MaxQueueBytes: cfg.Conn.MaxQueueBytes,
		MaxQueued: cfg.Conn.MaxQueueMessages, Stall: cfg.Conn.DetectionTime(), Metrics: &deps.Metrics.hybrid, Recovered: env.Recovered, Log: deps.Log,
	})
	g.metrics.Limits(&cfg.Limits)
	env.TakenOver = (&orphans{env: env, table: g.table}).takenOver
	env.Poller = reconcile.New(reconcile.Deps{Context: ctx, Rooms: deps.SFU, Recovered: env.Recovered, Log: deps.Log, Local: g.table.Has})
	env.Probes = probe.New(probe.Deps{
		Prober: deps.Prober, Schedule: env.RateWheel.Add, Go: g.work.Go, Recovered: env.Recovered, Send: g.send,
		CheckPayload: g.table.CheckPayload, NewIdentity: func() translate.Identity { return env.NewIdentity(translate.RoleProbe) },
		Pod: cfg.Pod, MaxProbes: cfg.MaxProbes, Context: ctx, Metrics: &deps.Metrics.probe, Log: deps.Log,
	})
	g.admin = admin.New(admin.Deps{
		Pod: cfg.Pod, Local: local{g.table, g}, Directory: deps.Directory, Bus: env.Bus, CheckData: g.table.CheckData,
		Ready: g.Ready, History: deps.History, Ends: env.Ends, Template: cfg.Egress.Template, StartTimeout: cfg.Egress.StartTimeout,
		Egresses: env.Egress, PushAddress: g.pushAddress, FilePrefix: cfg.Egress.Prefix,
		Recovered: env.Recovered, Log: deps.Log,
	})
	return g
}

// Admin returns the service that queries and controls the deployment.
func (g *Gateway) Admin() *admin.Service { return g.admin }

// pullSettings returns what each application is allowed to play from outside.
func pullSettings(s *apps.Settings) map[string]*pulls.App {
	all := make(map[string]*pulls.App)
	for key, app := range s.Apps {
		all[key] = &app.Pull
	}
	return all
}

// Snapshot takes a picture of a published stream, as a PNG (session.Table.Snapshot).
func (g *Gateway) Snapshot(ctx context.Context, name string) ([]byte, error) {
	return g.table.Snapshot(ctx, name)
}

// Reload replaces the applications, origins and limits.
func (g *Gateway) Reload(r apps.Reloadable) {
	g.table.Reload(r)
	g.metrics.Limits(&r.Limits)
}

// send notifies pods of an event within the time limit for Redis.
func (g *Gateway) send(pods []string, e state.Event) {
	ctx, cancel := context.WithTimeout(g.env.Context, g.cfg.Media.StoreTimeout)
	defer cancel()
	g.env.Bus.Notify(ctx, pods, e)
}

// shutdownTimeout bounds how long Run waits at the end for the last messages to clients and for cleanup.
const shutdownTimeout = 10 * time.Second

// Run pings clients and sends them their video rates until ctx is done. Then it drains the pod. It returns
// when all sessions are closed and all that they held is released, or shutdownTimeout after the last socket
// was closed and the detached sessions were held for other pods.
func (g *Gateway) Run(ctx context.Context) {
	wheelCtx, stopWheels := context.WithCancel(context.Background())
	defer stopWheels()
	g.work.Go(func() { g.table.Run(wheelCtx) })
	g.work.Go(func() { g.env.RateWheel.Run(wheelCtx) })
	g.work.Go(func() { g.env.Rooms.Run(wheelCtx) })
	g.work.Go(func() { g.env.Bus.MeasureTransit(wheelCtx) })
	g.work.Go(func() { g.links.Run(g.env.Context) })
	g.work.Go(func() { g.links.KeepTokens(g.env.Context) })
	g.work.Go(func() { g.env.Hybrid.Run(g.env.Context) })
	g.work.Go(func() { g.env.Pulls.CountWorkers(g.env.Context) })

	<-ctx.Done()
	g.drain()
	stopWheels()
	g.await(g.cfg.Handover + shutdownTimeout)
	g.cancel()
	g.env.Pulls.Wait()
	g.env.Cleanup.Wait(context.Background()) // its tasks end with g.env.Context
	g.work.Wait()
}

// await waits for the end of all sessions, cleanup tasks, calls to backends and snapshots.
func (g *Gateway) await(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		for _, s := range g.table.All() {
			<-s.Done()
		}
		g.links.Wait()
		g.env.Cleanup.Wait(g.env.Context)
		g.table.WaitHooks()     // sessions and cleanup, which start them, have ended
		g.env.Snapshots.Close() // those of backends; those of clients end with their sessions
		close(done)
	}()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		g.env.Log.Error().Int("sessions", len(g.table.All())).Int("cleanup", g.env.Cleanup.Pending()).Str("hint", "another pod removes the participants and names that are left").Msg("shutdown timed out")
		g.cancel()
		<-done
	}
}

// Ready reports whether clients should be sent to this pod.
func (g *Gateway) Ready() bool { return !g.draining.Load() && g.deps.StoreReady() }

// StoreHandlers returns the handlers of the store's notifications.
func (g *Gateway) StoreHandlers() state.Handlers {
	return state.Handlers{
		Event:     g.env.Bus.Deliver,
		TakenOver: g.env.TakenOver,
		Reset:     func() { g.table.Reregister(); g.links.RenewTokens() },
		Lost:      g.table.StartClean,
		Describe:  g.describe,
	}
}

// handleEvent handles an event for this pod. The events that need LiveKit, Redis or a client are handled
// beside it.
func (g *Gateway) handleEvent(e state.Event) {
	switch e.Kind {
	case state.EventChanged:
		if e.Stream != nil {
			g.table.PublisherChanged(e.From, *e.Stream, e.Data)
		}
	case state.EventEnded:
		if e.Stream != nil {
			g.table.PublisherEnded(e.From, e.Stream.Name, translate.Identity(e.Stream.Identity))
		}
	case state.EventWebhook:
		g.deliverForwarded(e)
	case state.EventAliveCheck:
		go func() {
			defer g.env.Recovered()
			g.table.ReplyAlive(e)
		}()
	case state.EventResumed:
		// A task, so that a pod that shuts down does not end before it has replied.
		g.env.Cleanup.Add(cleanup.StoreTask("hand over session", cleanup.Party{}, func(ctx context.Context) error { return g.table.HandOver(ctx, e) }))
	case state.EventWantRates:
		g.table.WantRates(e)
	case state.EventRates:
		g.env.Probes.OnFigures(e)
	case state.EventRoom:
		g.env.Rooms.OnChanged(e.Body)
	case state.EventMessage:
		g.env.Rooms.OnMessage(e.Body)
	case state.EventAdmin:
		go func() {
			defer g.env.Recovered()
			g.admin.HandleRequest(g.env.Context, e)
		}()
	}
}
