package state

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Node is the result of asking one of Config.Addrs. Mode and Version are empty if the user may not ask.
type Node struct {
	Addr    string
	Mode    string // standalone, cluster or sentinel
	Version string
	Replica bool
	Err     error // nil: it answers
}

// Nodes asks each address of the configuration, as the user of the Sentinels if they are Sentinels. It writes
// nothing.
func (r *Redis) Nodes(ctx context.Context) []Node {
	nodes := make([]Node, len(r.cfg.Addrs))
	for i, addr := range r.cfg.Addrs {
		nodes[i] = r.node(ctx, addr)
	}
	return nodes
}

func (r *Redis) node(ctx context.Context, addr string) Node {
	c := r.cfg
	c.Addrs, c.Cluster, c.DB = []string{addr}, false, 0
	if c.MasterName != "" {
		c.MasterName, c.Username, c.Password = "", c.SentinelUsername, c.SentinelPassword
	}
	client := c.client()
	defer func() { _ = client.Close() }() // nothing is pending
	n := Node{Addr: addr, Err: client.Ping(ctx).Err()}
	if n.Err != nil {
		return n
	}
	info, err := client.Info(ctx).Result()
	if err != nil {
		return n // the user may not ask
	}
	for line := range strings.Lines(info) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
		case "redis_mode":
			n.Mode = value
		case "redis_version":
			n.Version = value
		case "role":
			n.Replica = value == "slave"
		}
	}
	return n
}

// directCommands are the commands that this package sends itself and that write nothing if the key does not
// exist; scriptCommands are those of its scripts, and the others that it sends itself. A user who may not run
// scripts leaves no key.
var (
	directCommands = []string{"EXISTS", "GET", "GETRANGE", "HDEL", "HGET", "HGETALL", "HRANDFIELD", "HSCAN", "LRANGE", "SMEMBERS", "ZRANGE", "ZREM"}
	scriptCommands = []string{
		"DEL", "EXISTS", "GET", "HDEL", "HEXISTS", "HGET", "HGETALL", "HINCRBY", "HLEN", "HMGET", "HSET", "HVALS", "LPUSH", "LTRIM", "PEXPIRE", "PTTL", "SADD", "SET", "SMEMBERS", "SREM",
		"TIME", "ZADD", "ZCARD", "ZRANGEBYSCORE", "ZREM", "ZREMRANGEBYSCORE", "ZSCORE",
	}
	// trialArguments are those after the key.
	trialArguments = map[string][]any{
		"GETRANGE": {0, 1}, "HDEL": {"f"}, "HEXISTS": {"f"}, "HGET": {"f"}, "HINCRBY": {"f", 1}, "HMGET": {"f"}, "HSCAN": {0}, "HSET": {"f", "v"}, "LPUSH": {"v"}, "LRANGE": {0, 1}, "LTRIM": {0, 0},
		"ZADD": {1, "m"}, "ZRANGE": {0, 1}, "ZRANGEBYSCORE": {0, 1}, "ZREM": {"m"}, "ZREMRANGEBYSCORE": {0, 1}, "ZSCORE": {"m"},
		"HRANDFIELD": {1}, "SREM": {"m"}, "SADD": {"m"}, "SET": {"v"}, "PEXPIRE": {1000},
	}
)

// TryCommands runs each command that the store needs, on keys of the deployment that no pod uses, and removes
// them. It returns the commands that the user may not run. It fails with ErrUnavailable, also if the user may
// not use the keys.
func (r *Redis) TryCommands(ctx context.Context) (missing []string, err error) {
	key := r.keys.prefix + "{check:" + r.pod.ID + "}:"
	err = r.read(ctx, "try commands", func(ctx context.Context) error {
		for _, name := range directCommands {
			args := append([]any{name, key + name}, trialArguments[name]...)
			switch err := r.client.Do(ctx, args...).Err(); {
			case err == nil, errors.Is(err, redis.Nil):
			case redis.HasErrorPrefix(err, "NOPERM"):
				missing = append(missing, name)
			default:
				return err
			}
		}
		var keys []string
		var args []any
		for _, name := range scriptCommands {
			keys = append(keys, key+name)
			args = append(args, name, len(trialArguments[name]))
			args = append(args, trialArguments[name]...)
		}
		denied, err := newScript("try_commands").Run(ctx, r.client, keys, args...).StringSlice()
		if redis.HasErrorPrefix(err, "NOPERM") {
			missing = append(missing, "EVALSHA", "EVAL")
			return nil
		}
		missing = append(missing, denied...)
		return err
	})
	slices.Sort(missing)
	return slices.Compact(missing), err
}

// Listen passes the events for this pod to a handler until ctx is done or the subscription is lost. Unlike
// Run it does not register the pod.
func (r *Redis) Listen(ctx context.Context, event func(Event)) error {
	r.handlers.Event = event
	return r.subscribe(ctx, r.keys.channel(r.pod.ID), func() { r.subscribed.Store(true) }, r.received)
}

// Close closes the connections of a store on which Run was not called.
func (r *Redis) Close() error { return r.client.Close() }
