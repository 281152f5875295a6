package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Leases are long compared with the real duration of a test. Only leases age: marks of a release and of a
// take-over are assumed to outlive all commands in flight.
const (
	modelLease = 8 * time.Hour
	modelGrace = modelLease / 2
	modelTick  = modelLease / 4
	modelCall  = 5 * time.Minute
)

// mutant is a deliberate fault. The zero mutant has none.
type mutant struct {
	name   string
	from   uint64 // a schedule that finds it; if it does not, because the protocol changed, others are tried
	change func(*Redis)
	skip   func(t *task, command string) bool // reports commands that are not sent
	rules  rules
	conditions
}

// conditions are no faults.
type conditions struct {
	joint bool // claims enlist themselves, except in a Cluster
	// repeats: some commands reach Redis again after their reply, as those of a Cluster client can. Clients
	// return in a Cluster, too.
	repeats bool
	// frail: many pods die after they released a record of a pod that is thought dead, and before they hand it
	// over. That pod goes on at that moment.
	frail bool
	wipes bool // Redis is often emptied right after a session was taken
}

// sound returns the protocol without a fault, as in a schedule.
func sound(seed uint64) mutant {
	return mutant{conditions: conditions{joint: seed%2 == 0, repeats: seed%4 > 1, frail: seed%8 > 5}}
}

// rules are rules of the gateway and of the watch of leases, each with the fault of omitting it.
type rules struct {
	boasts   bool // enters itself in the list of pods also when it could not renew its lease
	early    bool // mistakes a lease that Redis lost for one that ended
	forgets  bool // does not check its released holdings again
	blind    bool // mistakes a stream that another pod adopted for one whose name was lost
	hasty    bool // does not wait for its own pending work for a session that returns to it
	anyEvent bool // releases a session whichever registration of it was taken
}

// world is one schedule: pods on a Redis, a clock, and a sequence of events.
type world struct {
	ctx    context.Context
	seed   uint64
	rng    *rand.Rand
	raw    redis.UniversalClient
	client redis.UniversalClient // the same, through net
	net    *modelNet
	mutant mutant

	pods        []*modelPod
	names       int
	media       int
	faults      float64 // of commands
	clock       int64   // virtual ms
	wipedAt     int64
	wipes       int
	identities  int
	tokens      int
	clients     []*modelClient
	takenEvents []takenEvent
	removed     map[string]bool // identities of participants
	evicted     map[owned]bool  // displaced, or possibly displaced
	ousted      map[owned]bool  // displaced: the displacing pod has handed them over
	away        outage
	cluster     bool                         // single servers fail, and Redis is never emptied
	cuts        map[string]*outage           // the last of each pod's server
	reported    map[string]map[*modelPod]int // orphans
	check       checker

	steps, commands, silent, settling int
	cutTaken, losses                  int
	taken, adopted                    int
	trace                             []string
	failure                           string
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock) }

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// fail records the first violation.
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

// running returns the pods that are running.
func (w *world) running() []*modelPod {
	return slices.DeleteFunc(slices.Clone(w.pods), func(p *modelPod) bool { return p.gone || p.frozen || p.busy["leave"] })
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// begin empties Redis, except for the scripts, and starts the pods.
func (w *world) begin(pods int) error {
	for _, id := range []string{"a", "b", "c", "d"}[:pods] {
		if err := w.start(id); err != nil {
			return err
		}
	}
	err := errors.Join(w.raw.FlushDB(w.ctx).Err(), w.raw.ScriptFlush(w.ctx).Err())
	for name, s := range w.pods[0].scripts.named() {
		w.net.loaded[s.Hash()] = name
		err = errors.Join(err, s.Load(w.ctx, w.raw).Err()) // not in a pipeline, where Load forgets the hash
	}
	return err
}

func (s scripts) named() map[string]*redis.Script {
	return map[string]*redis.Script{
		"ENLIST": s.enlist, "UNLIST": s.unlist, "CLAIM": s.claimStream, "PUT": s.putStream, "RELEASE": s.releaseStream, "ADD_PLAYER": s.addPlayer,
		"REMOVE_PLAYER": s.removePlayer, "DELETE_OWNED": s.deleteOwned, "RENEW": s.renewLease, "TAKE_OVER": s.takeOver, "LEAVE": s.leave,
		"CLAIM_MEDIA": s.claimMedia, "PUT_SESSION": s.putSession, "END": s.endSession, "SWAP": s.swap, "ADOPT_STREAM": s.adoptStream, "ADOPT_PLAYER": s.adoptPlayer,
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

// round lets some time pass, in which the pods do their background work and serve their callers.
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

// pass advances the clock.
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

// loopsAreIdle reports whether all running pods have renewed and swept.
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
			if v == loseCall && strings.HasPrefix(t.name, "take over") {
				v = loseReply // a lost call is made again; a lost reply must be given again
			}
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

// callerActs starts an operation of a gateway.
func (w *world) callerActs(p *modelPod) {
	for _, h := range p.idle(held, asking) {
		switch {
		case h.session != nil && h.phase == held && w.removed[h.entry.identity] && w.chance(0.5): // it learns that from LiveKit
			h.end()
		case h.again && w.chance(0.5):
			h.start(w.ctx, "claim again", h.claim)
			return
		}
	}
	switch w.rng.IntN(12) {
	case 0, 1, 9, 10:
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
		p.stopsOne()
		fallthrough
	case 4:
		if all := p.idle(releasing); len(all) > 0 {
			h := pick(w.rng, all)
			h.start(w.ctx, "release", h.release)
		}
	case 5:
		w.maybeDisplace(p)
	case 6:
		if len(w.living()) < 2 {
			p.establish()
		}
	case 7:
		if len(p.stays) > 0 {
			s := pick(w.rng, p.stays)
			if s.park(); w.chance(0.2) || s.expiring {
				s.expire()
			}
		}
	case 8, 11:
		w.maybeComeBack(p)
	}
}

// maybeComeBack prefers clients with streams.
func (w *world) maybeComeBack(p *modelPod) {
	if w.cluster && !w.mutant.repeats {
		return
	}
	busy := slices.DeleteFunc(w.living(), func(v *modelClient) bool { return len(v.holder.holdings(held)) == 0 })
	switch {
	case len(busy) > 0:
		p.resume(pick(w.rng, busy))
	case len(w.clients) > 0 && w.chance(0.3):
		p.resume(pick(w.rng, w.clients))
	}
}

// living returns the clients whose sessions have not ended.
func (w *world) living() []*modelClient {
	return slices.DeleteFunc(slices.Clone(w.clients), func(v *modelClient) bool { return v.holder.over })
}

// stopsOne ends a stream or player of a client on this pod.
func (p *modelPod) stopsOne() {
	all := slices.DeleteFunc(p.idle(held), func(h *holding) bool { return h.session != nil && !h.session.rightful() })
	if len(all) > 0 {
		pick(p.world.rng, all).end()
	}
}

func (w *world) maybeDisplace(p *modelPod) {
	others := slices.DeleteFunc(w.holdings(), func(h *holding) bool { return h.pod == p || h.player || h.phase != held || h.moved })
	if len(others) > 0 && w.chance(0.1) {
		p.displace(w.ctx, pick(w.rng, others))
	}
}

// settle lets everything settle: no more faults, and time for take-overs.
func (w *world) settle() {
	w.faults = 0
	w.redisBack()
	for _, p := range w.pods {
		w.reconnect(p)
		p.frozen = false
	}
	for quiet := 0; quiet < 3 && w.failure == ""; {
		w.pass(modelTick)
		for len(w.net.wire) > 0 && w.chance(0.7) {
			w.arrive(false)
		}
		for _, l := range w.takenEvents {
			w.notifyTaken(l)
		}
		w.takenEvents = nil
		for _, p := range w.running() {
			p.tick(w.ctx)
			p.settles()
		}
		w.runUntil(func() bool { return len(w.net.tasks) == 0 })
		quiet++
		if w.unsettled() {
			quiet = 0
		} else if len(w.net.wire) > 0 {
			quiet = 0
			w.arrive(true)
		}
		if w.settling++; w.settling > 120 {
			w.fail("does not come to rest")
		}
	}
}

// settles completes pending operations, and ends sessions that were taken from the pod.
func (p *modelPod) settles() {
	for _, s := range p.stays {
		if !s.rightful() {
			s.park()
			s.expire()
		} else if s.parked {
			s.expire()
		}
	}
	for _, h := range p.idle(held, releasing) {
		switch {
		case h.phase == releasing:
			h.start(p.world.ctx, "release", h.release)
		case h.session != nil && (p.world.removed[h.entry.identity] || h.half && h.session.rightful()):
			h.end()
		case h.again:
			h.start(p.world.ctx, "claim again", h.claim)
		}
	}
}

// unsettled reports whether work is pending, other than very late commands.
func (w *world) unsettled() bool {
	listed := slices.ContainsFunc(slices.Collect(maps.Keys(w.check.last.pods)), func(owner string) bool {
		p := w.podOf(owner)
		return p.gone || p.life() != owner
	})
	fast := slices.ContainsFunc(w.net.wire, func(c lateCall) bool { return !c.slow })
	return listed || fast || slices.ContainsFunc(w.running(), (*modelPod).isBusy) || slices.ContainsFunc(w.holdings(), func(h *holding) bool {
		return !h.pod.gone && (h.phase == releasing || h.phase == asking || h.phase == left && !w.beingTaken(h.session.client) || h.again && h.phase == held)
	})
}

func (p *modelPod) isBusy() bool {
	return p.sessions.pending() || slices.ContainsFunc(p.stays, func(s *modelSession) bool { return !s.over && (s.parked || !s.rightful()) })
}

// end stops all pods but one that starts last, and checks the remaining records.
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
