package session

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"wcsgateway/gateway/bus"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/natives"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/quota"
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

	SFU      SFU
	Notifier Notifier
	Store    Store
	Sessions Sessions

	Bus        *bus.Bus
	Ends       *ends.Recorder
	Quotas     *quota.Table
	Turns      *quota.Turns  // of calls to LiveKit that start streams
	Lookups    *quota.Turns  // of availableStream
	ClientLogs *rate.Limiter // of lines that clients push
	Cleanup    *cleanup.Queue
	Rooms      *roomapi.Rooms
	Probes     *probe.Pool
	RateWheel  *wheel.Wheel[probe.Ticker] // one tick a second for each stream with rates
	Natives    *natives.Finder
	Pulls      *pulls.Service
	Poller     *reconcile.Poller
	Egress     *egress.Service
	Snapshots  *snapshot.Service
	Hybrid     *hybrid.Clients

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

// SFU is what sessions use of LiveKit. Every call needs a context with a deadline. Errors are
// *translate.Error, except those of PlayOffer.Offer.
type SFU interface {
	// Publish sends a publisher's offer and returns LiveKit's answer.
	Publish(ctx context.Context, o translate.PublishOffer) (translate.Answer, error)
	// Play sends a player's offer and returns LiveKit's answer, unedited. The error wraps translate.ErrPlayAgain
	// if another attempt, under another identity, can succeed.
	Play(ctx context.Context, o translate.PlayOffer) (translate.Answer, error)
	// PlayerUp is called when LiveKit has reported that a player is up: Play keeps nothing open for it any more.
	PlayerUp(id translate.Identity)
	// Remove removes a participant. A participant or room that does not exist is not an error.
	Remove(ctx context.Context, room translate.RoomName, id translate.Identity) error
	// Participant returns the present state of one participant. The error is of translate.ErrKindNotFound if the
	// participant does not exist.
	Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error)
	// Participants lists a room with its hidden participants. A room that does not exist is empty. LiveKit
	// answers from storage: participants that left can be listed, tracks and sizes can be missing
	// (docs/livekit-notes.md#asking).
	Participants(ctx context.Context, room translate.RoomName) ([]translate.Participant, error)
}

// Notifier passes a publisher's state to native participants. Every call needs a context with a deadline.
// Errors are
// *translate.Error.
type Notifier interface {
	// SetMutes writes a participant's mutes to its attributes.
	SetMutes(ctx context.Context, room translate.RoomName, id translate.Identity, m translate.Mutes) error
	// MuteTrack has LiveKit stop or resume the forwarding of a track. LiveKit can refuse to resume it
	// (translate.ErrKindRefused).
	MuteTrack(ctx context.Context, room translate.RoomName, id translate.Identity, trackSID string, muted bool) error
	// SendData sends data to all participants of a room.
	SendData(ctx context.Context, room translate.RoomName, data []byte) error
}

// Store keeps the records of streams and players. Every call ends within the time limit for Redis, with
// state.ErrUnavailable. The store adds the pod's owner (pod and epoch) to writes and refuses them with
// state.ErrLeaseStale once the lease is not fresh. Errors wrap the sentinels of package state.
type Store interface {
	// ClaimStream claims the stream's name and its media id, or neither. The error is state.ErrAdopted if another
	// pod took the session and this stream with it, as for AddPlayer.
	ClaimStream(ctx context.Context, s state.Stream) error
	// PutStream replaces the record of a claimed stream and returns the pods with players of it.
	PutStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// ReleaseStream frees name and media id and returns the pods that had players. If another owner has the
	// stream, nothing is written and the error is state.ErrLostOwnership.
	ReleaseStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// DisplaceStream releases a stream of another owner, as FindStream returned it, and returns the pods that had
	// players.
	DisplaceStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// FindStream returns the record of a name.
	FindStream(ctx context.Context, name string) (state.Stream, error)
	// Leased reports whether an owner has a lease.
	Leased(ctx context.Context, o state.Owner) (bool, error)
	// AddPlayer claims the media id, registers the player with its stream and returns the stream's record.
	// Without a record the error is state.ErrNotFound and nothing is written, unless the player is Native.
	AddPlayer(ctx context.Context, p state.Player) (state.Stream, error)
	// RemovePlayer undoes AddPlayer. It can be repeated.
	RemovePlayer(ctx context.Context, p state.Player) error
}

// Sessions registers sessions, and takes over resumable ones, with their streams, from other pods. Errors are
// as Store's.
type Sessions interface {
	// PutSession registers a session. It does not wait for Redis, nor does DropSession: registrations are written
	// in batches, and again after an outage.
	PutSession(s state.Session)
	// DropSession removes a session of this pod from the register.
	DropSession(id string)
	// FindSession returns the registration of a session of any pod.
	FindSession(ctx context.Context, id string) (state.Session, error)
	// FindSessionOf is FindSession for a session with a token. With another token the error is state.ErrNotFound.
	FindSessionOf(ctx context.Context, id string, h state.TokenHash) (state.Session, error)
	// TakeSession transfers a resumable session to this pod. update receives the stored record and returns its
	// successor (new TokenHash, next Generation), or an error to abort.
	TakeSession(ctx context.Context, id string, update func(state.Session) (state.Session, error)) (was state.Session, err error)
	// EndSession deletes the registration of a resumable session. The error is state.ErrLostOwnership if another
	// pod took it.
	EndSession(ctx context.Context, s state.Session) error
	// AdoptStream transfers a published stream of an earlier generation to this pod. from is the previous owner
	// of its session.
	AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error
	// AdoptPlayer transfers a player of another owner to this pod and returns the record of its stream.
	AdoptPlayer(ctx context.Context, p state.Player, from state.Owner) (state.Stream, error)
}
