package state

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// refreshBatch is the number of records that are refreshed together.
const refreshBatch = 256

// refreshRecords renews the TTLs of this pod's records, four times per TTL, until ctx is done.
func (r *Redis) refreshRecords(ctx context.Context) {
	for Sleep(ctx, jitter(r.cfg.RecordTTL/4)) {
		if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("refresh of records failed, will be retried")
		}
	}
}

// refresh renews the TTLs of all records listed in the pod's indexes, and of the indexes. They list all
// records, so no other state is needed.
func (r *Redis) refresh(ctx context.Context) error {
	owner, _ := r.lease.current()
	err := r.refreshNamed(ctx, r.keys.index(owner), func(name string) ([]string, error) {
		e, err := parseEntry(name)
		if err != nil {
			return nil, err
		}
		if e.kind == streamEntry {
			return []string{r.keys.record(e.stream), r.keys.media(e.media)}, nil
		}
		return []string{r.keys.players(e.stream), r.keys.playersOf(e.stream, owner), r.keys.media(e.media)}, nil
	})
	if err != nil {
		return err
	}
	err = r.refreshNamed(ctx, r.keys.sessions(owner), func(name string) ([]string, error) {
		g, err := parseRegistration(name)
		return []string{r.keys.session(g.id)}, err
	})
	if err != nil {
		return err
	}
	return r.refreshNamed(ctx, r.keys.rooms(owner), func(name string) ([]string, error) {
		room, err := parseRoom(name)
		return []string{r.keys.members(room)}, err
	})
}

// refreshNamed renews the TTLs of an index and of the keys of each of its names.
func (r *Redis) refreshNamed(ctx context.Context, index string, keysOf func(name string) ([]string, error)) error {
	cursor := uint64(0)
	for {
		err := r.write(ctx, "refresh", func(ctx context.Context, _ Owner) error {
			names, next, err := r.scanIndex(ctx, index, cursor, refreshBatch)
			if err != nil {
				return err
			}
			b := r.batch()
			expire(ctx, b.pipe, r.cfg.RecordTTL, index)
			for _, name := range names {
				keys, err := keysOf(name)
				if err != nil {
					return err
				}
				expire(ctx, b.pipe, r.cfg.RecordTTL, keys...)
			}
			cursor = next
			return b.exec(ctx)
		})
		if err != nil || cursor == 0 {
			return err
		}
	}
}

func expire(ctx context.Context, pipe redis.Pipeliner, ttl time.Duration, keys ...string) {
	for _, k := range keys {
		pipe.PExpire(ctx, k, ttl)
	}
}
