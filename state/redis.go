package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Deps are the dependencies of a store.
type Deps struct {
	Log zerolog.Logger
	// Observe is called after every call to Redis with its duration and its error, which wraps a sentinel of this
	// package. nil: not called. The names are claim_stream, put_stream, release_stream, displace_stream,
	// find_stream, find_lease, adopt_stream, add_player, remove_player, adopt_player, write_sessions,
	// find_session, list, take_session, end_session, publish, renew_lease, list_pod, sweep, look_at_leases,
	// take_over, release_orphans, take_over_done, sync_room, refresh, leave, count_upstream, list_upstream,
	// put_upstream_names, drop_upstream_names, has_upstream_name, put_upstream_tokens, find_upstream_token,
	// add_transcript, list_transcripts, want_pull, release_pull, end_pull, find_pulls, list_pulls, take_pull,
	// renew_pull, restore_pull, return_pull, list_pull_workers and put_pull_worker.
	Observe func(op string, d time.Duration, err error)
	// Trace is called after the same calls, with the context of the call. nil: not called.
	Trace func(ctx context.Context, op string, start time.Time, err error)
}

// Redis is the store of one pod. It implements the gateway's Store, Sessions and Events. It is safe for
// concurrent use, except that calls for the same stream or player must not overlap.
//
// Errors wrap one of this package's sentinels. Unclassified failures are ErrUnavailable; then a write can
// have happened. ReleaseStream and RemovePlayer undo it.
type Redis struct {
	// set once
	cfg      Config
	pod      Pod
	log      zerolog.Logger
	observe  func(op string, d time.Duration, err error)
	trace    func(ctx context.Context, op string, start time.Time, err error)
	client   redis.UniversalClient
	sharded  bool        // Pub/Sub
	apart    atomic.Bool // the keys of a pod and those of streams can be on different servers
	keys     keys
	scripts  scripts
	handlers Handlers // set by Run
	now      func() time.Time
	grace    time.Duration // Redis must have answered for a lease and this before a take-over

	stamps     atomic.Int64 // of this process: see stamp
	lease      lease
	sessions   sessionWriter
	handedOver handedOver
	peers      atomic.Pointer[[]Peer]
	subscribed atomic.Bool
	reached    atomic.Bool
}

// takeOverGrace is the time beyond a lease after which a dead pod is taken over.
const takeOverGrace = 5 * time.Second

// Open returns a pod's store. It does not connect; Run does.
func Open(cfg Config, pod Pod, deps Deps) *Redis {
	cfg = cfg.withDefaults()
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
	r.apart.Store(r.sharded)
	if r.observe == nil {
		r.observe = func(string, time.Duration, error) {}
	}
	r.lease.length = cfg.Lease
	r.lease.begin(r.newLife(Owner{}))
	r.sessions.init()
	return r
}

// Run renews the pod's lease, registers sessions, delivers events, and takes over from dead pods, until ctx
// is done. Then it writes pending registrations, releases the lease and closes the connections. Other pods
// take over the remaining records at once. Call it once. It returns nil.
func (r *Redis) Run(ctx context.Context, h Handlers) error {
	r.handlers = h
	r.work(ctx)
	r.leave(context.WithoutCancel(ctx))
	if err := r.client.Close(); err != nil {
		r.log.Debug().Err(err).Msg("closing redis connections failed")
	}
	return nil
}

// work runs all background work until ctx is done.
func (r *Redis) work(ctx context.Context) {
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){r.keepLease, r.receiveEvents, r.writeSessions, r.sweepPods, r.refreshRecords} {
		loops.Go(func() { loop(ctx) })
	}
	loops.Wait()
}

// Ready reports whether the lease was acquired and events were subscribed to at least once. Before that a pod
// is not ready; afterwards Redis does not affect readiness, because running sessions work without it.
func (r *Redis) Ready() bool { return r.reached.Load() && r.subscribed.Load() }

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

// write makes a call as the owner if the lease is fresh.
func (r *Redis) write(ctx context.Context, op string, f func(context.Context, Owner) error) error {
	owner, fresh := r.lease.writer(r.now())
	if !fresh {
		return fmt.Errorf("%s: %w", op, ErrLeaseStale)
	}
	return r.read(ctx, op, func(ctx context.Context) error { return f(ctx, owner) })
}

// query is read for a call that a client waits for: it has half the time.
func (r *Redis) query(ctx context.Context, op string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	return r.read(ctx, op, f)
}

// change is write for a call that a client waits for: it has half the time.
func (r *Redis) change(ctx context.Context, op string, f func(context.Context, Owner) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	return r.write(ctx, op, f)
}

// classify wraps every error in a sentinel. The reply for a missing key is ErrNotFound.
func classify(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		err = ErrNotFound
	}
	for _, ours := range []error{ErrNotFound, ErrNameTaken, ErrMediaIDTaken, ErrAdopted, ErrLostOwnership, ErrLeaseStale, ErrUnavailable, ErrFull, ErrTaken, ErrWorkersDied, ErrUnwanted} {
		if errors.Is(err, ours) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
}

// ms returns a duration in the unit of the scripts.
func ms(d time.Duration) int64 { return d.Milliseconds() }

// QuietClientLog sends go-redis' log lines to log at debug level, for the whole process. By default go-redis
// writes to standard error. Call it once, before any Open.
func QuietClientLog(log zerolog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log zerolog.Logger }

func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Debug().Msgf(format, args...)
}

// asJSON is an argument of a command or script: v as JSON. true and false are the arguments 1 and 0.
type asJSON struct{ v any }

// MarshalBinary implements encoding.BinaryMarshaler for go-redis.
func (a asJSON) MarshalBinary() ([]byte, error) { return encode(a.v) }

// encode returns v as JSON without escapes for HTML, which take six bytes for each <, > and & of a client.
func encode(v any) ([]byte, error) {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n")), nil
}
