package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// takeTries is how often TakeSession starts over when the session has changed since it was read.
const takeTries = 5

// TakeSession makes a kept session this pod's, whoever has it. decide is given the session as it is and gives it as it shall be, or an
// error, which ends the attempt; it may be called several times. Of several pods that take the same session at the same time
// each sees what the one before has left: decide must give it another TokenHash and the next Era. It gives the session as it was, and fails with
// ErrNotFound, ErrLeaseStale, ErrUnavailable (then it may have been taken: it ends in that case, when Redis answers again) or decide's error.
func (r *Redis) TakeSession(ctx context.Context, id string, decide func(Session) (Session, error)) (was Session, err error) {
	var refused error
	err = r.write(ctx, "take_session", func(ctx context.Context, owner Owner) error {
		for range takeTries {
			value, err := r.client.Get(ctx, r.keys.session(id)).Result()
			if errors.Is(err, redis.Nil) {
				return ErrNotFound
			}
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
				r.sessions.end(next) // it may have been taken, and nobody knows its token
			}
			if err != nil || taken {
				return err
			}
		}
		return fmt.Errorf("%w: session %q changes all the time", ErrUnavailable, id)
	})
	return was, errors.Join(refused, err)
}

// swapSession names the session in the owner's index and then replaces its value, if it still is the one that was seen.
func (r *Redis) swapSession(ctx context.Context, owner Owner, seen string, next Session) (taken bool, err error) {
	next.Owner = owner
	record, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	g := next.registration()
	if err := r.enlist(ctx, owner, r.keys.sessions(owner), g.String()); err != nil {
		return false, err
	}
	status, _, err := r.script(ctx, r.scripts.swap, []string{r.keys.session(g.id)}, seen, g.value(owner, next.Era, record), ms(r.cfg.RecordTTL))
	if err != nil {
		return false, err
	}
	if status != statusOK {
		return false, r.client.SRem(ctx, r.keys.sessions(owner), g.String()).Err()
	}
	r.sessions.took(next)
	return true, nil
}

// took notes that a session is this pod's and that Redis knows it as it is.
func (b *sessionBook) took(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replace(s.ID, remember(s, true, true))
	delete(b.dirty, s.ID)
}

// end has a session ended if it is this pod's.
func (b *sessionBook) end(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := s.registration()
	g.final = true
	b.gone[g] = struct{}{}
	b.signal()
}

// EndSession takes a kept session off the register, now and for good: DropSession leaves open whether another pod has taken it. It
// succeeds too when nobody has it, and fails with ErrLostOwnership when somebody has taken it, also this pod, ErrLeaseStale or
// ErrUnavailable. It may be repeated. ID and TokenHash must be those of the session. This pod forgets it in any case.
func (r *Redis) EndSession(ctx context.Context, s Session) error {
	r.sessions.forget(s)
	return r.write(ctx, "end_session", func(ctx context.Context, owner Owner) error {
		g := s.registration()
		status, _, err := r.script(ctx, r.scripts.endSession, []string{r.keys.session(g.id)}, g.text(owner), endedSession, ms(voidTTL))
		if err != nil {
			return err
		}
		if err := r.client.SRem(ctx, r.keys.sessions(owner), g.String()).Err(); err != nil {
			return err
		}
		if status != statusOK {
			return ErrLostOwnership
		}
		return nil
	})
}

// forget drops a session that is not this pod's any more, unless this pod has taken it again.
func (b *sessionBook) forget(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[s.ID].tokenHash == s.TokenHash {
		delete(b.known, s.ID)
		delete(b.dirty, s.ID)
	}
}

// AdoptStream makes a stream that was claimed in an earlier era than that of s this pod's, with s as its record. Name, MediaID and Identity
// must be those of the claim; from, which had its session, need not look after it any more. It may be repeated, and fails with ErrNotFound,
// ErrLostOwnership when there is another claim, or another pod has it in an era that is no earlier, ErrLeaseStale, or
// ErrUnavailable: then it may be this pod's, and ReleaseStream undoes that after AdoptStream was repeated.
func (r *Redis) AdoptStream(ctx context.Context, s Stream, from Owner) error {
	return r.write(ctx, "adopt_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		record, err := json.Marshal(s)
		if err != nil {
			return err
		}
		_, err = r.adopt(ctx, from, entryOfStream(s), s.Owner, s.Era, func(b *batch, e entry) *run {
			return b.run(ctx, r.scripts.adoptStream, []string{r.keys.record(s.Name), r.keys.void(e, owner)},
				owner.String(), e.claim(), s.Era, record, ms(r.cfg.RecordTTL))
		})
		return err
	})
}

// AdoptPlayer makes a player that from has registered this pod's and gives the stream's record, which is zero without one. It may be
// repeated, and fails with ErrNotFound when neither from nor this pod has it, ErrLostOwnership when yet another pod has, in an era that is no earlier, ErrLeaseStale, or
// ErrUnavailable as AdoptStream does.
func (r *Redis) AdoptPlayer(ctx context.Context, p Player, from Owner) (s Stream, err error) {
	err = r.write(ctx, "adopt_player", func(ctx context.Context, owner Owner) error {
		p.Owner = owner
		record, err := json.Marshal(p)
		if err != nil {
			return err
		}
		rest, err := r.adopt(ctx, from, entryOfPlayer(p), p.Owner, p.Era, func(b *batch, e entry) *run {
			return b.run(ctx, r.scripts.adoptPlayer,
				[]string{r.keys.record(p.Stream), r.keys.players(p.Stream), r.keys.playersOf(p.Stream, from), r.keys.playersOf(p.Stream, owner)},
				from.String(), owner.String(), e.claim(), record, ms(r.cfg.RecordTTL))
		})
		if err != nil {
			return err
		}
		return unmarshalStream(rest[0], &s)
	})
	return s, err
}

// adopt moves an entry from one owner to another: named in the new one's index first and taken off the old one's last, so that at any
// moment somebody would take it over.
func (r *Redis) adopt(ctx context.Context, from Owner, e entry, owner Owner, era int, add func(*batch, entry) *run) (rest []string, err error) {
	if err := r.enlist(ctx, owner, r.keys.index(owner), e.String()); err != nil {
		return nil, err
	}
	b := r.batch()
	adopted := add(b, e)
	// Whoever takes over from the old owner may have released the media id by now, and come too late for the rest.
	media := r.addClaimMedia(ctx, b, owner, e, era)
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	status, rest, err := adopted.reply()
	// A player can be registered by several: by one that wrote it once more and did not know yet that it was adopted. The media id tells
	// whose it is.
	if of, _, failed := media.reply(); e.kind == playerEntry && failed == nil && of == statusAdopted {
		status = statusLost
	}
	switch {
	case err != nil:
		return nil, err
	case status != statusOK:
		return nil, r.notAdopted(ctx, owner, e, status)
	case owner == from:
		return rest, nil
	}
	return rest, r.client.SRem(ctx, r.keys.index(from), e.String()).Err()
}

// notAdopted undoes what else adopt has done.
func (r *Redis) notAdopted(ctx context.Context, owner Owner, e entry, status string) error {
	b := r.batch()
	if e.kind == playerEntry {
		r.addRemoval(ctx, b, owner, e)
	}
	r.addReleaseMedia(ctx, b, owner, e)
	if err := b.exec(ctx); err != nil {
		return err
	}
	if err := r.client.SRem(ctx, r.keys.index(owner), e.String()).Err(); err != nil {
		return err
	}
	if status == statusNone {
		return ErrNotFound
	}
	return ErrLostOwnership
}
