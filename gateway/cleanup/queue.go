// Package cleanup runs the calls that release what ended streams and sessions held in LiveKit and Redis, and
// retries them with back-off until they succeed or expire. It owns the retries and the bounds of their
// number. The gateway and those of its services that hold something in LiveKit or Redis add tasks; the
// gateway waits for them at its end.
package cleanup

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"wcsgateway/gateway/sampled"
	"wcsgateway/state"
	"wcsgateway/translate"
)

const (
	// Expiry is how long a task is retried. An operator has to look into what has not succeeded by then.
	Expiry = 15 * time.Minute
	// ExpiryNeverUp is how long the removal of a participant is retried that was never up: after that its
	// token has expired and LiveKit has dropped it.
	ExpiryNeverUp = 90 * time.Second
	// AttemptTimeout bounds one attempt.
	AttemptTimeout = 3 * time.Second
	// Parallel is how many first attempts, and how many retries, run at a time for each target.
	Parallel = 64
	// MaxBacklog is how many failed tasks for Redis are retried before CheckBacklog fails.
	MaxBacklog = 5000
	// FirstWait and MaxWait are the shortest and the longest pause between two attempts.
	FirstWait = 500 * time.Millisecond
	MaxWait   = 15 * time.Second

	linesPerSecond = 10 // of the log: while a target is down, all its tasks fail
)

// ErrBacklogFull is returned while too many tasks for Redis have failed and are being retried.
var ErrBacklogFull = errors.New("cleanup backlog is full")

// Target is the system that a task calls. Each target has limits of its own, so that a dead LiveKit node does
// not delay calls to Redis.
type Target int

// The targets of tasks.
const (
	SFU Target = iota
	Store
	EgressService
	targets
)

// target bounds the calls to one system. Retries have a limit of their own, so that failing tasks do not
// delay new ones.
type target struct {
	first, retry *semaphore.Weighted
	failing      int // tasks that have failed and are retried; guarded by Queue.mu
}

// Task is one call that releases something.
type Task struct {
	Op     string // names the task in logs
	Target Target
	Expiry time.Duration // since it was added; it is not retried after that
	// Run makes the call. It must be safe to repeat.
	Run func(context.Context) error
}

// StoreTask returns a task that changes something in Redis, or publishes an event there.
func StoreTask(op string, run func(context.Context) error) Task {
	return Task{Op: op, Target: Store, Expiry: Expiry, Run: run}
}

// Metrics are the figures of a Queue.
type Metrics struct {
	Pending prometheus.Gauge // tasks and holds that have not ended
}

// Deps are what a Queue needs.
type Deps struct {
	// Context is the parent of all calls. Tasks are not retried once it is done.
	Context context.Context
	// Remove ends a participant at LiveKit.
	Remove func(ctx context.Context, room translate.RoomName, id translate.Identity) error
	// Recovered is deferred in every goroutine and recovers its panic.
	Recovered func()
	Metrics   *Metrics
	Log       zerolog.Logger
}

// Queue runs tasks. Its methods are safe for concurrent use.
type Queue struct {
	// set once
	deps Deps
	log  zerolog.Logger // sampled

	mu      sync.Mutex
	targets [targets]target // the semaphores are set once
	pending int
	idle    chan struct{} // closed when pending is 0; nil while no Wait runs
}

// New returns a Queue without tasks.
func New(d Deps) *Queue {
	q := &Queue{deps: d, log: d.Log.Sample(sampled.Sampler(linesPerSecond))}
	for i := range q.targets {
		q.targets[i] = target{first: semaphore.NewWeighted(Parallel), retry: semaphore.NewWeighted(Parallel)}
	}
	return q
}

// CheckBacklog returns ErrBacklogFull if nothing may be started that has to be released in Redis later.
func (q *Queue) CheckBacklog() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.targets[Store].failing >= MaxBacklog {
		return ErrBacklogFull
	}
	return nil
}

// RemoveParticipant adds a task that ends a participant at LiveKit. The channel is as Add's.
func (q *Queue) RemoveParticipant(room translate.RoomName, id translate.Identity, expiry time.Duration) <-chan struct{} {
	return q.Add(Task{"remove participant", SFU, expiry, func(ctx context.Context) error { return q.deps.Remove(ctx, room, id) }})
}

// Add runs a task in the background. The returned channel is closed after its first attempt.
func (q *Queue) Add(t Task) (attempted <-chan struct{}) {
	release := q.Hold()
	done := make(chan struct{})
	go func() {
		defer release()
		defer q.deps.Recovered()
		q.run(t, sync.OnceFunc(func() { close(done) }))
	}()
	return done
}

// run attempts the task until it succeeds, fails for good or expires.
func (q *Queue) run(t Task, attempted func()) {
	defer attempted()
	to := &q.targets[t.Target]
	limit, failing := to.first, 0
	defer func() { q.addFailing(to, -failing) }()
	attempt := func() (struct{}, error) {
		err := q.attempt(t, limit)
		attempted()
		if err != nil && !Retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	retrying := func(err error, wait time.Duration) {
		if failing == 0 {
			limit, failing = to.retry, 1
			q.addFailing(to, failing)
		}
		q.warn(t, err).Dur("retry_in", wait).Msg("cleanup failed, will be retried")
	}
	_, err := backoff.Retry(q.deps.Context, attempt,
		backoff.WithBackOff(NewBackOff(FirstWait, MaxWait)), backoff.WithMaxElapsedTime(t.Expiry), backoff.WithNotify(retrying))
	if err != nil {
		q.warn(t, err).Msg("cleanup failed for good")
	}
}

// NewBackOff returns pauses that double from first to longest.
func NewBackOff(first, longest time.Duration) backoff.BackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, MaxInterval: longest}
}

func (q *Queue) warn(t Task, err error) *zerolog.Event {
	return q.log.Warn().Err(err).Str("op", t.Op).Int("failing", q.addFailing(&q.targets[t.Target], 0))
}

func (q *Queue) attempt(t Task, limit *semaphore.Weighted) error {
	if err := limit.Acquire(q.deps.Context, 1); err != nil {
		return err
	}
	defer limit.Release(1)
	ctx, cancel := context.WithTimeout(q.deps.Context, AttemptTimeout)
	defer cancel()
	return t.Run(ctx)
}

// Retryable reports whether a call that failed with err may succeed later.
func Retryable(err error) bool {
	switch translate.KindOf(err) {
	case translate.ErrKindUnavailable, translate.ErrKindDenied:
		return true
	}
	return errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrLeaseStale)
}

// addFailing changes the number of tasks that are retried for a target, and returns it.
func (q *Queue) addFailing(t *target, by int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.failing += by
	return t.failing
}

// Hold counts work of the caller as pending until release is called, for Pending, Wait and the metric.
func (q *Queue) Hold() (release func()) {
	q.addPending(+1)
	return sync.OnceFunc(func() { q.addPending(-1) })
}

func (q *Queue) addPending(by int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending += by
	q.deps.Metrics.Pending.Add(float64(by))
	if q.pending == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// Pending returns the number of tasks and holds that have not ended.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending
}

// Wait returns when nothing is pending or ctx is done.
func (q *Queue) Wait(ctx context.Context) {
	q.mu.Lock()
	if q.pending == 0 {
		q.mu.Unlock()
		return
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
