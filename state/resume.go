package state

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// takeTries limits the attempts of TakeSession if the session changes after it was read.
const takeTries = 5

// TakeSession transfers a resumable session to this pod. decide receives the stored record and returns its
// successor, which must have another TokenHash and the next Generation, or an error to abort; it can be
// called several times. If several pods take the session at the same time, each sees the result of the one
// before. TakeSession returns the previous record. It fails with ErrNotFound, ErrLeaseStale, decide's error,
// or ErrUnavailable: then the session can have been taken, and is ended when Redis answers again.
func (r *Redis) TakeSession(ctx context.Context, id string, decide func(Session) (Session, error)) (was Session, err error) {
	var refused error
	err = r.change(ctx, "take_session", func(ctx context.Context, owner Owner) error {
		for range takeTries {
			value, err := r.client.Get(ctx, r.keys.session(id)).Result()
			if err != nil {
				return err
			}
			if was, err = parseSession(value); err != nil {
				return err
			}
			next, err := decide(was)
			if err != nil {
				refused = err
				return nil
			}
			taken, err := r.swapSession(ctx, owner, value, next)
			if err != nil {
				r.sessions.end(next) // it can have been taken, but no client has its token
			}
			if err != nil || taken {
				return err
			}
		}
		return fmt.Errorf("%w: session %q keeps changing", ErrUnavailable, id)
	})
	return was, errors.Join(refused, err)
}

// swapSession lists the session in the owner's index and then replaces its value if it still is the one that
// was seen.
func (r *Redis) swapSession(ctx context.Context, owner Owner, seen string, next Session) (taken bool, err error) {
	next.Owner, next.Upstream = owner, nil // that is of its previous client
	record, err := encode(next)
	if err != nil {
		return false, err
	}
	g, stamp := next.registration(), r.stamp(0)
	if err := r.enlist(ctx, owner, r.keys.sessions(owner), stamp, g.String()); err != nil {
		return false, err
	}
	status, _, err := r.script(ctx, r.scripts.swap, []string{r.keys.session(g.id)}, seen, g.value(owner, next.Generation, record), ms(r.cfg.RecordTTL))
	if err != nil {
		return false, err
	}
	if status != statusOK {
		return false, r.unlist(ctx, owner, r.keys.sessions(owner), stamp, g.String()) // it can be listed again by the next attempt
	}
	r.sessions.took(next)
	return true, nil
}

// took records that this pod has a session whose value in Redis is current.
func (b *sessionWriter) took(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replace(s.ID, newSessionEntry(&s, true, true))
	delete(b.dirty, s.ID)
}

// end queues the end of a session if it is this pod's.
func (b *sessionWriter) end(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := s.registration()
	g.final = true
	b.toDelete[g] = struct{}{}
	b.signal()
}

// EndSession permanently removes a resumable session from the register; DropSession does so only if no other
// pod took it. It succeeds if no pod has the session, and fails with ErrLostOwnership if the session was
// taken since (by any pod), ErrLeaseStale or ErrUnavailable. It can be repeated. ID and TokenHash must be
// those of the session. This pod forgets it in any case.
func (r *Redis) EndSession(ctx context.Context, s Session) error {
	r.sessions.forget(s)
	return r.change(ctx, "end_session", func(ctx context.Context, owner Owner) error {
		g := s.registration()
		status, _, err := r.script(ctx, r.scripts.endSession, []string{r.keys.session(g.id)}, g.text(owner), ms(voidTTL), "")
		if err != nil {
			return err
		}
		if err := r.unlist(ctx, owner, r.keys.sessions(owner), r.stamp(0), g.String()); err != nil {
			return err
		}
		if status != statusOK {
			return ErrLostOwnership
		}
		return nil
	})
}

// forget drops a session that no longer is this pod's, unless this pod took it again.
func (b *sessionWriter) forget(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.known[s.ID]; now != nil && now.tokenHash == s.TokenHash {
		delete(b.known, s.ID)
		delete(b.dirty, s.ID)
	}
}

// AdoptStream transfers a stream that was claimed in an earlier generation than that of s to this pod, with s
// as its record. Name, MediaID and Identity must be those of the claim. from is the owner that had its
// session; it need not handle the stream any more. It can be repeated, and fails with ErrNotFound,
// ErrLostOwnership if there is another claim or another pod has the stream in the same or a later generation,
// ErrLeaseStale, or ErrUnavailable: then the stream can be this pod's, and ReleaseStream undoes that after
// AdoptStream was repeated.
func (r *Redis) AdoptStream(ctx context.Context, s Stream, from Owner) error {
	return r.change(ctx, "adopt_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		_, err := r.adopt(ctx, from, entryOfStream(s), s.Owner, s.Generation, func(b *batch, e entry) *run {
			return b.run(ctx, r.scripts.adoptStream, []string{r.keys.record(s.Name), r.keys.void(e, owner)},
				owner.String(), e.claim(), s.Generation, asJSON{s}, ms(r.cfg.RecordTTL))
		})
		return err
	})
}

// AdoptPlayer transfers a player that from registered to this pod and returns the stream's record, which is
// zero without one. It can be repeated, and fails with ErrNotFound if neither from nor this pod has the
// player, ErrLostOwnership if a third pod has it in the same or a later generation, ErrLeaseStale, or
// ErrUnavailable as AdoptStream does.
func (r *Redis) AdoptPlayer(ctx context.Context, p Player, from Owner) (s Stream, err error) {
	err = r.change(ctx, "adopt_player", func(ctx context.Context, owner Owner) error {
		p.Owner = owner
		rest, err := r.adopt(ctx, from, entryOfPlayer(p), p.Owner, p.Generation, func(b *batch, e entry) *run {
			return b.run(ctx, r.scripts.adoptPlayer,
				[]string{r.keys.record(p.Stream), r.keys.players(p.Stream), r.keys.playersOf(p.Stream, from), r.keys.playersOf(p.Stream, owner), r.keys.void(e, from), r.keys.void(e, owner)},
				from.String(), owner.String(), e.claim(), asJSON{p}, ms(r.cfg.RecordTTL), p.Generation, ms(voidTTL))
		})
		if err != nil {
			return err
		}
		return unmarshalStream(rest[0], &s)
	})
	return s, err
}

// adopt moves an entry between owners. It is added to the new owner's index first and removed from the old
// one's last, so that it is never left out of a take-over.
func (r *Redis) adopt(ctx context.Context, from Owner, e entry, owner Owner, generation int, add func(*batch, entry) *run) (rest []string, err error) {
	if err := r.enlist(ctx, owner, r.keys.index(owner), r.stamp(generation), e.String()); err != nil {
		return nil, err
	}
	b := r.batch()
	adopted := add(b, e)
	// A pod that takes over from the old owner can have released the media id already, and arrive too late
	// for the rest.
	media := r.addClaimMedia(ctx, b, owner, e, generation, unstamped)
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	status, rest, err := adopted.reply()
	// Several owners can have the player registered: one that did not know of the adoption can have written
	// it again. The media id decides.
	if of, _, failed := media.reply(); e.kind == playerEntry && failed == nil && of == statusAdopted {
		status = statusLost
	}
	switch {
	case err != nil:
		return nil, err
	case status != statusOK:
		return nil, r.notAdopted(ctx, owner, e, generation, status)
	case owner == from:
		return rest, nil
	}
	return rest, r.unlistEntry(ctx, from, e, lastStamp(generation-1))
}

// notAdopted undoes the other effects of adopt.
func (r *Redis) notAdopted(ctx context.Context, owner Owner, e entry, generation int, status string) error {
	b := r.batch()
	if e.kind == playerEntry {
		r.addRemoval(ctx, b, owner, e, strconv.Itoa(generation), 0)
	}
	r.addReleaseMedia(ctx, b, owner, e)
	if err := b.exec(ctx); err != nil {
		return err
	}
	if err := r.unlistEntry(ctx, owner, e, r.stamp(generation)); err != nil {
		return err
	}
	if status == statusNone {
		return ErrNotFound
	}
	return ErrLostOwnership
}
