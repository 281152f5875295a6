package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Pull is a source that a worker reads and publishes into a LiveKit room (docs/pull.md).
type Pull struct {
	ID     string `json:"id"`     // unlike those of all other sources
	Public string `json:"public"` // name without secrets
	Sealed []byte `json:"sealed"` // the source, encrypted
	Room   string `json:"room"`
	App    string `json:"app,omitempty"` // that started it
	// Transcode: codecs that LiveKit's clients cannot decode are transcoded also for live sources.
	Transcode bool `json:"transcode,omitempty"`
	// UDP: cameras are asked for UDP. It is no part of the id: the first player of a source decides.
	UDP       bool          `json:"udp,omitempty"`
	Retry     time.Duration `json:"retry,omitempty"` // how long a lost source is tried again
	CreatedAt time.Time     `json:"createdAt"`
}

// PullStatus is the progress of a pull. State and Fault are those of package pull.
type PullStatus struct {
	Pull       Pull
	State      string
	Fault      string // why it failed, or why it is interrupted
	Detail     string // of Fault
	Generation int64  // of the last take; greater than all earlier ones
	Before     int64  // the generation before; 0: none
	Worker     string // that has the pull; empty: none
	// Left is the rest of the worker's lease; 0: the worker is dead, or there is none.
	Left time.Duration
	Age  time.Duration // since State changed
	// Holders want the pull: pods, and whatever else called WantPull.
	Holders []string
}

// Alive reports whether a living worker has the pull.
func (s PullStatus) Alive() bool { return s.Worker != "" && s.Left > 0 }

// pullFailed is the state of a pull that has failed, as in the scripts.
const pullFailed = "failed"

// PullWant is a holder's want of a pull. The holder repeats it, with enough time for some failed attempts.
type PullWant struct {
	Holder string
	For    time.Duration // 0: without end
	// Start starts a pull again that failed more than PullFailureHold ago. Without it, and before, the result is
	// the status of the failed pull, and the holder does not hold it.
	Start bool
	// Last is the last known status. If Redis lost the pull, its worker keeps it.
	Last PullStatus
	// Max is how many pulls the deployment can have.
	Max int
}

// PullFailureHold is how long a failed pull is not started again.
const PullFailureHold = 2 * time.Second

// pullFailureTTL is how long the fault of a pull is kept.
const pullFailureTTL = 10 * time.Minute

// WantPull creates or joins a pull, or renews the want. It returns its status, which can be that of a pull
// that failed, and ErrFull if the deployment has too many pulls.
func (r *Redis) WantPull(ctx context.Context, p Pull, w PullWant) (s PullStatus, err error) {
	duration := ""
	if w.For > 0 {
		duration = strconv.FormatInt(ms(w.For), 10)
	}
	again := "0"
	if w.Start {
		again = "1"
	}
	want := func(ctx context.Context, listed int) (PullStatus, error) {
		status, words, err := r.script(ctx, r.scripts.wantPull, []string{r.keys.pull(p.ID), r.keys.pullWants(p.ID)},
			w.Holder, duration, asJSON{p}, again, ms(PullFailureHold), ms(r.cfg.RecordTTL),
			w.Last.Generation, w.Last.Worker, w.Last.State, ms(r.cfg.Lease), listed)
		if err != nil {
			return PullStatus{}, err
		}
		return parsePull(status, words)
	}
	enlist := func(ctx context.Context, most int) error {
		status, _, err := r.script(ctx, r.scripts.enlistPull, []string{r.keys.pulls()}, p.ID, duration, most, ms(r.cfg.RecordTTL))
		if err == nil && status == statusFull {
			return ErrFull
		}
		return err
	}
	err = r.query(ctx, "want_pull", func(ctx context.Context) error {
		s, err = want(ctx, 0)
		switch {
		case errors.Is(err, ErrNotFound): // only what is held takes a place in the list
			if err := enlist(ctx, w.Max); err != nil {
				return err
			}
			if s, err = want(ctx, 1); err != nil {
				return err
			}
		case err != nil || s.State == pullFailed:
			return err
		default:
			if err := enlist(ctx, maxListedPulls); err != nil {
				return err
			}
		}
		if s.State != pullFailed && !s.Alive() {
			r.announcePull(ctx, p.ID)
		}
		return nil
	})
	return s, err
}

// ReleasePull ends the want of a holder after a time. A pull without holders ends soon after.
func (r *Redis) ReleasePull(ctx context.Context, id, holder string, after time.Duration) error {
	return r.read(ctx, "release_pull", func(ctx context.Context) error {
		status, _, err := r.script(ctx, r.scripts.releasePull, []string{r.keys.pull(id), r.keys.pullWants(id)}, holder, ms(after))
		if err == nil && status == statusGone {
			return r.client.ZRem(ctx, r.keys.pulls(), id).Err()
		}
		return err
	})
}

// EndPull ends a pull with a fault, also if it has holders. It returns ErrNotFound for an unknown pull.
func (r *Redis) EndPull(ctx context.Context, id, fault string) error {
	return r.query(ctx, "end_pull", func(ctx context.Context) error {
		status, _, err := r.script(ctx, r.scripts.endPull, []string{r.keys.pull(id), r.keys.pullWants(id)}, fault, ms(pullFailureTTL))
		if err != nil {
			return err
		}
		if err := r.client.ZRem(ctx, r.keys.pulls(), id).Err(); err != nil {
			return err
		}
		if status == statusNone {
			return ErrNotFound
		}
		r.announcePull(ctx, id) // its worker looks at once
		return nil
	})
}

// FindPulls returns the status of the pulls with these ids that Redis has, by id.
func (r *Redis) FindPulls(ctx context.Context, ids ...string) (map[string]PullStatus, error) {
	found := make(map[string]PullStatus, len(ids))
	err := r.query(ctx, "find_pulls", func(ctx context.Context) error {
		b := r.batch()
		runs := make([]*run, len(ids))
		for i, id := range ids {
			runs[i] = b.run(ctx, r.scripts.findPull, []string{r.keys.pull(id), r.keys.pullWants(id)}, ms(r.cfg.Lease))
		}
		if err := b.exec(ctx); err != nil {
			return err
		}
		for i, id := range ids {
			status, words, err := runs[i].reply()
			if err != nil {
				return err
			}
			s, err := parsePull(status, words)
			switch {
			case err == nil:
				found[id] = s
			case !errors.Is(err, ErrNotFound):
				r.log.Warn().Err(err).Str("pull", id).Msg("unreadable pull")
			}
		}
		return nil
	})
	return found, err
}

// WantedPulls returns the ids of the listed pulls: those that are wanted, and some that no longer are. It
// keeps the list alive.
func (r *Redis) WantedPulls(ctx context.Context) (ids []string, err error) {
	err = r.read(ctx, "list_pulls", func(ctx context.Context) error {
		b := r.batch()
		list := b.pipe.ZRange(ctx, r.keys.pulls(), 0, maxListedPulls-1)
		b.pipe.PExpire(ctx, r.keys.pulls(), r.cfg.RecordTTL)
		err := b.exec(ctx)
		ids = list.Val()
		return err
	})
	return ids, err
}

// Pulls returns the listed pulls with their status.
func (r *Redis) Pulls(ctx context.Context) (pulls []PullStatus, err error) {
	ids, err := r.WantedPulls(ctx)
	for page := range slices.Chunk(ids, listPage) {
		found, err := r.FindPulls(ctx, page...)
		if err != nil {
			return nil, err
		}
		for _, id := range page {
			if s, ok := found[id]; ok {
				pulls = append(pulls, s)
			}
		}
	}
	return pulls, err
}

// maxListedPulls bounds PullWant.Max for one deployment.
const maxListedPulls = 10000

// PullWorker is the description of a worker.
type PullWorker struct {
	ID      string `json:"-"`
	Host    string `json:"host"` // of the process, for operators
	Running int    `json:"running"`
	Max     int    `json:"max"`
}

// maxPullWorkers is the number of workers of a deployment.
const maxPullWorkers = 1000

// PullWorkers returns the living workers.
func (r *Redis) PullWorkers(ctx context.Context) (workers []PullWorker, err error) {
	err = r.query(ctx, "list_pull_workers", func(ctx context.Context) error {
		_, words, err := r.script(ctx, r.scripts.pullWorkers, []string{r.keys.pullWorkers()}, "", 0, "", maxPullWorkers, ms(r.cfg.RecordTTL))
		if err != nil {
			return err
		}
		for i := 1; i < len(words); i += 2 {
			w := PullWorker{ID: words[i-1]}
			if err := json.Unmarshal([]byte(words[i]), &w); err != nil {
				r.log.Warn().Err(err).Msg("unreadable worker")
				continue
			}
			workers = append(workers, w)
		}
		return nil
	})
	return workers, err
}

// announcePull makes the workers look at a pull at once. Without it they look within a second.
func (r *Redis) announcePull(ctx context.Context, id string) {
	publish := r.client.Publish
	if r.sharded {
		publish = r.client.SPublish
	}
	if err := publish(ctx, r.keys.pulls(), id).Err(); err != nil {
		r.log.Debug().Err(err).Msg("pull not announced")
	}
}

// parsePull parses a status as in pull_status.lua.
func parsePull(status string, words []string) (s PullStatus, err error) {
	const fields = 9
	if status == statusNone {
		return s, ErrNotFound
	}
	if status != statusOK || len(words) < fields {
		return s, fmt.Errorf("reply %q about a pull", status)
	}
	s = PullStatus{State: words[1], Fault: words[2], Detail: words[3], Worker: words[5], Holders: words[fields:]}
	if err := json.Unmarshal([]byte(words[0]), &s.Pull); err != nil {
		return s, fmt.Errorf("record of a pull: %w", err)
	}
	numbers := [4]int64{}
	for i, at := range []int{4, 6, 7, 8} {
		if numbers[i], err = strconv.ParseInt(words[at], 10, 64); err != nil {
			return s, fmt.Errorf("record of a pull: %w", err)
		}
	}
	s.Generation, s.Before = numbers[0], numbers[3]
	s.Left, s.Age = time.Duration(numbers[1])*time.Millisecond, time.Duration(numbers[2])*time.Millisecond
	return s, nil
}
