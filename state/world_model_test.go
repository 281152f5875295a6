package state

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Leases are long, so that what really passes is nothing against them. Only leases age: marks of a release and of a take-over are
// taken to outlive what is on its way.
const (
	modelLease = 8 * time.Hour
	modelGrace = modelLease / 2
	modelTick  = modelLease / 4
	modelCall  = 5 * time.Minute
)

// mutant is a fault put in on purpose. The zero one is none.
type mutant struct {
	name   string
	from   uint64 // a schedule that is known to find it; when it does not any more, others are tried
	change func(*Redis)
}

// world is one schedule: pods on a Redis, a clock, and what happens to them.
type world struct {
	ctx    context.Context
	seed   uint64
	rng    *rand.Rand
	raw    redis.UniversalClient
	client redis.UniversalClient // the same, through net
	net    *modelNet
	mutant mutant

	pods       []*modelPod
	names      int
	media      int
	faults     float64 // of commands
	clock      int64   // virtual ms
	wipedAt    int64
	wipes      int
	identities int
	away       outage
	reported   map[string]int
	check      checker

	steps, commands, silent, settling int
	trace                             []string
	failure                           string
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock) }

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// fail notes the first violation.
func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.note("VIOLATED: %s", w.failure)
	}
}

func (w *world) holdings() []*holding {
	var all []*holding
	for _, p := range w.pods {
		all = append(all, p.holdings...)
	}
	return all
}

func (w *world) podOf(owner string) *modelPod {
	id, _, _ := strings.Cut(owner, "/")
	return w.pods[slices.IndexFunc(w.pods, func(p *modelPod) bool { return p.id == id })]
}

// running are the pods that do something.
func (w *world) running() []*modelPod {
	return slices.DeleteFunc(slices.Clone(w.pods), func(p *modelPod) bool { return p.gone || p.frozen || p.busy["leave"] })
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// begin empties Redis, but for the scripts, and starts the pods.
func (w *world) begin(pods int) error {
	for _, id := range []string{"a", "b", "c", "d"}[:pods] {
		if err := w.start(id); err != nil {
			return err
		}
	}
	pipe := w.raw.Pipeline()
	pipe.FlushDB(w.ctx)
	pipe.ScriptFlush(w.ctx)
	for name, s := range w.pods[0].scripts.named() {
		w.net.loaded[s.Hash()] = name
		s.Load(w.ctx, pipe)
	}
	_, err := pipe.Exec(w.ctx)
	return err
}

func (s scripts) named() map[string]*redis.Script {
	return map[string]*redis.Script{
		"ENLIST": s.enlist, "CLAIM": s.claimStream, "PUT": s.putStream, "RELEASE": s.releaseStream, "ADD_PLAYER": s.addPlayer,
		"REMOVE_PLAYER": s.removePlayer, "DELETE_OWNED": s.deleteOwned, "RENEW": s.renewLease, "TAKE_OVER": s.takeOver, "LEAVE": s.leave,
	}
}

func (w *world) start(id string) error {
	p, err := newModelPod(w, id)
	if err != nil {
		return err
	}
	w.note("%s starts as %s", id, p.life())
	w.pods = append(w.pods, p)
	return nil
}

// round lets some time pass, and the pods do what they do by themselves and for their callers.
func (w *world) round() {
	d := modelTick
	switch x := w.rng.IntN(20); {
	case x == 0:
		d = modelLease
	case x < 3:
		d = modelLease / 2
	case x < 8:
		d = modelTick / 2
	}
	w.pass(d)
	for range w.rng.IntN(4) {
		w.disturb()
	}
	for _, p := range w.running() {
		p.tick(w.ctx)
		for range w.rng.IntN(3) {
			w.callerActs(p)
		}
	}
	if w.chance(0.8) {
		w.runUntil(w.loopsAreIdle)
		return
	}
	stop := w.steps + w.rng.IntN(40)
	w.runUntil(func() bool { return w.steps >= stop })
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.clock += d.Milliseconds()
	w.note("--- %v later", d)
	if err := w.raw.Eval(w.ctx, modelAge, nil, d.Milliseconds()).Err(); err != nil {
		w.fail("ageing leases: %v", err)
	}
	for owner := range w.check.last.leases {
		delete(w.check.last.leases, owner) // read again after the next command
	}
	w.checkClaims()
}

// loopsAreIdle tells whether all pods that run have renewed and looked.
func (w *world) loopsAreIdle() bool {
	return !slices.ContainsFunc(w.running(), func(p *modelPod) bool { return p.busy["renew"] || p.busy["sweep"] })
}

// runUntil runs tasks in random order.
func (w *world) runUntil(done func() bool) {
	for w.failure == "" && !done() {
		if w.chance(0.01) && w.faults > 0 {
			w.disturb()
		}
		ready := slices.DeleteFunc(slices.Clone(w.net.tasks), func(t *task) bool { return t.pod.frozen && !t.pod.gone })
		if len(ready) == 0 {
			return
		}
		w.step(pick(w.rng, ready))
	}
}

func (w *world) step(t *task) {
	v := deliver
	if t.waits != "" {
		if w.chance(w.faults) {
			v = verdict(1 + w.rng.IntN(4))
		}
		w.note("%s [%s] %s%s", t.pod.id, t.name, t.waits, verdictNames[v])
	}
	w.steps++
	w.net.step(t, v)
	w.checkClaims()
	if w.net.trouble != nil {
		w.fail("%v", w.net.trouble)
	}
}

// callerActs begins something of what a gateway does.
func (w *world) callerActs(p *modelPod) {
	for _, h := range p.idle(held, asking) {
		if h.again && w.chance(0.5) {
			h.start(w.ctx, "claim again", h.claim)
			return
		}
	}
	switch w.rng.IntN(6) {
	case 0, 1:
		if len(p.idle(asking, held, releasing)) < 4 {
			player := w.chance(0.4)
			p.claimNew(w.ctx, player, w.chance(0.3), fmt.Sprintf("n%d", w.rng.IntN(w.names)), fmt.Sprintf("m%d", w.rng.IntN(w.media)))
		}
	case 2:
		if all := slices.DeleteFunc(p.idle(held), func(h *holding) bool { return h.player }); len(all) > 0 {
			h := pick(w.rng, all)
			h.start(w.ctx, "put", h.put)
		}
	case 3:
		if all := p.idle(held); len(all) > 0 {
			pick(w.rng, all).phase = releasing
		}
		fallthrough
	case 4:
		if all := p.idle(releasing); len(all) > 0 {
			h := pick(w.rng, all)
			h.start(w.ctx, "release", h.release)
		}
	case 5:
		w.maybeDisplace(p)
	}
}

func (w *world) maybeDisplace(p *modelPod) {
	others := slices.DeleteFunc(w.holdings(), func(h *holding) bool { return h.pod == p || h.player || h.phase != held || h.moved })
	if len(others) > 0 && w.chance(0.1) {
		p.displace(w.ctx, pick(w.rng, others))
	}
}

// settle lets everything come to rest: no more faults, and time for take-overs.
func (w *world) settle() {
	w.faults = 0
	w.redisBack()
	for _, p := range w.pods {
		p.frozen = false
	}
	for quiet := 0; quiet < 3 && w.failure == ""; {
		w.pass(modelTick)
		for len(w.net.wire) > 0 && w.chance(0.7) {
			w.arrive()
		}
		for _, p := range w.running() {
			p.tick(w.ctx)
			for _, h := range p.idle(held, releasing) {
				if h.phase == releasing {
					h.start(w.ctx, "release", h.release)
				} else if h.again {
					h.start(w.ctx, "claim again", h.claim)
				}
			}
		}
		w.runUntil(func() bool { return len(w.net.tasks) == 0 })
		quiet++
		if w.unsettled() {
			quiet = 0
		}
		if w.settling++; w.settling > 120 {
			w.fail("does not come to rest")
		}
	}
}

// unsettled tells whether anything is still to be done.
func (w *world) unsettled() bool {
	listed := slices.ContainsFunc(slices.Collect(maps.Keys(w.check.last.pods)), func(owner string) bool {
		p := w.podOf(owner)
		return p.gone || p.life() != owner
	})
	return listed || len(w.net.wire) > 0 || slices.ContainsFunc(w.holdings(), func(h *holding) bool {
		return !h.pod.gone && (h.phase == releasing || h.phase == asking || h.again && h.phase == held)
	})
}

// end lets everybody go but one pod that comes last, and looks at what is left.
func (w *world) end() {
	if err := w.start("z"); err != nil {
		w.fail("starting a pod: %v", err)
	}
	w.settle()
	w.checkSettled()
	last := w.pods[len(w.pods)-1]
	for _, p := range w.pods {
		if p == last || p.gone {
			continue
		}
		if w.chance(0.5) {
			w.crash(p)
		} else {
			w.leave(p)
		}
	}
	w.settle()
	w.checkSettled()
	w.checkOrphans()
}
