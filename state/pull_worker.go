package state

import (
	"context"
	"strconv"
	"time"
)

// TakenPull is a pull that this process, a worker, has taken. The worker's id is the one of its Pod.
type TakenPull struct {
	Pull       Pull
	Generation int64
	Before     int64 // the generation before, of which a participant can be left; 0: none
	// Kept are the holders without end, as RenewPull returned them.
	Kept []string
}

const (
	// maxPullDeaths is the number of workers that can die in a row while they have a pull; then it fails.
	maxPullDeaths = 3
	// pullDeathFault is its fault, one of package pull.
	pullDeathFault = "internal"
	// pullSettled is how long a pull must run before earlier deaths no longer count.
	pullSettled = time.Minute
)

// TakePull takes a pull that no worker has, with orphans also one whose worker is dead. It returns
// ErrNotFound if the pull is not wanted or has failed, ErrWorkersDied to one worker if it fails now, and
// ErrTaken with the time after which to try again if another worker has it.
func (r *Redis) TakePull(ctx context.Context, id string, orphans bool) (p TakenPull, left time.Duration, err error) {
	number := r.stamps.Add(1)
	err = r.read(ctx, "take_pull", func(ctx context.Context) error {
		status, words, err := r.script(ctx, r.scripts.takePull, []string{r.keys.pull(id), r.keys.pullWants(id)},
			r.pod.ID, number, ms(r.cfg.Lease), ms(r.cfg.RecordTTL), maxPullDeaths, pullDeathFault, ms(pullFailureTTL), orphans)
		switch {
		case err != nil:
			return err
		case status == statusTaken && len(words) == 1:
			left, err = time.ParseDuration(words[0] + "ms")
			if err != nil {
				return err
			}
			return ErrTaken
		case status == statusDead:
			return ErrWorkersDied
		case status == statusGone:
			if err := r.client.ZRem(ctx, r.keys.pulls(), id).Err(); err != nil {
				return err
			}
			return ErrNotFound
		}
		s, err := parsePull(status, words)
		p = TakenPull{Pull: s.Pull, Generation: s.Generation, Before: s.Before}
		return err
	})
	return p, left, err
}

// PullReport is what a worker reports about its pull. State and Fault are those of package pull.
type PullReport struct {
	State, Fault, Detail string
}

// RenewPull renews the lease of a taken pull and reports its state. It returns the holders without end. After
// an error the worker must
//   - ErrLostOwnership: end the pull at once. Another worker has it, or it was ended.
//   - ErrUnwanted: end the pull. It was removed.
//   - ErrNotFound: call RestorePull. Redis lost the pull.
//   - ErrUnavailable: go on.
//
// A pull that is reported as failed is no longer the worker's.
func (r *Redis) RenewPull(ctx context.Context, p TakenPull, report PullReport) (kept []string, err error) {
	err = r.read(ctx, "renew_pull", func(ctx context.Context) error {
		id := p.Pull.ID
		status, words, err := r.script(ctx, r.scripts.renewPull, []string{r.keys.pull(id), r.keys.pullWants(id)},
			r.pod.ID, p.Generation, ms(r.cfg.Lease), report.State, report.Fault, report.Detail, ms(r.cfg.RecordTTL), ms(pullFailureTTL), ms(pullSettled), ms(r.restoredFor()))
		switch {
		case err != nil:
			return err
		case status == statusLost:
			return ErrLostOwnership
		case status == statusMissing:
			return ErrNotFound
		case status == statusUnwanted || report.State == pullFailed:
			if err := r.client.ZRem(ctx, r.keys.pulls(), id).Err(); err != nil { // the entry expires anyway
				r.log.Debug().Err(err).Msg("pull not removed from the list")
			}
		}
		if status == statusUnwanted {
			return ErrUnwanted
		}
		kept = words
		return nil
	})
	return kept, err
}

// restoredFor is the time that the holders of a restored pull have to want it again.
func (r *Redis) restoredFor() time.Duration { return 2 * r.cfg.Lease }

// RestorePull writes a taken pull again that Redis lost, with its holders without end. The other holders want
// it again soon. It returns ErrLostOwnership if there is a pull: RenewPull says whose it is.
func (r *Redis) RestorePull(ctx context.Context, p TakenPull, report PullReport) error {
	return r.read(ctx, "restore_pull", func(ctx context.Context) error {
		id, duration := p.Pull.ID, strconv.FormatInt(ms(r.restoredFor()), 10)
		args := []any{r.pod.ID, p.Generation, ms(r.cfg.Lease), report.State, asJSON{p.Pull}, ms(r.cfg.RecordTTL)}
		for _, holder := range p.Kept {
			args, duration = append(args, holder), ""
		}
		status, _, err := r.script(ctx, r.scripts.restorePull, []string{r.keys.pull(id), r.keys.pullWants(id)}, args...)
		switch {
		case err != nil:
			return err
		case status == statusLost:
			return ErrLostOwnership
		}
		_, _, err = r.script(ctx, r.scripts.enlistPull, []string{r.keys.pulls()}, id, duration, maxListedPulls, ms(r.cfg.RecordTTL))
		return err
	})
}

// ReturnPull returns a taken pull, so that another worker can take it at once.
func (r *Redis) ReturnPull(ctx context.Context, p TakenPull) error {
	return r.read(ctx, "return_pull", func(ctx context.Context) error {
		status, _, err := r.script(ctx, r.scripts.returnPull, []string{r.keys.pull(p.Pull.ID)}, r.pod.ID, p.Generation)
		switch {
		case err != nil:
			return err
		case status == statusLost:
			return ErrLostOwnership
		}
		r.announcePull(ctx, p.Pull.ID)
		return nil
	})
}

// PutPullWorker lists this process among the workers for some time. It returns ErrFull if there are too many
// workers.
func (r *Redis) PutPullWorker(ctx context.Context, w PullWorker, alive time.Duration) error {
	return r.read(ctx, "put_pull_worker", func(ctx context.Context) error {
		status, _, err := r.script(ctx, r.scripts.pullWorkers, []string{r.keys.pullWorkers()}, r.pod.ID, ms(alive), asJSON{w}, maxPullWorkers, ms(r.cfg.RecordTTL))
		if err == nil && status == statusFull {
			return ErrFull
		}
		return err
	})
}

// DropPullWorker removes this process from the list of workers.
func (r *Redis) DropPullWorker(ctx context.Context) error {
	return r.read(ctx, "put_pull_worker", func(ctx context.Context) error {
		_, _, err := r.script(ctx, r.scripts.pullWorkers, []string{r.keys.pullWorkers()}, r.pod.ID, 0, "", maxPullWorkers, ms(r.cfg.RecordTTL))
		return err
	})
}

// ListenPulls passes the ids of pulls that changed to a handler until ctx is done. The handler must return
// quickly. Announcements can be lost.
func (r *Redis) ListenPulls(ctx context.Context, handler func(id string)) {
	for ctx.Err() == nil {
		err := r.subscribe(ctx, r.keys.pulls(), func() {}, handler)
		if ctx.Err() != nil {
			return
		}
		r.log.Debug().Err(err).Msg("subscription to pulls lost")
		Sleep(ctx, eventRetry)
	}
}
