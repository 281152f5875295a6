package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// AddPlayer claims the media id, registers the player with its stream and returns the stream's record, which
// is zero for a Native player of a stream without one. It can be repeated with the same player. It fails with
// ErrNotFound (no such stream; nothing is kept), ErrMediaIDTaken, ErrAdopted, ErrLostOwnership if the player
// was removed before it arrived, ErrLeaseStale also if this pod was taken over, or ErrUnavailable: then the
// player can be registered, and RemovePlayer undoes that.
func (r *Redis) AddPlayer(ctx context.Context, p Player) (s Stream, err error) {
	err = r.change(ctx, "add_player", func(ctx context.Context, owner Owner) error {
		p.Owner = owner
		e := entryOfPlayer(p)
		status, rest, media, err := r.claim(ctx, owner, e, p.Generation, func(b *batch, stamp string, listing []string) *run {
			return b.run(ctx, r.scripts.addPlayer,
				append([]string{r.keys.record(p.Stream), r.keys.players(p.Stream), r.keys.playersOf(p.Stream, owner), r.keys.void(e, owner)}, listing...),
				owner.String(), e.claim(), asJSON{p}, ms(r.cfg.RecordTTL), p.Native, e.String(), p.Generation, stamp)
		})
		if err != nil {
			return err
		}
		if status == statusOK && media == nil {
			return unmarshalStream(rest[0], &s)
		}
		failure := media
		switch {
		case status == statusNone:
			failure = ErrNotFound
		case status == statusLost && media == nil:
			failure = ErrLostOwnership
		}
		if err := r.removePlayer(ctx, owner, e, p.Generation, 0); err != nil {
			return fmt.Errorf("%w; not undone: %w", ErrUnavailable, err) // RemovePlayer is needed
		}
		return failure
	})
	return s, err
}

func unmarshalStream(record string, s *Stream) error {
	if record == "" {
		return nil
	}
	return json.Unmarshal([]byte(record), s)
}

// RemovePlayer undoes AddPlayer. An AddPlayer of the same player that arrives later is rejected; its media id
// stays until its TTL ends. MediaID, Stream, Identity and Generation must be those of the player. It can be
// repeated. It fails with ErrLeaseStale or ErrUnavailable.
func (r *Redis) RemovePlayer(ctx context.Context, p Player) error {
	return r.write(ctx, "remove_player", func(ctx context.Context, owner Owner) error {
		return r.removePlayer(ctx, owner, entryOfPlayer(p), p.Generation, voidTTL)
	})
}

func (r *Redis) removePlayer(ctx context.Context, owner Owner, e entry, generation int, void time.Duration) error {
	b := r.batch()
	r.addRemoval(ctx, b, owner, e, strconv.Itoa(generation), void)
	r.addReleaseMedia(ctx, b, owner, e)
	if err := b.exec(ctx); err != nil {
		return err
	}
	return r.unlistEntry(ctx, owner, e, r.stamp(generation))
}

// allGenerations makes the removal of a dead owner's player keep the player, for a repetition.
const allGenerations = ""

// addRemoval removes a player. For the time void, it cannot be added again in a generation up to this one.
func (r *Redis) addRemoval(ctx context.Context, b *batch, owner Owner, e entry, generation string, void time.Duration) *run {
	return b.run(ctx, r.scripts.removePlayer, []string{r.keys.players(e.stream), r.keys.playersOf(e.stream, owner), r.keys.void(e, owner)},
		owner.String(), e.claim(), ms(void), generation)
}
