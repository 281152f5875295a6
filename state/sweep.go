package state

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxLooks is the number of leases that a pod looks at in one sweep. It bounds the cost while many pods are
// dead. A pod looks at those that follow it in the order of owners, so every lease is looked at while fewer
// than this many neighbours died together.
const maxLooks = 32

// watched is an owner in the list of pods, as one pod sees it.
type watched struct {
	entry   string
	moved   time.Time // when the entry changed last, as far as is known, and so the lease was renewed
	expires time.Time // when the lease ends, if it is not renewed
	sound   time.Time // since when renewals were seen or looks answered, without a gap; zero: not now
}

// leaseWatch finds the owners that do not renew their leases. One command reads the list of pods, which every
// renewal changes. Only the leases of those whose entries stand still are looked at. It has no clock.
//
// In a Cluster every lease can be on another server, which can have been unreachable with all leases on it.
// The owner writes its entry after the renewal, so the entry stands still as well, and the look finds out.
type leaseWatch struct {
	length time.Duration // of a lease
	last   time.Time
	owners map[Owner]*watched
}

// list records the list of pods. All observations start again after a pause of half a lease: this process
// stood still, or the list was not answered.
func (w *leaseWatch) list(now time.Time, entries map[Owner]string) {
	moved := now
	switch pause := now.Sub(w.last); {
	case pause > w.length/2:
		w.owners = nil
	case pause > w.length/4:
		moved = w.last // a change can be as old as that
	}
	w.last = now
	owners := make(map[Owner]*watched, len(entries))
	for o, entry := range entries {
		seen, known := w.owners[o]
		switch {
		case !known:
			seen = new(watched)
		case seen.entry == entry:
			owners[o] = seen
			continue
		case seen.sound.IsZero():
			seen.sound = now
		}
		seen.entry, seen.moved, seen.expires = entry, moved, now.Add(w.length)
		owners[o] = seen
	}
	w.owners = owners
}

// restart discards all observations: the list was not answered.
func (w *leaseWatch) restart() { w.owners = nil }

// still reports whether the owner did not renew its lease in the time in which it should have done so.
func (w *leaseWatch) still(o Owner) bool {
	seen := w.owners[o]
	return seen.entry == leftEntry || w.last.Sub(seen.moved) > 5*w.length/16
}

// toLookAt returns the owners whose leases this pod must look at.
func (w *leaseWatch) toLookAt(self Owner) []Owner {
	var still []Owner
	for o := range w.owners {
		if w.still(o) {
			still = append(still, o)
		}
	}
	slices.SortFunc(still, compareOwners)
	next, _ := slices.BinarySearchFunc(still, self, compareOwners)
	still = append(still[next:], still[:next]...)
	for _, o := range still[min(maxLooks, len(still)):] {
		w.owners[o].sound = time.Time{}
	}
	return still[:min(maxLooks, len(still))]
}

func compareOwners(a, b Owner) int { return strings.Compare(a.String(), b.String()) }

// alive returns the entries of the owners that live, given the looks at leases of this sweep.
func (w *leaseWatch) alive(lookedAt []Owner, looks []look) []string {
	var alive []string
	for o, seen := range w.owners {
		if !w.still(o) {
			alive = append(alive, seen.entry)
		}
	}
	for i, o := range lookedAt {
		if looks[i].left > 0 {
			alive = append(alive, w.owners[o].entry)
		}
	}
	return alive
}

// look is the result of a look at an owner's lease.
type look struct {
	answered bool          // Redis answered
	left     time.Duration // until the lease ends; not positive: there is none
}

// look records a look at a lease, and reports whether the owner is dead: its lease ended in its time, and
// for a while before that Redis answered all looks. A lease that is gone early was lost by Redis.
func (w *leaseWatch) look(now time.Time, o Owner, l look, quiet time.Duration) (dead bool) {
	seen := w.owners[o]
	if !l.answered {
		seen.sound = time.Time{}
		return false
	}
	if seen.sound.IsZero() {
		seen.sound = now
	}
	switch {
	case l.left > 0:
		seen.expires = now.Add(l.left)
	case seen.entry == leftEntry, !now.Before(seen.expires):
		return now.Sub(seen.sound) >= quiet
	}
	return false
}

// sweepPods looks for dead pods until ctx is done, and takes over from them.
func (r *Redis) sweepPods(ctx context.Context) {
	watch := leaseWatch{length: r.cfg.Lease}
	takeOvers := takeOvers{under: make(map[Owner]bool)}
	defer takeOvers.work.Wait()
	every := min(r.cfg.Lease/8, time.Second)
	for Sleep(ctx, jitter(every)) {
		for _, dead := range r.sweep(ctx, &watch) {
			takeOvers.start(dead, func() {
				if err := r.takeOver(ctx, dead); err != nil && ctx.Err() == nil {
					r.log.Warn().Err(err).Str("owner", dead.String()).Msg("take-over incomplete, will be continued")
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

// sweep observes all pods and returns those that can be taken over.
func (r *Redis) sweep(ctx context.Context, w *leaseWatch) (dead []Owner) {
	entries, err := r.listPods(ctx)
	if err != nil {
		w.restart()
		r.notePeers(nil)
		return nil
	}
	w.list(r.now(), entries)
	self, _ := r.lease.current()
	owners := w.toLookAt(self)
	looks := r.lookAtLeases(ctx, owners)
	r.notePeers(w.alive(owners, looks))
	quiet := r.cfg.Lease + r.grace
	for i, o := range owners {
		if w.look(r.now(), o, looks[i], quiet) && o != self && r.lease.unbroken(r.now()) >= quiet {
			dead = append(dead, o)
		}
	}
	return dead
}

// listPods reads the list of pods.
func (r *Redis) listPods(ctx context.Context) (entries map[Owner]string, err error) {
	err = r.read(ctx, "sweep", func(ctx context.Context) error {
		list, err := r.client.HGetAll(ctx, r.keys.pods()).Result()
		entries = make(map[Owner]string, len(list))
		for text, entry := range list {
			o, err := parseOwner(text)
			if err != nil {
				r.log.Warn().Err(err).Msg("unreadable entry in the list of pods")
				continue
			}
			entries[o] = entry
		}
		return err
	})
	return entries, err
}

// lookAtLeases looks at the owners' leases. A failure for one of them is in its look.
func (r *Redis) lookAtLeases(ctx context.Context, owners []Owner) []look {
	looks := make([]look, len(owners))
	if len(owners) == 0 {
		return looks
	}
	_ = r.read(ctx, "look_at_leases", func(ctx context.Context) error {
		b := r.batch()
		cmds := make([]*redis.DurationCmd, len(owners))
		for i, o := range owners {
			cmds[i] = b.pipe.PTTL(ctx, r.keys.lease(o))
		}
		err := b.exec(ctx)
		for i, c := range cmds {
			left, err := c.Result()
			looks[i] = look{answered: err == nil, left: left}
		}
		return err
	})
	return looks
}

// takeOver records that this pod takes over from a dead one and releases all its records. If it fails midway,
// a later sweep continues, of this pod or, if that died as well, of another.
func (r *Redis) takeOver(ctx context.Context, dead Owner) error {
	mine, err := r.recordTakeOver(ctx, dead)
	if err != nil || !mine {
		return err
	}
	start := time.Now()
	n, err := r.releaseAllOf(ctx, dead)
	if err != nil {
		return err
	}
	r.log.Warn().Str("owner", dead.String()).Int("records", n).Dur("dur", time.Since(start)).Msg("took over from dead pod")
	return r.write(ctx, "take_over_done", func(ctx context.Context, _ Owner) error {
		return r.client.HDel(ctx, r.keys.pods(), dead.String()).Err()
	})
}

// recordTakeOver reports whether this pod must take over from the dead owner. It must not if the owner lives
// after all, or if another living pod does so.
func (r *Redis) recordTakeOver(ctx context.Context, dead Owner) (mine bool, err error) {
	err = r.write(ctx, "take_over", func(ctx context.Context, self Owner) error {
		keys := []string{r.keys.lease(dead), r.keys.taken(dead)}
		ttl := ms(r.takenTTL())
		status, rest, err := r.script(ctx, r.scripts.takeOver, keys, self.String(), "", ttl)
		if err != nil {
			return err
		}
		if status == statusTaken {
			gone, err := r.isGone(ctx, rest[0])
			if err != nil || !gone {
				return err
			}
			status, _, err = r.script(ctx, r.scripts.takeOver, keys, self.String(), rest[0], ttl)
			if err != nil {
				return err
			}
		}
		mine = status == statusOK
		return nil
	})
	if errors.Is(err, ErrLeaseStale) {
		return false, nil
	}
	return mine, err
}

// isGone reports whether an earlier taker has no lease.
func (r *Redis) isGone(ctx context.Context, taker string) (bool, error) {
	o, err := parseOwner(taker)
	if err != nil {
		return true, nil
	}
	leases, err := r.client.Exists(ctx, r.keys.lease(o)).Result()
	return leases == 0, err
}

// minTakenTTL is the minimum time for which a returning pod can learn that it was taken over.
const minTakenTTL = 24 * time.Hour

// takenTTL is how long it is recorded that an owner was taken over or left.
func (r *Redis) takenTTL() time.Duration { return max(r.cfg.RecordTTL, minTakenTTL) }
