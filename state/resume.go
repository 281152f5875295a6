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
// each sees what the one before has left. It gives the session as it was, and fails with ErrNotFound, ErrLeaseStale,
// ErrUnavailable (then it may have been taken) or decide's error.
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
	if err := r.enlist(ctx, owner, r.keys.sessions(owner), next.ID); err != nil {
		return false, err
	}
	status, _, err := r.script(ctx, r.scripts.swap, []string{r.keys.session(next.ID)}, seen, owner.String()+" "+string(record), ms(r.cfg.RecordTTL))
	if err != nil {
		return false, err
	}
	if status != statusOK {
		return false, r.client.SRem(ctx, r.keys.sessions(owner), next.ID).Err()
	}
	r.sessions.took(next)
	return true, nil
}

// took notes that a session is this pod's and that Redis knows it as it is.
func (b *sessionBook) took(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[s.ID] = remember(s, true)
	delete(b.dirty, s.ID)
}

// EndSession takes a kept session off the register, now: DropSession leaves open whether another pod has taken it. It succeeds too when
// nobody has it, and fails with ErrLostOwnership when another pod has, ErrLeaseStale or ErrUnavailable. It may be repeated. This pod
// forgets the session in any case.
func (r *Redis) EndSession(ctx context.Context, id string) error {
	r.sessions.forget(id)
	return r.write(ctx, "end_session", func(ctx context.Context, owner Owner) error {
		status, _, err := r.script(ctx, r.scripts.deleteOwned, []string{r.keys.session(id)}, owner.String()+" ")
		if err != nil {
			return err
		}
		if err := r.client.SRem(ctx, r.keys.sessions(owner), id).Err(); err != nil || status == statusOK {
			return err
		}
		n, err := r.client.Exists(ctx, r.keys.session(id)).Result()
		if err == nil && n > 0 {
			return ErrLostOwnership
		}
		return err
	})
}

func (b *sessionBook) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, id)
	delete(b.dirty, id)
}

// AdoptStream makes a stream that from has claimed this pod's, with s as its record. Name, MediaID and Identity must be those of
// the claim. It may be repeated, and fails with ErrNotFound, ErrLostOwnership when neither from nor this pod has it, ErrLeaseStale, or
// ErrUnavailable: then it may be this pod's, and ReleaseStream undoes that after AdoptStream was repeated.
func (r *Redis) AdoptStream(ctx context.Context, s Stream, from Owner) error {
	return r.write(ctx, "adopt_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		record, err := json.Marshal(s)
		if err != nil {
			return err
		}
		_, err = r.adopt(ctx, owner, from, entryOfStream(s), func(b *batch, e entry) *run {
			return b.run(ctx, r.scripts.adoptStream, []string{r.keys.record(s.Name)},
				from.String(), e.claim(), owner.String(), record, ms(r.cfg.RecordTTL))
		})
		return err
	})
}

// AdoptPlayer makes a player that from has registered this pod's and gives the stream's record, which is zero without one. It may be
// repeated, and fails with ErrNotFound when neither from nor this pod has it, ErrLeaseStale, or ErrUnavailable as AdoptStream does.
func (r *Redis) AdoptPlayer(ctx context.Context, p Player, from Owner) (s Stream, err error) {
	err = r.write(ctx, "adopt_player", func(ctx context.Context, owner Owner) error {
		p.Owner = owner
		record, err := json.Marshal(p)
		if err != nil {
			return err
		}
		rest, err := r.adopt(ctx, owner, from, entryOfPlayer(p), func(b *batch, e entry) *run {
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
func (r *Redis) adopt(ctx context.Context, owner, from Owner, e entry, add func(*batch, entry) *run) (rest []string, err error) {
	if err := r.enlist(ctx, owner, r.keys.index(owner), e.String()); err != nil {
		return nil, err
	}
	b := r.batch()
	adopted := add(b, e)
	b.run(ctx, r.scripts.swap, []string{r.keys.media(e.media)}, from.String()+" "+e.String(), owner.String()+" "+e.String(), ms(r.cfg.RecordTTL))
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	status, rest, err := adopted.reply()
	if err != nil {
		return nil, err
	}
	if status == statusOK && owner == from {
		return rest, nil
	}
	left := from // the index that names what its owner does not have any more
	if status != statusOK {
		left = owner
	}
	if err := r.client.SRem(ctx, r.keys.index(left), e.String()).Err(); err != nil {
		return nil, err
	}
	switch status {
	case statusOK:
		return rest, nil
	case statusNone:
		return nil, ErrNotFound
	}
	return nil, ErrLostOwnership
}
