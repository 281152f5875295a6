package state

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sighting is what one look at an owner's lease gave.
type sighting struct {
	owner    Owner
	answered bool // Redis did answer
	leased   bool // the lease was there
	lease    string
}

// watch knows for how long Redis has been telling about each owner without a gap. In a Cluster every owner may be on
// a server of its own, which may have been away with all leases on it. It has no clock of its own.
type watch struct {
	last  time.Time
	since map[Owner]time.Time
}

// observe notes a look at all owners. What was not answered, and everything after a pause longer than
// maxPause, begins anew.
func (w *watch) observe(now time.Time, maxPause time.Duration, seen []sighting) {
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

// unbroken tells for how long every look at the owner has been answered.
func (w *watch) unbroken(o Owner) time.Duration {
	since, ok := w.since[o]
	if !ok {
		return 0
	}
	return w.last.Sub(since)
}

// sweepPods looks for dead pods until ctx is done, and takes over from them.
func (r *Redis) sweepPods(ctx context.Context) {
	var watch watch
	takeOvers := takeOvers{under: make(map[Owner]bool)}
	defer takeOvers.work.Wait()
	every := min(r.cfg.Lease/8, time.Second)
	for sleep(ctx, jitter(every)) {
		for _, s := range r.sweep(ctx, &watch) {
			takeOvers.start(s.dead, func() {
				if err := r.takeOver(ctx, s); err != nil && ctx.Err() == nil {
					r.log.Warn().Err(err).Str("owner", s.dead.String()).Msg("take-over not finished, will go on")
				}
			})
		}
	}
}

// takeOvers runs one take-over of an owner at a time.
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

// suspect is an owner without a lease, and who else was seen at the same time.
type suspect struct {
	dead    Owner
	sighted map[Owner]sighting
}

// sweep looks at all pods once and gives those that may be taken over.
func (r *Redis) sweep(ctx context.Context, w *watch) []suspect {
	seen, err := r.look(ctx)
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
	sighted := make(map[Owner]sighting, len(seen))
	for _, s := range seen {
		sighted[s.owner] = s
	}
	var suspects []suspect
	for _, s := range seen {
		if s.owner != self && s.answered && !s.leased && w.unbroken(s.owner) >= quiet {
			suspects = append(suspects, suspect{s.owner, sighted})
		}
	}
	return suspects
}

// look reads the leases of all owners. An error is of the list itself; of a lease, it is in the sighting.
func (r *Redis) look(ctx context.Context) (seen []sighting, err error) {
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
				r.log.Warn().Err(err).Msg("entry in the list of pods not understood")
				continue
			}
			seen = append(seen, sighting{owner: o})
			cmds = append(cmds, b.pipe.Get(ctx, r.keys.lease(o)))
		}
		if len(cmds) == 0 {
			return nil
		}
		_ = b.exec(ctx) // each sighting says whether it was answered
		for i, c := range cmds {
			lease, err := c.Result()
			seen[i].leased, seen[i].lease = err == nil, lease
			seen[i].answered = err == nil || errors.Is(err, redis.Nil)
		}
		return nil
	})
	return seen, err
}

// takeOver records that this pod takes over from a dead one and releases everything that it held. If it fails midway, a later
// sweep goes on, of this pod or, when that has died too, of another.
func (r *Redis) takeOver(ctx context.Context, s suspect) error {
	mine, err := r.recordTakeOver(ctx, s)
	if err != nil || !mine {
		return err
	}
	start := time.Now()
	n, err := r.releaseAllOf(ctx, s.dead)
	if err != nil {
		return err
	}
	r.log.Warn().Str("owner", s.dead.String()).Int("records", n).Dur("dur", time.Since(start)).Msg("took over from a pod that died")
	return r.write(ctx, "take_over_done", func(ctx context.Context, _ Owner) error {
		return r.client.HDel(ctx, r.keys.pods(), s.dead.String()).Err()
	})
}

// recordTakeOver tells whether the dead owner is this pod's to take over. It is not when it lives after all, or
// when another pod is at it that lives.
func (r *Redis) recordTakeOver(ctx context.Context, s suspect) (mine bool, err error) {
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

// minTakenTTL is for how long a pod that comes back learns that it was taken over, at least.
const minTakenTTL = 24 * time.Hour

// takenTTL is for how long it is recorded that an owner was taken over, or has left.
func (r *Redis) takenTTL() time.Duration { return max(r.cfg.RecordTTL, minTakenTTL) }

// isDead tells whether an earlier taker is gone: it has left the list of pods or has no lease.
func (s suspect) isDead(taker string) bool {
	o, err := ParseOwner(taker)
	if err != nil {
		return true
	}
	seen, listed := s.sighted[o]
	return !listed || seen.answered && !seen.leased
}
