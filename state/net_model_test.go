package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The network of the model. Every command of every pod, also each of a pipeline, waits before Redis, and
// again with its reply. The scheduler selects the next one and its fate. Only one task runs at a time, so
// that a seed yields one schedule.

// errModelNet is the caller's error for a command or reply that did not arrive.
var errModelNet = errors.New("model: no reply in time")

// verdict is the fate of a command.
type verdict int

const (
	deliver   verdict = iota
	loseCall          // it never arrives
	loseReply         // it is run, and the caller does not learn the result
	late              // the caller abandons it, and it is run later
	twice             // it is run, its reply is lost, and the client sends it again, as a Cluster client can
)

var verdictNames = [...]string{"", " CALL LOST", " REPLY LOST", " LATE", " TWICE"}

// task is one operation of a pod.
type task struct {
	pod        *modelPod
	name       string
	started    int64 // virtual ms
	resume     chan verdict
	waits      string // its command before Redis; empty before the first, and while it waits for a reply
	done       bool
	client     *modelClient // whose session or streams it takes
	generation int          // of client
}

type taskKey struct{}

// lateCall is a command in flight whose caller gave it up.
type lateCall struct {
	pod  *modelPod
	from int64 // when its task was started
	args []any
	text string
	slow bool // it arrives after everything else has settled
	task *task
}

// adopts reports whether the command changes the owner of a stream. No pod waits for that longer than
// letGoWait.
func (c lateCall) adopts() bool { return strings.Contains(c.text, "ADOPT") }

// modelNet is a go-redis hook.
type modelNet struct {
	rng      *rand.Rand
	raw      redis.UniversalClient
	yield    chan *task
	tasks    []*task
	wire     []lateCall
	arriving lateCall // the last that arrived
	down     bool
	cut      map[string]bool   // pods whose keys are on a server that is away
	loaded   map[string]string // scripts' names by SHA
	ran      func(p *modelPod, t *task, args []any, answered bool)
	skip     func(t *task, command string) bool // by a mutant
	repeats  float64                            // share of removals from the index and of players that arrive again, after their reply
	trouble  error
}

func (n *modelNet) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *modelNet) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		t, ok := ctx.Value(taskKey{}).(*task)
		if !ok || isHandshake(cmd) {
			return next(ctx, cmd)
		}
		return n.pass(t, cmd, func() error { return next(ctx, cmd) })
	}
}

// The commands of a pipeline are separated, in any order: in a Cluster they go to several servers.
func (n *modelNet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		t, ok := ctx.Value(taskKey{}).(*task)
		if !ok || isHandshake(cmds[0]) {
			return next(ctx, cmds)
		}
		var first error
		ordered := slices.SortedFunc(slices.Values(cmds), func(a, b redis.Cmder) int { // they can come from a map
			return strings.Compare(n.text(a.Args()), n.text(b.Args()))
		})
		for _, i := range n.rng.Perm(len(cmds)) {
			err := n.pass(t, ordered[i], func() error { return next(ctx, ordered[i:i+1]) })
			if err != nil && first == nil {
				first = err
			}
		}
		return first
	}
}

// isHandshake reports whether the client library sent the command itself.
func isHandshake(cmd redis.Cmder) bool {
	return slices.Contains([]string{"hello", "client", "select", "auth"}, cmd.Name())
}

// pass takes one command through the network.
func (n *modelNet) pass(t *task, cmd redis.Cmder, run func() error) error {
	t.waits = n.text(cmd.Args())
	v := t.await(n.yield)
	t.waits = ""
	switch {
	case n.skip != nil && n.skip(t, n.text(cmd.Args())):
		if c, ok := cmd.(*redis.Cmd); ok {
			c.SetVal([]any{statusOK})
		}
		return nil
	case t.pod.gone || n.unreachable(n.text(cmd.Args())) || v == loseCall:
		cmd.SetErr(errModelNet)
		return errModelNet
	case v == late:
		c := lateCall{pod: t.pod, from: t.started, args: cmd.Args(), text: n.text(cmd.Args()), task: t}
		c.slow = n.rng.IntN(5) == 0
		n.wire = append(n.wire, c)
		cmd.SetErr(errModelNet)
		return errModelNet
	}
	err := n.run(t, cmd, v == deliver, run)
	t.pod.world.dieInTakeOver(t, n.text(cmd.Args()))
	if v == twice && t.await(n.yield) == deliver && !t.pod.gone {
		err = n.run(t, cmd, v == deliver, run)
	}
	if t.await(n.yield) != deliver || v == loseReply || t.pod.gone {
		cmd.SetErr(errModelNet)
		return errModelNet
	}
	text := n.text(cmd.Args())
	repeated := strings.Contains(text, "UNLIST") && strings.Contains(text, "}:index ") || strings.Contains(text, "ADD_PLAYER")
	if repeated && n.repeats > 0 && n.rng.Float64() < n.repeats {
		n.wire = append(n.wire, lateCall{pod: t.pod, from: t.started, args: cmd.Args(), text: text, task: t, slow: n.rng.IntN(5) == 0})
	}
	return err
}

// unreachable reports whether the server of a command's keys is away.
func (n *modelNet) unreachable(command string) bool {
	for id := range n.cut {
		if strings.Contains(command, "{pod:"+id+"/") {
			return true
		}
	}
	return n.down
}

func (n *modelNet) run(t *task, cmd redis.Cmder, answered bool, run func() error) error {
	err := run()
	if err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, redis.ErrNoScript) {
		n.trouble = errors.Join(n.trouble, fmt.Errorf("redis itself fails: %s: %w", n.text(cmd.Args()), err))
	}
	n.ran(t.pod, t, cmd.Args(), answered)
	return err
}

// arrive runs a late command.
func (n *modelNet) arrive(ctx context.Context, i int) {
	c := n.wire[i]
	n.arriving = c
	n.wire = slices.Delete(n.wire, i, i+1)
	err := n.raw.Do(ctx, c.args...).Err()
	if err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, redis.ErrNoScript) {
		n.trouble = errors.Join(n.trouble, fmt.Errorf("redis itself fails: %s: %w", c.text, err))
	}
	n.ran(c.pod, nil, c.args, false)
}

// text returns a command in readable form.
func (n *modelNet) text(args []any) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
		if b, ok := a.([]byte); ok {
			words[i] = string(b)
		}
		if strings.HasPrefix(words[i], "{\"") {
			words[i] = "{}"
		}
		words[i] = strings.TrimPrefix(words[i], "wcs:model:")
		if strings.HasPrefix(words[i], "-- ") {
			words[i] = redis.NewScript(words[i]).Hash() // the source
		}
		if name, ok := n.loaded[words[i]]; ok {
			words[i] = name
		}
	}
	return strings.Join(words, " ")
}

// spawn adds a task, which runs when the scheduler selects it.
func (n *modelNet) spawn(ctx context.Context, p *modelPod, name string, f func(context.Context)) *task {
	t := &task{pod: p, name: name, resume: make(chan verdict), started: p.world.clock}
	n.tasks = append(n.tasks, t)
	go func() {
		<-t.resume
		f(context.WithValue(ctx, taskKey{}, t))
		t.done = true
		n.yield <- t
	}()
	return t
}

// await yields to the scheduler and waits for the next turn.
func (t *task) await(yield chan<- *task) verdict {
	yield <- t
	return <-t.resume
}

// step lets a task run to its next wait.
func (n *modelNet) step(t *task, v verdict) {
	t.resume <- v
	<-n.yield
	if t.done {
		n.tasks = slices.DeleteFunc(n.tasks, func(o *task) bool { return o == t })
	}
}
