// Package cleanup runs the calls that release what ended streams and sessions held in LiveKit and Redis, and
// retries them with back-off until they succeed or expire. It owns the tasks, the workers that run them and
// the bound of what is pending. The gateway and those of its services that hold something in LiveKit or Redis
// add tasks, and ask before they start what has to be released; the gateway waits for the tasks at its end.
package cleanup

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

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
	// AttemptTimeout bounds one attempt. A task that waits longer for its first one counts as failed.
	AttemptTimeout = 3 * time.Second
	// Parallel is how many workers run first attempts, and how many run retries, for each target.
	Parallel = 64
	// MaxBacklog is how many tasks can have failed for each target before CheckBacklog fails for all parties.
	MaxBacklog = 5000
	// FirstWait and MaxWait are the shortest and the longest pause between two attempts.
	FirstWait = 500 * time.Millisecond
	MaxWait   = 15 * time.Second

	linesPerSecond = 10 // of the log: while a target is down, all its tasks fail
)

// ErrBacklogFull is returned while too many tasks have failed and are being retried.
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

// Party is the client address whose requests caused a task: realip.LimitKey of it. The zero value is one
// party, for everything without an address, such as the records of dead pods.
type Party = netip.Addr

// Task is one call that releases something.
type Task struct {
	Op     string // names the task in logs
	Target Target
	Party  Party
	// Room: the failed tasks of a room share one entry. They are retried one after the other, up to the first
	// that fails. "": the task has an entry of its own.
	Room   translate.RoomName
	Expiry time.Duration // since it was added; it is not retried after that
	// Run makes the call. It must be safe to repeat.
	Run func(context.Context) error
}

// StoreTask returns a task that changes something in Redis, or publishes an event there.
func StoreTask(op string, party Party, run func(context.Context) error) Task {
	return Task{Op: op, Target: Store, Party: party, Expiry: Expiry, Run: run}
}

// Deps are what a Queue needs.
type Deps struct {
	// Context is the parent of all calls. Tasks are not retried once it is done.
	Context context.Context
	// Remove ends a participant at LiveKit.
	Remove func(ctx context.Context, room translate.RoomName, id translate.Identity) error
	// Recovered is deferred in every goroutine and recovers its panic.
	Recovered func()
	Pending   prometheus.Gauge // tasks and holds that have not ended
	Log       zerolog.Logger
}

// Queue runs tasks. Its methods are safe for concurrent use.
type Queue struct {
	// set once
	deps Deps
	log  zerolog.Logger // sampled

	mu      sync.Mutex
	targets [targets]*target
	pending int
	idle    chan struct{} // closed when pending is 0; nil while no Wait runs
}

// New returns a Queue without tasks.
func New(d Deps) *Queue {
	q := &Queue{deps: d, log: d.Log.Sample(sampled.Sampler(linesPerSecond))}
	for i := range q.targets {
		q.targets[i] = newTarget(q)
	}
	context.AfterFunc(d.Context, q.abandon)
	return q
}

// CheckBacklog returns ErrBacklogFull if nothing may be started for a party that has to be released in
// LiveKit and Redis later. It fails for a party with as many failed tasks as there is room for others, so
// that one party can take half of the backlog, and those with the fewest failed tasks are refused last.
func (q *Queue) CheckBacklog(p Party) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range []*target{q.targets[SFU], q.targets[Store]} {
		if t.countLate(); t.failed.byParty[p] >= MaxBacklog-t.failed.all {
			return ErrBacklogFull
		}
	}
	return nil
}

// RemoveParticipant adds a task that ends a participant at LiveKit. The channel is as Add's.
func (q *Queue) RemoveParticipant(p Party, room translate.RoomName, id translate.Identity, expiry time.Duration) <-chan struct{} {
	return q.Add(Task{Op: "remove participant", Target: SFU, Party: p, Room: room, Expiry: expiry, Run: func(ctx context.Context) error {
		return q.deps.Remove(ctx, room, id)
	}})
}

// Add runs a task in the background. The returned channel is closed after its first attempt.
func (q *Queue) Add(task Task) (attempted <-chan struct{}) {
	now, done := time.Now(), make(chan struct{})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addPending(+1)
	t := q.targets[task.Target]
	t.first.add(&entry{target: t, room: task.Room, tasks: []*queued{{Task: task, added: now, attempted: done}}})
	return done
}

// NewBackOff returns pauses that double from first to longest.
func NewBackOff(first, longest time.Duration) backoff.BackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, MaxInterval: longest}
}

// Retryable reports whether a call that failed with err may succeed later.
func Retryable(err error) bool {
	switch translate.KindOf(err) {
	case translate.ErrKindUnavailable, translate.ErrKindDenied:
		return true
	}
	return errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrLeaseStale)
}

// Hold counts work of the caller as pending until release is called, for Pending, Wait and the metric.
func (q *Queue) Hold() (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addPending(+1)
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.addPending(-1)
	})
}

// addPending needs mu.
func (q *Queue) addPending(by int) {
	q.pending += by
	q.deps.Pending.Add(float64(by))
	if q.pending == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// abandon ends the tasks that wait for a retry, because the context is done.
func (q *Queue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.targets {
		t.abandon(context.Cause(q.deps.Context))
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
