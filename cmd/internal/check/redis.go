package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"wcsgateway/state"
)

// eventTimeout is the time that an event of this process to itself can take.
const eventTimeout = 5 * time.Second

// eventInterval is the time between two events, because those before the subscription are lost.
const eventInterval = 100 * time.Millisecond

func (c *connection) redis(ctx context.Context) []Result {
	all := c.redisNodes(ctx)
	if !slices.ContainsFunc(all, func(r Result) bool { return r.Level != Fault }) {
		return all
	}
	missing, err := c.store.TryCommands(ctx)
	d := c.cfg.Deployment
	rights := fmt.Sprintf("the user needs ~wcs:%s:* &wcs:%s:* and the commands: ACL SETUSER", d, d)
	switch {
	case err != nil:
		return append(all, fault("redis", err, c.redisHint()))
	case len(missing) > 0:
		return append(all, Result{Level: Fault, Check: "redis.username", Text: "may not run " + strings.Join(missing, ", "), Hint: rights})
	}
	all = append(all, ok("redis.username", "may run all commands on the keys of the deployment"))
	if err := c.listen(ctx); err != nil {
		hint := c.redisHint()
		if errors.Is(err, errNoEvents) || strings.Contains(err.Error(), "NOPERM") {
			hint = "Pub/Sub does not work: " + rights
		}
		return append(all, fault("redis events", err, hint))
	}
	c.redisWorks = true
	all = append(all, ok("redis events", "come"))
	pods, err := c.store.Pods(ctx)
	if err != nil {
		return append(all, fault("gateways", err, c.redisHint()))
	}
	c.gateways = len(pods)
	return append(all, ok("gateways", "%d run as deployment %s", len(pods), d))
}

// redisNodes examines each address.
func (c *connection) redisNodes(ctx context.Context) (all []Result) {
	for _, n := range c.store.Nodes(ctx) {
		all = append(all, c.redisNode(n))
	}
	return all
}

// redisNode examines one address.
func (c *connection) redisNode(n state.Node) Result {
	check := "redis " + n.Addr
	if n.Err != nil {
		return fault(check, n.Err, "redis.addrs, redis.tls, redis.username and redis.password must be those of a Redis that runs and can be reached")
	}
	want := c.redisMode()
	switch {
	case n.Mode == "":
		return warning(check, "answers, but its version and mode are unknown", "let the user run INFO to have them examined")
	case n.Mode != want:
		return Result{Level: Fault, Check: check, Text: "is " + n.Mode + ", and the configuration is for " + want, Hint: modeHints[n.Mode]}
	case want == standalone && n.Replica:
		return Result{Level: Fault, Check: check, Text: "is a replica", Hint: "redis.addrs must be the master, or the Sentinels with redis.masterName"}
	case older(n.Version, minRedis):
		return Result{Level: Fault, Check: check, Text: "has version " + n.Version, Hint: "the gateway needs " + minRedis + " or later"}
	}
	return ok(check, "answers: %s, version %s", n.Mode, n.Version)
}

// Modes of a Redis, as it names them itself.
const (
	standalone = "standalone"
	cluster    = "cluster"
	sentinel   = "sentinel"
)

var modeHints = map[string]string{
	sentinel:   "set redis.masterName to the name that the Sentinel watches",
	cluster:    "set redis.cluster: true",
	standalone: "it is a single server: list it alone in redis.addrs, without redis.cluster and redis.masterName",
}

// redisMode returns the mode that the configuration is for.
func (c *connection) redisMode() string {
	switch r := c.cfg.Redis; {
	case r.MasterName != "":
		return sentinel
	case r.Cluster || len(r.Addrs) > 1:
		return cluster
	default:
		return standalone
	}
}

func (c *connection) redisHint() string {
	if c.cfg.Redis.MasterName != "" {
		return "redis.masterName must be a name that the Sentinels watch, and its master must be reachable"
	}
	return "every node that redis.addrs leads to must be reachable"
}

// older reports whether a version is known and below another one.
func older(version, least string) bool {
	return semver.IsValid("v"+version) && semver.Compare("v"+version, "v"+least) < 0
}

var errNoEvents = errors.New("an event to this process did not come")

// listen receives the events for the pod of the check, and reports whether one of its own comes.
func (c *connection) listen(ctx context.Context) error {
	ended := make(chan error, 1)
	c.listening.Go(func() { ended <- c.store.Listen(ctx, c.take) })
	limit := time.NewTimer(eventTimeout)
	defer limit.Stop()
	again := time.NewTicker(eventInterval)
	defer again.Stop()
	for {
		select {
		case <-c.events:
			return nil
		case err := <-ended:
			return fmt.Errorf("the subscription ended: %w", err)
		case <-limit.C:
			return errNoEvents
		case <-again.C:
			if err := c.store.Publish(ctx, c.pod, state.Event{Kind: state.EventAliveCheck}); err != nil {
				return err
			}
		}
	}
}

// take keeps an event; more than fit are not of interest.
func (c *connection) take(e state.Event) {
	select {
	case c.events <- e:
	default:
	}
}
