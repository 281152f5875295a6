package state

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Invariants, checked after every command that can have written and at every change of a caller's view.

// dueOrphan is a record that a taker deleted: its orphan must be handed over.
type dueOrphan struct {
	wipes int // how often Redis had been emptied by then
}

// outage is the last time that Redis was away.
type outage struct{ from, to time.Time }

// checker holds the observations of a schedule.
type checker struct {
	last      snapshot
	everTaken map[string]bool // owners
	unmarked  map[string]bool // owners whose take-over Redis lost
	leaks     map[string]bool // records during whose write Redis was emptied; no pod can know of them
	late      map[string]bool // written by a command that its caller had given up
	strays    int             // media ids, players and sessions that were written late, after their release
	past      map[string]bool // claims of sessions that others replaced
	written   map[string]int  // how often players were written
	refused   map[owned]bool  // of whom the last claim of its media id failed
	due       map[string][]dueOrphan
}

func newChecker() checker {
	return checker{
		last: newSnapshot(), everTaken: map[string]bool{}, unmarked: map[string]bool{}, leaks: map[string]bool{}, due: map[string][]dueOrphan{}, late: map[string]bool{},
		past: map[string]bool{}, written: map[string]int{}, refused: map[owned]bool{},
	}
}

// ran is called after each command that Redis ran.
func (w *world) ran(p *modelPod, t *task, args []any, answered bool) {
	w.commands++
	w.checkListed(args)
	switch strings.ToLower(fmt.Sprint(args[0])) {
	case "exists", "hgetall", "pttl", "get", "hget", "pexpire", "srandmember":
		return
	}
	now, err := readSnapshot(w.ctx, w.raw)
	if err != nil {
		w.fail("reading redis: %v", err)
		return
	}
	before := w.check.last
	w.check.last = now
	for owner, entries := range now.index {
		for e := range entries {
			if !before.index[owner][e] {
				w.check.late["index "+owner+" "+e] = t == nil
			}
		}
	}
	for owner := range now.taken {
		if before.taken[owner] == "" && !w.check.everTaken[owner] {
			w.check.everTaken[owner] = true
			w.checkTaken(owner, t, now)
		}
	}
	for owner := range before.pods {
		if !now.pods[owner] && t != nil && t.started <= w.wipedAt { // the end of a take-over that Redis lost
			w.podOf(owner).unsure = true
		}
	}
	for _, p := range w.pods {
		life := p.life()
		if p.unsure && now.leases[life] && now.pods[life] {
			p.unsure = false
		}
	}
	w.noteMediaClaim(args, now)
	w.checkWrites(p, t, before, now)
	w.checkSessions(t, before, now)
	w.checkIndexes(t, now)
	w.checkClaims()
}

func (p *modelPod) life() string {
	o, _ := p.lease.current()
	return o.String()
}

// checkTaken: no living pod is taken over, nor any pod right after an outage. A leaving pod takes itself
// over.
func (w *world) checkTaken(owner string, t *task, now snapshot) {
	for _, p := range w.pods {
		if p.life() == owner && !p.gone && !p.unsure && p.Fresh() {
			w.fail("%s was taken over with a fresh lease", owner)
		}
	}
	if t == nil || now.taken[owner] == owner {
		return
	}
	w.checkLeaseEnded(owner)
	w.checkOutage(owner, t, w.away)
	id, _, _ := strings.Cut(owner, "/")
	if cut := w.cuts[id]; cut != nil {
		w.cutTaken++
		w.checkOutage(owner, t, *cut)
	}
}

// checkLeaseEnded: also a lease that Redis lost counts until its time.
func (w *world) checkLeaseEnded(owner string) {
	p := w.podOf(owner)
	p.lease.mu.Lock()
	defer p.lease.mu.Unlock()
	if since := w.now().Sub(p.lease.sent); p.lease.owner.String() == owner && !p.unsure && !p.lease.left && since < modelLease {
		w.fail("%s was taken over %v after it had renewed its lease", owner, since)
	}
}

func (w *world) checkOutage(owner string, t *task, o outage) {
	if o.to.Sub(o.from) < 2*modelLease/3 || time.UnixMilli(t.started).Before(o.to) {
		return
	}
	if since := w.now().Sub(o.to); since < modelLease+modelGrace {
		w.fail("%s was taken over %v after Redis, or the server of its keys, was back", owner, since)
	}
}

// checkListed: an entry of a renewal before an outage of the pod's server that is written in it looks like a
// renewal in it. Pods cannot see the beginning of the outage then.
func (w *world) checkListed(args []any) {
	if strings.ToLower(fmt.Sprint(args[0])) != "hset" || fmt.Sprint(args[1]) != w.pods[0].keys.pods() {
		return
	}
	id, _, _ := strings.Cut(fmt.Sprint(args[2]), "/")
	renewed, err := strconv.ParseInt(strings.Split(fmt.Sprint(args[3]), " ")[0], 10, 64)
	if cut := w.cuts[id]; cut != nil && err == nil && !time.UnixMilli(renewed).After(cut.from) {
		delete(w.cuts, id)
	}
}

// checkWrites: a record of another pod changes only if that pod was taken over or displaced.
func (w *world) checkWrites(p *modelPod, t *task, before, now snapshot) {
	for key, was := range before.owned {
		is, ok := now.owned[key]
		if ok && is == was {
			continue
		}
		w.note("    %s: %v is now %v", key, was, is)
		delete(w.check.leaks, key)
		by := t
		if by == nil {
			by = w.net.arriving.task
		}
		taken := w.check.everTaken[was.owner]
		displaced := strings.HasPrefix(by.name, "displace ") && w.evicted[was]
		if !strings.HasPrefix(was.owner, p.id+"/") && !taken && !displaced && !w.moves(key, p, t, was, now) {
			w.fail("%s changes %s of %s", p.id, key, was.owner)
		}
		if taken && strings.HasPrefix(by.name, "take over") && !strings.HasPrefix(key, "media:") {
			orphan := was.owner + " " + was.entry
			w.check.due[orphan] = append(w.check.due[orphan], dueOrphan{w.wipes})
		}
	}
	for key, is := range now.owned {
		if before.owned[key] != is && !strings.HasPrefix(is.owner, p.id+"/") {
			w.fail("%s writes %s as %s", p.id, key, is.owner)
		}
		if before.owned[key] != is {
			w.check.late[key] = t == nil
			w.check.written[key]++
		}
	}
}

// noteMediaClaim notes whether a claim of a media id failed. A stream is adopted nevertheless.
func (w *world) noteMediaClaim(args []any, now snapshot) {
	if words := strings.Split(w.net.text(args), " "); len(words) < 2 || words[1] != "CLAIM_MEDIA" {
		return
	}
	keys, err := strconv.Atoi(fmt.Sprint(args[2]))
	if err != nil {
		w.fail("%v keys: %v", args[2], err)
		return
	}
	key, o := strings.TrimPrefix(fmt.Sprint(args[3]), "wcs:model:"), owned{fmt.Sprint(args[3+keys]), fmt.Sprint(args[4+keys])}
	w.check.refused[o] = now.owned[key] != o
}

// checkIndexes: indexes can list too much, but never too little.
func (w *world) checkIndexes(t *task, now snapshot) {
	for key, o := range now.owned {
		if now.index[o.owner][o.entry] || w.check.leaks[key] {
			continue
		}
		p := w.podOf(o.owner)
		switch {
		case p.unsure || t != nil && t.started <= w.wipedAt, t == nil && w.net.arriving.from <= w.wipedAt:
			w.check.leaks[key] = true
			w.note("    %s leaks: redis was emptied in the middle", key)
		case (w.check.late[key] || w.check.everTaken[o.owner] || w.evicted[o] || w.adoptedFrom(key, o)) && !strings.HasPrefix(key, "record"):
			w.check.leaks[key] = true
			w.check.strays++
			w.note("    %s was written after its release, and stays until its TTL ends", key)
		case w.retaken(o):
			w.check.leaks[key] = true
			w.check.strays++
			w.note("    %s is not in the index, and stays if its pod dies before it finds out", key)
		default:
			w.fail("%s of %s is not in the index", key, o.owner)
		}
	}
}

// checkClaims: a held claim stays, and is held once.
func (w *world) checkClaims() {
	by := make(map[string]*holding)
	for _, h := range w.holdings() {
		if h.phase != held || h.pod.gone || h.unsure || h.moved {
			continue
		}
		if h.half || h.player && h.busy || h.session != nil && (!h.session.rightful() || w.removed[h.entry.identity]) {
			continue
		}
		if !w.check.everTaken[h.owner] {
			w.checkKept(h)
		}
		if !h.pod.Fresh() || w.check.unmarked[h.owner] || h.owner != h.pod.life() { // of a lost life: the pod is ending it
			continue
		}
		claims := []string{"media id " + h.entry.media}
		if !h.player {
			claims = append(claims, "name "+h.entry.stream)
		}
		for _, c := range claims {
			if other := by[c]; other != nil {
				w.fail("%s is held by %s (of %s) and by %s (of %s)", c, other, other.owner, h, h.owner)
			}
			by[c] = h
		}
	}
}

// checkKept: the record and the media id of a holding exist.
func (w *world) checkKept(h *holding) {
	want := owned{h.owner, h.entry.String()}
	key := "record " + h.entry.stream
	if h.player {
		key = "player " + h.owner + " " + h.entry.claim() + " " + h.entry.stream
	}
	for _, k := range []string{key, "media:" + h.entry.media} {
		if got := w.check.last.owned[k]; got != want && !(h.bare && k != key) {
			w.fail("%s is held, but %s is %v", h, k, got)
		}
	}
}

// mayLose checks that the holder of a lost claim can lose it.
func (w *world) mayLose(h *holding, err error) {
	noStream := h.player && strings.Contains(err.Error(), ErrNotFound.Error())
	if h.session != nil && (!h.session.rightful() || w.removed[h.entry.identity]) {
		return
	}
	if !noStream && !h.half && !h.unsure && !h.moved && !w.check.everTaken[h.owner] {
		w.fail("%s was held, and now: %v", h, err)
	}
}

// wiped records that Redis was emptied.
func (w *world) wiped() {
	w.wipes++
	w.wipedAt = w.clock
	w.check.last = newSnapshot()
	for owner := range w.check.everTaken {
		w.check.unmarked[owner] = true
	}
	w.check.leaks, w.check.past = map[string]bool{}, map[string]bool{}
	for _, p := range w.pods {
		p.unsure = true
		for _, s := range p.stays {
			s.unsure = true
		}
	}
	for _, v := range w.clients {
		clear(v.used)
		v.holder.unsure = true
	}
	for _, h := range w.holdings() {
		h.unsure = true
	}
}

// checkSettled: only living pods own records.
func (w *world) checkSettled() {
	living := make(map[string]bool)
	for _, p := range w.pods {
		if !p.gone {
			living[p.life()] = true
		}
	}
	s := w.check.last
	for key, o := range s.owned {
		if !w.leaked(key, o.owner) && !w.check.late[key] && (!living[o.owner] || !w.backed(o)) {
			w.fail("%s of %s is left", key, o.owner)
		}
	}
	for owner, entries := range s.index {
		if p := w.podOf(owner); !living[owner] && !p.unsure {
			w.fail("the index of %s is left", owner)
		}
		for e := range entries {
			if living[owner] && !w.check.late["index "+owner+" "+e] && !w.backed(owned{owner, e}) {
				w.fail("the index of %s names %s", owner, e)
			}
		}
	}
	for k := range s.players {
		if stream, owner, _ := strings.Cut(k, " "); !living[owner] && !w.leakedPlayer(stream, owner) {
			w.fail("%s is left in the players of %s", owner, stream)
		}
	}
}

// backed: a pod has the record, or will end it.
func (w *world) backed(o owned) bool {
	p := w.podOf(o.owner)
	return slices.ContainsFunc(p.holdings, func(h *holding) bool { return h.phase != over && h.entry.String() == o.entry }) ||
		slices.ContainsFunc(p.stays, func(s *modelSession) bool { return !s.over && s.rec.registration().String() == o.entry })
}

// leaked: no pod can know of the record, because Redis was emptied during its write, or it was written late.
func (w *world) leaked(key, owner string) bool { return w.check.leaks[key] || w.podOf(owner).unsure }

func (w *world) leakedPlayer(stream, owner string) bool {
	if w.podOf(owner).unsure {
		return true
	}
	for key := range w.check.leaks {
		if strings.HasPrefix(key, "player "+owner+" ") && strings.HasSuffix(key, " "+stream) {
			return true
		}
	}
	return false
}

// checkOrphans: each orphan is handed over, unless a pod displaced it, by each pod once at most, and by
// several only if all but one of them died. The results of a release are lost only with Redis.
func (w *world) checkOrphans() {
	for orphan, by := range w.reported {
		released, alive := len(w.check.due[orphan]), 0
		for p, n := range by {
			if n > max(released, 1) {
				w.fail("orphan %s was handed over %d times by %s, and released %d times", orphan, n, p.id, released)
			}
			if !p.gone {
				alive++
			}
		}
		if released == 0 && !w.wasDisplaced(orphan) || alive > max(released, 1) {
			w.fail("orphan %s was handed over by %d living pods, and released %d times", orphan, alive, released)
		}
	}
	for orphan, all := range w.check.due {
		owner, e, _ := strings.Cut(orphan, " ")
		if len(w.reported[orphan]) > 0 || w.ousted[owned{owner, e}] {
			continue
		}
		if all[len(all)-1].wipes == w.wipes {
			w.fail("orphan %s was released, and never handed over", orphan)
		}
		w.silent++
	}
}

// wasDisplaced reports whether a pod released the orphan in place of its owner before the take-over.
func (w *world) wasDisplaced(orphan string) bool {
	owner, e, _ := strings.Cut(orphan, " ")
	return w.evicted[owned{owner, e}]
}
