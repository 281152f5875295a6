package state

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// sentKey is that of a *atomic.Bool in a context, which is set when a command may have got to a server. A Cluster client makes
// several attempts, and its error is only that of the last.
type sentKey struct{}

// sentHook is below all attempts, at the client of one server.
type sentHook struct{}

func (sentHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (sentHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if sent, ok := ctx.Value(sentKey{}).(*atomic.Bool); ok && !unsent(err) {
			sent.Store(true)
		}
		return err
	}
}

func (sentHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// unsent tells of an attempt that there was no connection for it.
func unsent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout)
}

// watchSent gives a context for commands that are not in a pipeline, and whether one of them may have got to a server.
func watchSent(ctx context.Context) (watched context.Context, sent *atomic.Bool) {
	sent = new(atomic.Bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}
