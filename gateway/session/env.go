package session

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"wcsgateway/gateway/bus"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/reconcile"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Env holds everything that sessions use and do not own. All members but Tracer are set before the first
// session is opened, and do not change afterwards.
type Env struct {
	Config  Config
	Context context.Context // of all work that outlives a command; it ends last
	Log     zerolog.Logger
	Sampled zerolog.Logger // for messages that clients can cause at any rate
	HookLog zerolog.Logger // for calls to backends
	Tracer  trace.Tracer   // nil: no traces
	Metrics *Metrics

	SFU        SFU
	Notifier   Notifier
	Store      Store
	Sessions   Sessions
	Resumption Resumption

	Bus       *bus.Bus
	Cleanup   *cleanup.Queue
	Rooms     *roomapi.Rooms
	Probes    *probe.Pool
	RateWheel *wheel.Wheel[probe.Ticker] // one tick a second for each stream with rates
	Poller    *reconcile.Poller
	Egress    *egress.Service
	Snapshots *snapshot.Service

	// TakenOver cleans up after a stream, player, session or room membership of a pod that no longer has it.
	TakenOver func(state.Orphan)
}

// Recovered recovers a panic in a goroutine of the gateway, so that the process goes on. It must be deferred.
func (e *Env) Recovered() {
	if v := recover(); v != nil {
		e.Metrics.Panics.Inc()
		e.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("panic recovered")
	}
}

// timeout returns the context of a call that must outlive the command that caused it.
func (e *Env) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.Context, d)
}

// NewIdentity returns a new identity for a participant of this pod.
func (e *Env) NewIdentity(r translate.Role) translate.Identity {
	return translate.NewIdentity(e.Config.Deployment, r, e.Config.Pod)
}

// PodOf returns the pod that a LiveKit participant's identity names; ours reports whether it belongs to this
// deployment.
func (e *Env) PodOf(id translate.Identity) (pod string, ours bool) {
	deployment, _, pod, ok := id.Parse()
	return pod, ok && deployment == e.Config.Deployment
}
