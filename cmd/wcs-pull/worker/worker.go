// Package worker takes the pulls of a deployment from Redis, has each read and published by a function of its
// caller, renews and reports them, and returns them at the end (docs/pull.md#workers). A pull that another
// worker took is ended at once. Only cmd/wcs-pull uses it.
package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

// Store is the store of pulls; *state.Redis implements it.
type Store interface {
	WantedPulls(ctx context.Context) (ids []string, err error)
	TakePull(ctx context.Context, id string, orphans bool) (p state.TakenPull, left time.Duration, err error)
	RenewPull(ctx context.Context, p state.TakenPull, report state.PullReport) (kept []string, err error)
	RestorePull(ctx context.Context, p state.TakenPull, report state.PullReport) error
	ReturnPull(ctx context.Context, p state.TakenPull) error
	PutPullWorker(ctx context.Context, w state.PullWorker, alive time.Duration) error
	DropPullWorker(ctx context.Context) error
	ListenPulls(ctx context.Context, handler func(id string))
}

// Job is one pull to read and publish.
type Job struct {
	Source         pull.Source
	Room, Identity string
	Retry          time.Duration // how long a lost source is tried again
	Transcode, UDP bool          // see state.Pull
}

// Run reads the source of a job and publishes it until ctx ends, which returns nil, or until it ended or
// failed for good. It calls report with each change of state, with the error that caused it, one call after
// the other; with pull.Failed before the publisher leaves the room. Errors are of type *pull.Error.
type Run func(ctx context.Context, j Job, report func(pull.State, error)) error

// Config configures a Worker.
type Config struct {
	Max   int           // pulls at a time
	Lease time.Duration // of the store
	Host  string        // of the process, for operators
	// Deployment is part of the pulls' rooms.
	Deployment string
}

// Deps are the dependencies of a Worker.
type Deps struct {
	Store Store
	Keys  *pull.Keys
	Run   Run
	// Remove removes a participant that a dead worker left. It is called beside Run. nil: not called.
	Remove  func(ctx context.Context, room, identity string) error
	Metrics *Metrics
	Log     zerolog.Logger
}

const (
	lookInterval = time.Second // between two looks at the list of pulls
	// loadWait is how long an almost full worker leaves a pull to the others. An idle one does not wait.
	loadWait = 500 * time.Millisecond
	// loadJitter spreads workers with the same load.
	loadJitter = 20 * time.Millisecond
	heardQueue = 1024 // announcements that wait for the loop; the next look finds others
)

// Worker is one worker. One goroutine (Work) decides about takes; each pull has its own.
type Worker struct {
	// set once
	cfg   Config
	deps  Deps
	heard chan string // ids that changed
	ended chan *run   // runs that ended, one message each

	reached atomic.Int64 // when the store last answered, in Unix nanoseconds
	since   atomic.Int64 // since when it has answered every call; 0: it did not answer the last one
	broken  atomic.Bool  // it did not answer a call once
	leaving atomic.Bool

	// of the goroutine of Work
	runs   map[string]*run
	wanted map[string]time.Time // since when, or from when on, a pull that this worker does not have can be taken
	listed time.Time            // when the worker was last listed
	was    int                  // runs at that time
}

// New returns a worker.
func New(cfg Config, deps Deps) *Worker {
	deps.Metrics.max.Set(float64(cfg.Max))
	w := &Worker{
		cfg: cfg, deps: deps, heard: make(chan string, heardQueue), ended: make(chan *run, cfg.Max),
		runs: make(map[string]*run), wanted: make(map[string]time.Time),
	}
	deps.Metrics.watch(w.Ready)
	return w
}

// Ready reports whether the worker takes pulls: the store has answered within the time of a lease.
func (w *Worker) Ready() bool {
	return !w.leaving.Load() && time.Since(time.Unix(0, w.reached.Load())) < w.cfg.Lease
}

// Work takes and runs pulls until ctx is done. Then it ends them and returns them to other workers. Call it
// once.
func (w *Worker) Work(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { w.deps.Store.ListenPulls(ctx, w.hear) })
	look, next := time.NewTicker(lookInterval), time.NewTimer(0)
	defer look.Stop()
	defer next.Stop()
	w.list(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case id := <-w.heard:
			w.changed(id)
		case <-look.C:
			w.look(ctx)
		case r := <-w.ended:
			delete(w.runs, r.taken.Pull.ID)
			w.wanted[r.taken.Pull.ID] = time.Now() // it can be wanted again; its announcement came too early
		case <-next.C:
		}
		next.Reset(w.takeDue(ctx, &work))
		w.list(ctx)
	}
	w.leaving.Store(true)
	w.noted(w.deps.Store.DropPullWorker(context.WithoutCancel(ctx))) // before the pulls are returned: gateways count it no more
	work.Wait()
	w.deps.Metrics.running.Set(0)
}

// hear is called by the store's subscription.
func (w *Worker) hear(id string) {
	select {
	case w.heard <- id:
	default: // the next look finds it
	}
}

// changed looks at an announced pull.
func (w *Worker) changed(id string) {
	if r, ok := w.runs[id]; ok {
		r.look()
		return
	}
	w.wanted[id] = time.Now()
}

// look reads the list of pulls. Pulls that are not listed are forgotten.
func (w *Worker) look(ctx context.Context) {
	ids, err := w.deps.Store.WantedPulls(ctx)
	if w.noted(err) != nil {
		return
	}
	wanted, now := make(map[string]time.Time, len(ids)), time.Now()
	for _, id := range ids {
		if w.runs[id] != nil {
			continue
		}
		since, known := w.wanted[id]
		if !known {
			since = now
		}
		wanted[id] = since
	}
	w.wanted = wanted
}

// takeDue takes the pulls for which it is time, and returns when to call it again.
func (w *Worker) takeDue(ctx context.Context, work *sync.WaitGroup) time.Duration {
	wait := lookInterval
	for id, since := range w.wanted {
		if ctx.Err() != nil || len(w.runs) >= w.cfg.Max {
			break
		}
		left := time.Until(since.Add(w.patience()))
		if left <= 0 {
			left = w.take(ctx, id, work)
		}
		if left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}

// patience is how long this worker leaves a pull to others.
func (w *Worker) patience() time.Duration {
	return time.Duration(float64(loadWait)*float64(len(w.runs))/float64(w.cfg.Max)) + rand.N(loadJitter)
}

// take takes a pull, or notes when to try again.
func (w *Worker) take(ctx context.Context, id string, work *sync.WaitGroup) (wait time.Duration) {
	unbroken := w.unbroken()
	if left := w.cfg.Lease/4 - unbroken; left > 0 && w.broken.Load() {
		return left // Redis can be empty: workers restore the pulls that run
	}
	taken, left, err := w.deps.Store.TakePull(ctx, id, unbroken > w.cfg.Lease)
	w.deps.Metrics.take(err)
	switch {
	case err == nil:
		delete(w.wanted, id)
		w.reach()
		r := newRun(w, taken)
		w.runs[id] = r
		w.deps.Metrics.running.Set(float64(len(w.runs)))
		work.Go(func() { r.work(ctx) })
		return 0
	case errors.Is(err, state.ErrWorkersDied): // only this worker learns it
		w.reach()
		w.deps.Metrics.ends.WithLabelValues(string(pull.Internal)).Inc()
		w.deps.Log.Warn().Str("pull", short(id)).Str("reason", string(pull.Internal)).Msg("pull ended: its workers died")
		left = lookInterval
	case errors.Is(err, state.ErrTaken): // until it is due, its worker must have renewed the lease or died
		w.reach()
	default: // not wanted, failed, or the store is away
		w.noted(err)
		left = lookInterval
	}
	w.wanted[id] = time.Now().Add(left)
	return left
}

// list lists this worker among the workers: four times in a lease, and when the number of its pulls changed.
func (w *Worker) list(ctx context.Context) {
	w.deps.Metrics.running.Set(float64(len(w.runs)))
	if ctx.Err() != nil || time.Since(w.listed) < w.cfg.Lease/4 && w.was == len(w.runs) {
		return
	}
	w.listed, w.was = time.Now(), len(w.runs)
	me := state.PullWorker{Host: w.cfg.Host, Running: len(w.runs), Max: w.cfg.Max}
	if err := w.noted(w.deps.Store.PutPullWorker(ctx, me, w.cfg.Lease)); errors.Is(err, state.ErrFull) {
		w.deps.Log.Error().Msg("too many workers in the deployment")
	}
}

// noted notes whether the store answered.
func (w *Worker) noted(err error) error {
	if err == nil || errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrFull) {
		w.reach()
	} else {
		w.miss()
	}
	return err
}

// reach notes that the store answered.
func (w *Worker) reach() {
	now := time.Now().UnixNano()
	w.reached.Store(now)
	w.since.CompareAndSwap(0, now)
}

// miss notes that the store did not answer.
func (w *Worker) miss() {
	w.since.Store(0)
	w.broken.Store(true)
}

// unbroken is how long the store has answered every call. After an outage the leases of all workers have
// ended, and each gets the time to renew its own before another takes its pulls.
func (w *Worker) unbroken() time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}
