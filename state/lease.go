package state

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lease is the state of a pod's own lease. It has no clock.
type lease struct {
	length time.Duration // set once

	mu     sync.Mutex
	owner  Owner
	sent   time.Time // when the last successful renewal was sent; zero: none in this life
	since  time.Time // start of the unbroken series of renewals
	failed bool      // the last renewal failed
	left   bool      // permanently
}

// begin starts a life, without a lease.
func (l *lease) begin(o Owner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner, l.sent, l.failed = o, time.Time{}, false
}

func (l *lease) current() (o Owner, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner, !l.sent.IsZero()
}

// writer returns the owner for writes, and whether the lease is fresh enough to write.
func (l *lease) writer(now time.Time) (o Owner, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner, l.fresh(now)
}

// fresh reserves a third of the lease for commands in flight.
func (l *lease) fresh(now time.Time) bool {
	return !l.left && !l.sent.IsZero() && now.Sub(l.sent) < 2*l.length/3
}

// renewed records a successful renewal and reports whether there was a gap before it.
func (l *lease) renewed(sent time.Time) (gap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap = l.failed || !l.fresh(sent)
	if gap {
		l.since = sent
	}
	l.sent, l.failed = sent, false
	return gap
}

// fail records a failed renewal and reports whether it is the first in a row.
func (l *lease) fail() (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = !l.failed
	l.failed = true
	return first
}

// leave ends all writing.
func (l *lease) leave() Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	return l.owner
}

// unbroken returns for how long Redis has answered every renewal in time. It is 0 while the lease is not
// fresh.
func (l *lease) unbroken(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fresh(now) || l.failed {
		return 0
	}
	return now.Sub(l.since)
}

// newLife returns an owner that the pod never was before.
func (r *Redis) newLife(before Owner) Owner {
	return Owner{Pod: r.pod.ID, Epoch: max(r.now().UnixMilli(), before.Epoch+1)}
}

// keepLease renews the lease until ctx is done.
func (r *Redis) keepLease(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := r.cfg.Lease / 4
		if err := r.renew(ctx); err != nil {
			wait = r.cfg.Lease / 16
		}
		timer.Reset(jitter(wait))
	}
}

// Leased reports whether an owner has a lease: it renewed the lease within Config.Lease. It fails with
// ErrUnavailable.
func (r *Redis) Leased(ctx context.Context, o Owner) (leased bool, err error) {
	err = r.query(ctx, "find_lease", func(ctx context.Context) error {
		n, err := r.client.Exists(ctx, r.keys.lease(o)).Result()
		leased = n == 1
		return err
	})
	return leased, err
}

// jitter spreads the pods' periodic work.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/8) }

// renew renews the lease, and begins a new life if the old one was taken over.
func (r *Redis) renew(ctx context.Context) error {
	owner, held := r.lease.current()
	sent, status, err := r.sendRenewal(ctx, owner, !held)
	if err == nil && status == statusLost {
		r.log.Error().Str("owner", owner.String()).Msg("taken over by another pod: all records of this pod are void")
		r.lease.begin(r.newLife(owner))
		call(r.handlers.Lost)
		r.sessions.markAllDirty()
		owner, _ = r.lease.current()
		held = false
		sent, status, err = r.sendRenewal(ctx, owner, true)
	}
	if err != nil {
		if ctx.Err() == nil && r.lease.fail() {
			r.reportOutage(err)
		}
		return err
	}
	gap := r.lease.renewed(sent)
	// Other pods look at the lease itself while the list does not show the renewal.
	_ = r.read(ctx, "list_pod", func(ctx context.Context) error { return r.enrol(ctx, owner, sent) })
	if !r.reached.Swap(true) {
		r.log.Info().Str("owner", owner.String()).Msg("redis reached")
	}
	if held && (gap || status == statusMissing) {
		r.log.Warn().Bool("lease_missing", status == statusMissing).Msg("redis is back: registering all records again")
		r.sessions.markAllDirty()
		call(r.handlers.Reset)
	}
	return nil
}

func call(handler func()) {
	if handler != nil {
		handler()
	}
}

// sendRenewal renews an owner's lease. The first time it lists the owner among the pods before: a lease of an
// unlisted owner would never be taken over.
func (r *Redis) sendRenewal(ctx context.Context, owner Owner, first bool) (sent time.Time, status string, err error) {
	err = r.read(ctx, "renew_lease", func(ctx context.Context) error {
		if first {
			if err := r.enrol(ctx, owner, time.Time{}); err != nil {
				return err
			}
		}
		sent = r.now()
		status, _, err = r.script(ctx, r.scripts.renewLease, []string{r.keys.lease(owner), r.keys.taken(owner)}, r.pod.Host, ms(r.cfg.Lease))
		return err
	})
	return sent, status, err
}

// enrol writes the owner's entry of the list of pods, with the time of a successful renewal. Every renewal
// changes the entry: the other pods see from the list alone that the owner lives.
func (r *Redis) enrol(ctx context.Context, owner Owner, renewed time.Time) error {
	entry, err := r.podEntry(renewed)
	if err != nil {
		return err
	}
	b := r.batch()
	b.pipe.HSet(ctx, r.keys.pods(), owner.String(), entry)
	b.pipe.PExpire(ctx, r.keys.pods(), r.cfg.RecordTTL)
	return b.exec(ctx)
}

// reportOutage logs an outage of Redis with its probable cause.
func (r *Redis) reportOutage(err error) {
	if redis.IsAuthError(err) || redis.IsPermissionError(err) {
		r.log.Error().Err(err).Msg("redis rejects user or password")
		return
	}
	r.log.Warn().Err(err).Msg("redis is unreachable")
}

// leave writes pending registrations and releases the lease.
func (r *Redis) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*r.cfg.CallTimeout)
	defer cancel()
	r.flushSessions(ctx)
	owner := r.lease.leave()
	err := r.read(ctx, "leave", func(ctx context.Context) error {
		keys := []string{r.keys.lease(owner), r.keys.taken(owner), r.keys.index(owner), r.keys.sessions(owner), r.keys.rooms(owner)}
		status, _, err := r.script(ctx, r.scripts.leave, keys, owner.String(), ms(r.takenTTL()))
		switch {
		case err != nil:
			return err
		case status == statusOK:
			return r.client.HDel(ctx, r.keys.pods(), owner.String()).Err()
		}
		return r.client.HSet(ctx, r.keys.pods(), owner.String(), leftEntry).Err()
	})
	if err != nil {
		r.log.Warn().Err(err).Msg("lease not released: other pods wait until it expires")
	}
}
