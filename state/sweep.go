package state

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// leaseObservation is the result of one look at an owner's lease.
type leaseObservation struct {
	owner    Owner
	answered bool // Redis answered
	leased   bool // the lease exists
	lease    string
}

// leaseWatch records for how long Redis has answered for each owner without a gap. In a Cluster every owner
// can be on another server, which can have been unreachable with all leases on it. It has no clock.
type leaseWatch struct {
	last  time.Time
	since map[Owner]time.Time
}

// observe records a look at all owners. The time of an owner restarts if its lease was not answered, and that
// of all after a pause longer than maxPause.
func (w *leaseWatch) observe(now time.Time, maxPause time.Duration, seen []leaseObservation) {
	since := make(map[Owner]time.Time, len(seen))
	for _, s := range seen {
		if !s.answered {
			continue
		}
		since[s.owner] = now
		if before, ok := w.since[s.owner]; ok && now.Sub(w.last) <= maxPause {
			since[s.owner] = before
		}
	}
	w.since, w.last = since, now
}

// unbroken returns for how long every look at the owner was answered.
func (w *leaseWatch) unbroken(o Owner) time.Duration {
	since, ok := w.since[o]
	if !ok {
		return 0
	}
	return w.last.Sub(since)
}

// sweepPods looks for dead pods until ctx is done, and takes over from them.
func (r *Redis) sweepPods(ctx context.Context) {
	var watch leaseWatch
	takeOvers := takeOvers{under: make(map[Owner]bool)}
	defer takeOvers.work.Wait()
	every := min(r.cfg.Lease/8, time.Second)
	for Sleep(ctx, jitter(every)) {
		for _, s := range r.sweep(ctx, &watch) {
			takeOvers.start(s.dead, func() {
				if err := r.takeOver(ctx, s); err != nil && ctx.Err() == nil {
					r.log.Warn().Err(err).Str("owner", s.dead.String()).Msg("take-over incomplete, will be continued")
				}
			})
		}
	}
}

// takeOvers runs at most one take-over per owner at a time.
type takeOvers struct {
	work sync.WaitGroup

	mu    sync.Mutex
	under map[Owner]bool
}

func (t *takeOvers) start(o Owner, f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under[o] {
		return
	}
	t.under[o] = true
	t.work.Go(func() {
		f()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.under, o)
	})
}

// deadCandidate is an owner without a lease, with the observations of all owners at the same time.
type deadCandidate struct {
	dead     Owner
	observed map[Owner]leaseObservation
}

// sweep observes all pods and returns those that can be taken over.
func (r *Redis) sweep(ctx context.Context, w *leaseWatch) []deadCandidate {
	seen, err := r.observeLeases(ctx)
	if err != nil {
		seen = nil
	}
	r.notePeers(seen)
	w.observe(r.now(), r.cfg.Lease/2, seen)
	quiet := r.cfg.Lease + r.grace
	if r.lease.unbroken(r.now()) < quiet {
		return nil
	}
	self, _ := r.lease.current()
	observed := make(map[Owner]leaseObservation, len(seen))
	for _, s := range seen {
		observed[s.owner] = s
	}
	var candidates []deadCandidate
	for _, s := range seen {
		if s.owner != self && s.answered && !s.leased && w.unbroken(s.owner) >= quiet {
			candidates = append(candidates, deadCandidate{s.owner, observed})
		}
	}
	return candidates
}

// observeLeases reads the leases of all owners. Its error concerns the list of owners; a failure for one
// lease is in its observation.
func (r *Redis) observeLeases(ctx context.Context) (seen []leaseObservation, err error) {
	err = r.read(ctx, "sweep", func(ctx context.Context) error {
		owners, err := r.client.HKeys(ctx, r.keys.pods()).Result()
		if err != nil {
			return err
		}
		b := r.batch()
		cmds := make([]*redis.StringCmd, 0, len(owners))
		for _, text := range owners {
			o, err := ParseOwner(text)
			if err != nil {
				r.log.Warn().Err(err).Msg("unreadable entry in the list of pods")
				continue
			}
			seen = append(seen, leaseObservation{owner: o})
			cmds = append(cmds, b.pipe.Get(ctx, r.keys.lease(o)))
		}
		if len(cmds) == 0 {
			return nil
		}
		_ = b.exec(ctx) // each observation records whether it was answered
		for i, c := range cmds {
			lease, err := c.Result()
			seen[i].leased, seen[i].lease = err == nil, lease
			seen[i].answered = err == nil || errors.Is(err, redis.Nil)
		}
		return nil
	})
	return seen, err
}

// takeOver records that this pod takes over from a dead one and releases all its records. If it fails midway,
// a later sweep continues, of this pod or, if that died as well, of another.
func (r *Redis) takeOver(ctx context.Context, s deadCandidate) error {
	mine, err := r.recordTakeOver(ctx, s)
	if err != nil || !mine {
		return err
	}
	start := time.Now()
	n, err := r.releaseAllOf(ctx, s.dead)
	if err != nil {
		return err
	}
	r.log.Warn().Str("owner", s.dead.String()).Int("records", n).Dur("dur", time.Since(start)).Msg("took over from dead pod")
	return r.write(ctx, "take_over_done", func(ctx context.Context, _ Owner) error {
		return r.client.HDel(ctx, r.keys.pods(), s.dead.String()).Err()
	})
}

// recordTakeOver reports whether this pod must take over from the dead owner. It must not if the owner lives
// after all, or if another living pod does so.
func (r *Redis) recordTakeOver(ctx context.Context, s deadCandidate) (mine bool, err error) {
	err = r.write(ctx, "take_over", func(ctx context.Context, self Owner) error {
		keys := []string{r.keys.lease(s.dead), r.keys.taken(s.dead)}
		ttl := ms(r.takenTTL())
		status, rest, err := r.script(ctx, r.scripts.takeOver, keys, self.String(), "", ttl)
		if err != nil {
			return err
		}
		if status == statusTaken && s.isDead(rest[0]) {
			status, _, err = r.script(ctx, r.scripts.takeOver, keys, self.String(), rest[0], ttl)
		}
		mine = status == statusOK
		return err
	})
	if errors.Is(err, ErrLeaseStale) {
		return false, nil
	}
	return mine, err
}

// minTakenTTL is the minimum time for which a returning pod can learn that it was taken over.
const minTakenTTL = 24 * time.Hour

// takenTTL is how long it is recorded that an owner was taken over or left.
func (r *Redis) takenTTL() time.Duration { return max(r.cfg.RecordTTL, minTakenTTL) }

// isDead reports whether an earlier taker is gone: it left the list of pods or has no lease.
func (s deadCandidate) isDead(taker string) bool {
	o, err := ParseOwner(taker)
	if err != nil {
		return true
	}
	seen, listed := s.observed[o]
	return !listed || seen.answered && !seen.leased
}
