package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

// Reasons of the end of a run besides the faults of pulls.
const (
	endLost     = "lost-pull" // another worker took the pull, or it was ended
	endUnwanted = "unwanted"  // the pull has no holder
	endReturned = "returned"  // this worker leaves
)

const (
	failureRetries = 3 // of reporting a failure
	failurePause   = 500 * time.Millisecond
	removeTimeout  = 2 * time.Second
	maxDetail      = 200 // bytes
)

// run is one pull that this worker has taken.
type run struct {
	// set once
	worker  *Worker
	taken   state.TakenPull
	log     zerolog.Logger
	started time.Time
	asked   chan struct{} // to renew now
	cancel  context.CancelFunc
	ctx     context.Context // ended by cancel and with the worker

	mu     sync.Mutex // one renewal after the other
	report state.PullReport
	reason string // of the end; "": not ended
	away   bool   // the last renewal was not answered
}

func newRun(w *Worker, taken state.TakenPull) *run {
	id := taken.Pull.ID
	return &run{
		worker: w, taken: taken, started: time.Now(), asked: make(chan struct{}, 1),
		log:    w.deps.Log.With().Str("pull", short(id)).Int64("generation", taken.Generation).Logger(),
		report: state.PullReport{State: string(pull.Connecting)},
	}
}

// look makes the run renew its lease now: something has changed.
func (r *run) look() {
	select {
	case r.asked <- struct{}{}:
	default: // it is about to
	}
}

// short returns what logs have of a pull's id.
func short(id string) string { return id[:min(8, len(id))] }

// work runs the pull until it ends or ctx is done.
func (r *run) work(ctx context.Context) {
	defer func() { r.worker.ended <- r }()
	defer r.end()
	r.ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	source, err := r.worker.deps.Keys.Open(r.taken.Pull.ID, r.taken.Pull.Sealed)
	if err != nil {
		r.log.Error().Err(err).Str("hint", "gateways and workers need the same secret and deployment").Msg("pull not readable")
		r.reported(pull.Failed, &pull.Error{Fault: pull.Internal, Detail: "the worker has another secret"})
		return
	}
	r.log = r.log.With().Stringer("source", source).Logger()
	r.log.Info().Msg("pull taken")
	var beside sync.WaitGroup
	beside.Go(r.keep)
	beside.Go(r.removeOld)
	r.read(source)
	r.cancel()
	beside.Wait()
}

// read reads and publishes the source.
func (r *run) read(source pull.Source) {
	p := r.taken.Pull
	err := r.worker.deps.Run(r.ctx, Job{
		Source: source, Room: r.room(), Identity: pull.Identity(p.ID, r.taken.Generation), Retry: p.Retry,
		Transcode: p.Transcode, UDP: p.UDP,
	}, r.reported)
	if r.ctx.Err() != nil {
		return
	}
	if err == nil { // it must not end by itself without an error
		err = &pull.Error{Fault: pull.Ended}
	}
	r.reported(pull.Failed, err)
}

// room returns the room of the pull. That of the record is not used: Redis could name any.
func (r *run) room() string { return pull.Room(r.worker.cfg.Deployment, r.taken.Pull.ID) }

// removeOld removes the participant of the worker that had the pull before: LiveKit notices late that a
// killed one is gone.
func (r *run) removeOld() {
	remove := r.worker.deps.Remove
	if r.taken.Before == 0 || remove == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, removeTimeout)
	defer cancel()
	if err := remove(ctx, r.room(), pull.Identity(r.taken.Pull.ID, r.taken.Before)); err != nil {
		r.log.Debug().Err(err).Msg("earlier participant not removed")
	}
}

// reported records a change of state, and returns when the store has it or was asked for it.
func (r *run) reported(s pull.State, err error) {
	fault, detail := pull.FaultOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason != "" {
		return
	}
	before := r.report.State
	r.report = state.PullReport{State: string(s), Fault: string(fault), Detail: detail[:min(maxDetail, len(detail))]}
	if before != string(s) {
		r.log.Info().Str("state", string(s)).Str("fault", string(fault)).Str("detail", r.report.Detail).Msg("pull changed")
	}
	r.worker.deps.Metrics.changed(pull.State(before), s, time.Since(r.started))
	r.renew()
	for range failureRetries {
		if s != pull.Failed || !r.away || !state.Sleep(context.WithoutCancel(r.ctx), failurePause) {
			break
		}
		r.renew()
	}
	if s == pull.Failed && r.reason == "" {
		r.reason = string(fault)
	}
}

// keep renews the lease until the run ends.
func (r *run) keep() {
	lease := r.worker.cfg.Lease
	timer := time.NewTimer(lease / 4)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.asked:
		case <-timer.C:
		}
		wait := lease / 4
		r.mu.Lock()
		r.renew()
		if r.away {
			wait = lease / 16
		}
		r.mu.Unlock()
		timer.Reset(wait)
	}
}

// renew renews the lease with the last report. r.mu is held. While the store is away the run goes on: if the
// pull was taken meanwhile, the first answer says so.
func (r *run) renew() {
	if r.reason != "" {
		return
	}
	ctx := context.WithoutCancel(r.ctx)
	kept, err := r.worker.deps.Store.RenewPull(ctx, r.taken, r.report)
	if errors.Is(err, state.ErrNotFound) && r.report.State != string(pull.Failed) {
		r.log.Warn().Msg("redis has lost the pull: restoring it")
		if err = r.worker.deps.Store.RestorePull(ctx, r.taken, r.report); err == nil || errors.Is(err, state.ErrLostOwnership) {
			kept, err = r.worker.deps.Store.RenewPull(ctx, r.taken, r.report)
		}
	}
	wasAway := r.away
	r.away = false
	switch {
	case err == nil:
		r.taken.Kept = kept
	case errors.Is(err, state.ErrLostOwnership):
		r.stop(endLost)
	case errors.Is(err, state.ErrUnwanted):
		r.stop(endUnwanted)
	case errors.Is(err, state.ErrNotFound): // a failure of a pull that Redis has lost
	default:
		r.away = true
		r.worker.miss()
		if !wasAway {
			r.log.Warn().Err(err).Msg("pull not renewed")
		}
		return
	}
	r.worker.reach()
}

// stop ends the run for a reason. r.mu is held.
func (r *run) stop(reason string) {
	r.reason = reason
	r.cancel()
}

// end returns the pull if the worker leaves, and records the end.
func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason == "" {
		r.reason = endReturned
		if err := r.worker.deps.Store.ReturnPull(context.WithoutCancel(r.ctx), r.taken); err != nil {
			r.log.Warn().Err(err).Str("hint", "another worker takes it when the lease has ended").Msg("pull not returned")
		}
	}
	r.worker.deps.Metrics.ends.WithLabelValues(r.reason).Inc()
	r.log.Info().Str("reason", r.reason).Dur("ran", time.Since(r.started)).Msg("pull ended")
}
