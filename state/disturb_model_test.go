package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// disturb causes a failure of a pod, of Redis or of the network.
func (w *world) disturb() {
	p := pick(w.rng, w.pods)
	switch w.rng.IntN(46) {
	case 0, 1, 2:
		if !p.gone && !p.frozen && w.faults > 0 {
			w.catch(p)
			w.note("*** %s freezes", p.id)
			p.frozen = true
		}
	case 3, 4, 5, 6, 7, 8:
		if p.frozen {
			w.note("*** %s goes on", p.id)
			p.frozen = false
		}
	case 9, 10:
		w.crash(p)
	case 11:
		w.leave(p)
	case 12:
		if !w.net.down && w.faults > 0 {
			w.note("*** redis is away")
			w.net.down, w.away.from = true, w.now()
		}
	case 13, 14, 15, 16, 17, 18:
		w.redisBack()
	case 19:
		if w.chance(0.2) && w.faults > 0 && !w.cluster {
			w.empty()
		}
	case 20, 21:
		w.replace()
	case 22:
		if w.cluster {
			w.cut(p)
		}
	case 23, 24, 25, 26:
		w.reconnect(p)
	case 27:
		if w.cluster {
			w.loseLease(p)
		}
	default:
		if w.rng.IntN(2) == 0 && len(w.takenEvents) > 0 {
			w.deliver(w.rng.IntN(len(w.takenEvents)))
		}
		w.arrive(false)
	}
}

// cut makes the server with the lease and the indexes of a pod unreachable for all.
func (w *world) cut(p *modelPod) {
	if !w.net.cut[p.id] && w.faults > 0 {
		w.note("*** the server with the keys of %s is away", p.id)
		w.net.cut[p.id] = true
		w.cuts[p.id] = &outage{from: w.now()}
	}
}

func (w *world) reconnect(p *modelPod) {
	if w.net.cut[p.id] {
		w.note("*** the server with the keys of %s is back", p.id)
		delete(w.net.cut, p.id)
		if cut := w.cuts[p.id]; cut != nil {
			cut.to = w.now()
		}
	}
}

// loseLease is a failover to a replica that did not get the last renewal. Not modelled is one in the moment
// between a renewal and the entry in the list of pods.
func (w *world) loseLease(p *modelPod) {
	owner, _ := p.lease.current()
	entry, _ := w.raw.HGet(w.ctx, p.keys.pods(), owner.String()).Result()
	p.lease.mu.Lock()
	listed := strings.HasPrefix(entry, fmt.Sprint(p.lease.sent.UnixMilli())+" ")
	p.lease.mu.Unlock()
	if w.faults == 0 || !listed || w.net.unreachable(p.keys.lease(owner)) {
		return
	}
	w.note("*** redis loses the lease of %s", owner)
	if err := w.raw.Del(w.ctx, p.keys.lease(owner)).Err(); err != nil {
		w.fail("losing a lease: %v", err)
	}
	w.losses++
	if !p.gone && w.chance(0.7) { // it does not renew at once
		p.frozen = true
	}
}

func (w *world) redisBack() {
	if w.net.down {
		w.note("*** redis is back")
		w.net.down, w.away.to = false, w.now()
	}
}

func (w *world) crash(p *modelPod) {
	if !p.gone {
		w.catch(p)
		w.note("*** %s dies", p.id)
		p.gone = true
	}
}

// dieInTakeOver can end a pod whose command has just released a record of a dead pod: see frail.
func (w *world) dieInTakeOver(t *task, command string) {
	if !w.mutant.frail || w.faults == 0 || t.pod.gone || !strings.HasPrefix(t.name, "take over") {
		return
	}
	for _, release := range []string{" RELEASE ", " REMOVE_PLAYER ", " END "} {
		if strings.Contains(command, release) && w.chance(0.2) {
			dead := w.podOf(strings.TrimPrefix(t.name, "take over "))
			w.note("*** %s dies, %s goes on", t.pod.id, dead.id)
			t.pod.gone, dead.frozen = true, false
			return
		}
	}
}

// catch picks a pod in the middle of an operation, where failures have the most effect.
func (w *world) catch(p *modelPod) {
	if p.frozen || w.faults == 0 {
		return
	}
	for range w.rng.IntN(3) {
		w.callerActs(p)
	}
	for range w.rng.IntN(8) {
		mine := slices.DeleteFunc(slices.Clone(w.net.tasks), func(t *task) bool { return t.pod != p })
		if len(mine) > 0 {
			w.step(pick(w.rng, mine))
		}
	}
}

// leave ends a pod in order. Operations of its callers can be under way.
func (w *world) leave(p *modelPod) {
	if p.gone || p.frozen || p.busy["leave"] || p.busy["renew"] || p.busy["sweep"] || p.busy["sessions"] {
		return
	}
	w.catch(p)
	w.note("*** %s leaves", p.id)
	p.loop(w.ctx, "leave", func(ctx context.Context) {
		p.Redis.leave(ctx)
		p.gone = true
	})
}

// empty is a restart of a Redis without persistence: it also loses scripts.
func (w *world) empty() {
	w.note("*** redis is emptied")
	err := errors.Join(w.raw.FlushDB(w.ctx).Err(), w.raw.ScriptFlush(w.ctx).Err())
	if err != nil {
		w.fail("emptying redis: %v", err)
	}
	w.wiped()
}

// replace starts a pod in place of one that ended.
func (w *world) replace() {
	gone := slices.DeleteFunc(slices.Clone(w.pods), func(p *modelPod) bool { return !p.gone })
	if len(gone) == 0 || len(w.pods) > 6 {
		return
	}
	if err := w.start(fmt.Sprintf("r%d", len(w.pods))); err != nil {
		w.fail("starting a pod: %v", err)
	}
}

// arrive lets a late command arrive.
func (w *world) arrive(slow bool) {
	var all []int
	for i, c := range w.net.wire {
		if c.slow == slow {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return
	}
	i := pick(w.rng, all)
	c := w.net.wire[i]
	if v := c.task.client; v != nil && v.generation != c.task.generation && c.adopts() {
		// A client does not return twice while a command of the first return is in flight.
		w.net.wire = slices.Delete(w.net.wire, i, i+1)
		return
	}
	w.note("%s LATE ARRIVES %s", c.pod.id, c.text)
	w.net.arrive(w.ctx, i)
	w.checkClaims()
}
