package state

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// UpstreamName is a stream that a client of the deployment publishes on another WCS server.
type UpstreamName struct{ Upstream, Name string }

// UpstreamNameTTL is how long PutUpstreamNames records a stream. The pods have no other way to notice that
// the stream of a dead pod has ended.
const UpstreamNameTTL = 20 * time.Second

// PutUpstreamNames records streams for UpstreamNameTTL, or for so much longer.
func (r *Redis) PutUpstreamNames(ctx context.Context, names []UpstreamName) error {
	return r.write(ctx, "put_upstream_names", func(ctx context.Context, owner Owner) error {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, n := range names {
				p.Set(ctx, r.keys.upstreamName(n), upstreamNameOf(owner), UpstreamNameTTL) // Pipelined returns the error
			}
			return nil
		})
		return err
	})
}

func upstreamNameOf(o Owner) string { return o.String() + " " }

// DropUpstreamNames removes the records of streams that no other pod has recorded since.
func (r *Redis) DropUpstreamNames(ctx context.Context, names []UpstreamName) error {
	return r.write(ctx, "drop_upstream_names", func(ctx context.Context, owner Owner) error {
		b := r.batch()
		for _, n := range names {
			b.run(ctx, r.scripts.deleteOwned, []string{r.keys.upstreamName(n)}, upstreamNameOf(owner))
		}
		return b.exec(ctx)
	})
}

// HasUpstreamName reports whether a stream is recorded.
func (r *Redis) HasUpstreamName(ctx context.Context, n UpstreamName) (has bool, err error) {
	err = r.read(ctx, "has_upstream_name", func(ctx context.Context) error {
		count, err := r.client.Exists(ctx, r.keys.upstreamName(n)).Result()
		has = count > 0
		return err
	})
	return has, err
}
