package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Deps are what a store works with.
type Deps struct {
	Log zerolog.Logger
	// Observe is told of every call to Redis: how long it took and its error, which wraps a sentinel of this package. May be nil. The
	// names are claim_stream, put_stream, release_stream, displace_stream, find_stream, adopt_stream, add_player, remove_player, adopt_player,
	// write_sessions, find_session, list, take_session, end_session, publish, renew_lease, sweep, take_over, release_orphans, take_over_done, sync_room, refresh and leave.
	Observe func(op string, d time.Duration, err error)
	// Trace is told of the same calls, as they end, with the context that they were made in. May be nil.
	Trace func(ctx context.Context, op string, start time.Time, err error)
}

// Redis is the store of one pod. It implements the gateway's Store, Sessions and Events; its calls may be made from any
// goroutine. Calls with the same stream or player must not overlap.
//
// Errors wrap one of this package's sentinels: whatever is not one of the others is ErrUnavailable, and then
// a write may have happened. It is undone by ReleaseStream or RemovePlayer.
type Redis struct {
	// set once
	cfg      Config
	pod      Pod
	log      zerolog.Logger
	observe  func(op string, d time.Duration, err error)
	trace    func(ctx context.Context, op string, start time.Time, err error)
	client   redis.UniversalClient
	sharded  bool // Pub/Sub
	keys     keys
	scripts  scripts
	handlers Handlers // by Run
	now      func() time.Time
	grace    time.Duration // on top of a lease, for which Redis must have answered before anything is taken over

	lease      lease
	sessions   sessionBook
	peers      atomic.Pointer[[]Peer]
	subscribed atomic.Bool
	reached    atomic.Bool
}

// takeOverGrace is what design.md §4 adds to the lease time.
const takeOverGrace = 5 * time.Second

// Open makes a pod's store. It checks the configuration and does not connect: Run does.
func Open(cfg Config, pod Pod, deps Deps) (*Redis, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), pod.validate()); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	r := &Redis{
		cfg:     cfg,
		pod:     pod,
		log:     deps.Log,
		observe: deps.Observe,
		trace:   deps.Trace,
		client:  cfg.client(),
		sharded: cfg.isCluster(),
		keys:    keysOf(pod.Deployment),
		scripts: newScripts(),
		now:     time.Now,
		grace:   takeOverGrace,
	}
	if r.observe == nil {
		r.observe = func(string, time.Duration, error) {}
	}
	r.lease.length = cfg.Lease
	r.lease.begin(r.newLife(Owner{}))
	r.sessions.init()
	return r, nil
}

// Run keeps the pod's lease, registers sessions, brings events, and takes over from pods that have died, until ctx is done.
// Then it registers what is pending, gives the lease back and closes the connections. What the gateway still holds by
// then is taken over by other pods at once. It is called once, and returns nil.
func (r *Redis) Run(ctx context.Context, h Handlers) error {
	r.handlers = h
	r.work(ctx)
	r.leave(context.WithoutCancel(ctx))
	if err := r.client.Close(); err != nil {
		r.log.Debug().Err(err).Msg("closing the connections to redis")
	}
	return nil
}

// work runs everything that goes on by itself, until ctx is done.
func (r *Redis) work(ctx context.Context) {
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){r.keepLease, r.receiveEvents, r.writeSessions, r.sweepPods, r.refreshRecords} {
		loops.Go(func() { loop(ctx) })
	}
	loops.Wait()
}

// Ready tells whether the lease was ever taken and events ever subscribed to: before that a pod is
// not ready, afterwards Redis does not affect readiness (design.md §9).
func (r *Redis) Ready() bool { return r.reached.Load() && r.subscribed.Load() }

// Fresh tells whether the lease is fresh. When it is not, writes are refused with ErrLeaseStale.
func (r *Redis) Fresh() bool {
	_, fresh := r.lease.writer(r.now())
	return fresh
}

// read makes a call that does not depend on the lease.
func (r *Redis) read(ctx context.Context, op string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.CallTimeout)
	defer cancel()
	start := time.Now()
	err := classify(op, f(ctx))
	r.observe(op, time.Since(start), err)
	if r.trace != nil {
		r.trace(ctx, op, start, err)
	}
	return err
}

// write makes a call as the owner, if the lease is fresh.
func (r *Redis) write(ctx context.Context, op string, f func(context.Context, Owner) error) error {
	owner, fresh := r.lease.writer(r.now())
	if !fresh {
		return fmt.Errorf("%s: %w", op, ErrLeaseStale)
	}
	return r.read(ctx, op, func(ctx context.Context) error { return f(ctx, owner) })
}

// classify gives every error a sentinel.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{ErrNotFound, ErrNameTaken, ErrMediaIDTaken, ErrAdopted, ErrLostOwnership, ErrLeaseStale, ErrUnavailable} {
		if errors.Is(err, ours) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
}

// ms is a duration as scripts take it.
func ms(d time.Duration) int64 { return d.Milliseconds() }

// QuietClientLog sends what go-redis says of connections to log at debug level, for the whole process. Without it
// go-redis writes to standard error. It is called once, before any Open.
func QuietClientLog(log zerolog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log zerolog.Logger }

func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Debug().Msgf(format, args...)
}
