package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Resumable sessions in the model: the behaviour of the gateway's resumption, and of its clients.

// modelClient is a client with a resumable session, as the client knows it.
type modelClient struct {
	id         string
	tokens     []TokenHash // the last one is current
	used       map[TokenHash]bool
	holder     *modelSession   // the confirmed holder of the session
	tried      map[string]bool // claims under which a pod can have it without knowing
	uncertain  map[string]bool // claims of all takes that did not succeed, also if they can have had it for a while
	generation int             // how often it was taken
}

// modelSession is a resumable session on a pod (the gateway's session).
type modelSession struct {
	pod      *modelPod
	client   *modelClient
	rec      Session
	owner    string // the life that it began in
	seen     bool   // its registration was seen in Redis
	wipes    int    // how often Redis had been emptied by then
	unsure   bool   // Redis was emptied since
	plain    bool   // taken by a client that does not want it kept any more
	parked   bool
	expiring bool
	busy     bool
	over     bool
}

// takenEvent is an event about a session that was taken.
type takenEvent struct {
	to   *modelPod
	was  Session
	ids  []string
	from string
}

var errModelToken = errors.New("model: wrong token")

func (s *modelSession) String() string { return s.pod.id + ":" + s.rec.registration().String() }

// rightful reports whether the session was not taken from it.
func (s *modelSession) rightful() bool { return s.client.holder == s }

func (w *world) newToken() (h TokenHash) {
	w.tokens++
	binary.BigEndian.PutUint64(h[:], uint64(w.tokens))
	return h
}

// establish creates a session for a new client.
func (p *modelPod) establish() {
	w := p.world
	v := &modelClient{id: fmt.Sprintf("s%d", len(w.clients)), used: map[TokenHash]bool{}, tried: map[string]bool{}, uncertain: map[string]bool{}}
	v.tokens = []TokenHash{w.newToken()}
	s := &modelSession{pod: p, client: v, rec: Session{ID: v.id, TokenHash: v.tokens[0], Resumable: true}, owner: p.life(), wipes: w.wipes, unsure: p.unsure}
	v.holder = s
	w.clients = append(w.clients, v)
	p.stays = append(p.stays, s)
	p.kept[v.id] = s
	w.note("%s: session %s", p.id, s)
	s.remember()
}

func (s *modelSession) holdings(phases ...phase) []*holding {
	return slices.DeleteFunc(slices.Clone(s.pod.holdings), func(h *holding) bool {
		return h.session != s || !slices.Contains(phases, h.phase)
	})
}

// remember registers what a resuming pod must know.
func (s *modelSession) remember() {
	if s.over || s.expiring || s.plain {
		return
	}
	rec := s.rec
	for _, h := range s.holdings(held) {
		rec.Streams = append(rec.Streams, h.sessionStream())
	}
	s.pod.PutSession(rec)
}

func (h *holding) sessionStream() SessionStream {
	return SessionStream{MediaID: h.entry.media, Name: h.entry.stream, Published: !h.player, Identity: h.entry.identity, Native: h.viewer.Native}
}

// park is the end of its socket.
func (s *modelSession) park() {
	if s.parked || s.over {
		return
	}
	s.pod.world.note("%s: parked", s)
	s.parked = true
	for _, h := range s.holdings(asking) {
		h.end()
	}
	if s.plain {
		s.pod.DropSession(s.rec.ID)
		s.leave(false)
		return
	}
	s.remember()
}

// expire asks for the session's owner until Redis answers.
func (s *modelSession) expire() {
	if s.over || s.busy || !s.parked {
		return
	}
	s.expiring, s.busy = true, true
	w := s.pod.world
	w.net.spawn(w.ctx, s.pod, "end "+s.String(), func(ctx context.Context) {
		defer func() { s.busy = false }()
		err := s.pod.EndSession(ctx, s.rec)
		w.note("%s: ending it gives %v", s, err)
		switch {
		case err == nil:
			w.checkBelieves(s)
			s.leave(false)
		case errors.Is(err, ErrLostOwnership):
			s.leave(true)
		}
	})
}

// leave is the end of the session on this pod.
func (s *modelSession) leave(taken bool) {
	if s.over {
		return
	}
	s.over = true
	if s.pod.kept[s.rec.ID] == s {
		delete(s.pod.kept, s.rec.ID)
	}
	for _, h := range s.holdings(asking, held) {
		if taken && h.phase == held {
			h.letGo()
		} else {
			h.end()
		}
	}
}

// handOver releases a session that was taken, and those of its streams that the taker knows.
func (s *modelSession) handOver(ids []string, by string) (now []SessionStream) {
	s.pod.world.note("%s: handed over to %s", s, by)
	if s.rightful() && !s.unsure && len(s.client.tried) == 0 && !s.pod.world.check.everTaken[s.owner] {
		s.pod.world.fail("%s lets go of what nobody has taken", s)
	}
	if by != s.pod.id {
		s.pod.DropSession(s.rec.ID)
	}
	for _, h := range s.holdings(held) {
		if slices.Contains(ids, h.entry.media) {
			now = append(now, h.sessionStream())
			h.letGo()
		}
	}
	s.leave(false)
	return now
}

// letGoAll releases a session that turns out to be another pod's.
func (s *modelSession) letGoAll() {
	if s.over || s.expiring {
		return
	}
	var ids []string
	for _, h := range s.holdings(asking, held) {
		ids = append(ids, h.entry.media)
	}
	s.handOver(ids, "another")
}

func (p *modelPod) handOver(l takenEvent) (now []SessionStream, ok bool) {
	s := p.kept[l.was.ID]
	if s == nil || s.expiring || s.rec.TokenHash != l.was.TokenHash && l.from != p.id && !p.world.mutant.rules.anyEvent {
		return nil, false
	}
	return s.handOver(l.ids, l.from), true
}

// deliver delivers an event about a session, or loses it.
func (w *world) deliver(i int) {
	l := w.takenEvents[i]
	if l.to.gone || l.to.frozen {
		return
	}
	if !w.chance(0.1) { // otherwise it arrives again
		w.takenEvents = slices.Delete(w.takenEvents, i, i+1)
	}
	w.notifyTaken(l)
}

func (w *world) notifyTaken(l takenEvent) {
	if !l.to.gone && w.chance(0.8) {
		w.note("%s: is told that %s was taken by %s", l.to.id, l.was.ID, l.from)
		l.to.handOver(l)
	}
}

// resume makes a client return to a pod with a token, mostly its current one.
func (p *modelPod) resume(v *modelClient) {
	w := p.world
	token := v.tokens[len(v.tokens)-1]
	if w.chance(0.2) {
		token = pick(w.rng, v.tokens)
	}
	t := w.net.spawn(w.ctx, p, "take "+v.id, func(ctx context.Context) { p.take(ctx, v, token) })
	t.client, t.generation = v, v.generation
}

// take makes a session this pod's.
func (p *modelPod) take(ctx context.Context, v *modelClient, token TokenHash) {
	w := p.world
	t := ctx.Value(taskKey{}).(*task)
	next, plain := w.newToken(), w.chance(0.15)
	claim := registrationOf(v.id, next).claim
	v.tried[claim], v.uncertain[claim] = true, true
	s := &modelSession{pod: p, client: v, owner: p.life(), plain: plain, wipes: w.wipes, unsure: p.unsure}
	was, err := p.TakeSession(ctx, v.id, func(was Session) (Session, error) {
		if !was.Resumable || was.TokenHash != token {
			return was, errModelToken
		}
		was.TokenHash, was.Resumable = next, !plain
		was.Generation++
		if plain {
			was.Streams = nil
		}
		return was, nil
	})
	w.note("%s: taking %s gives %v", p.id, v.id, err)
	if err == nil || errors.Is(err, errModelToken) || errors.Is(err, ErrNotFound) {
		delete(v.tried, claim)
	}
	if err != nil {
		return
	}
	delete(v.uncertain, claim)
	defer func() {
		if w.mutant.wipes && w.faults > 0 && !w.cluster && w.chance(0.3) {
			w.empty()
		}
	}()
	if s.wipes == w.wipes {
		w.checkToken(v, token)
	}
	s.rec, s.unsure = was, s.unsure || s.wipes != w.wipes
	s.rec.TokenHash, s.rec.Resumable, s.rec.Streams = next, !plain, nil
	s.rec.Generation++
	v.holder, v.generation = s, v.generation+1
	t.generation = v.generation
	w.taken++
	p.wait(t, func() bool { return !p.locked[v.id] })
	p.locked[v.id] = true
	defer delete(p.locked, v.id)
	var got []*holding
	for _, k := range p.askToLetGo(t, was) {
		if h := s.adopt(ctx, k, was.Owner); h != nil {
			got = append(got, h)
		}
	}
	s.takeUp(got, next)
}

// takeUp continues with the adopted holdings.
func (s *modelSession) takeUp(got []*holding, token TokenHash) {
	p := s.pod
	p.stays = append(p.stays, s)
	if !s.plain {
		p.kept[s.rec.ID] = s
	}
	s.client.tokens = append(s.client.tokens, token)
	p.holdings = append(p.holdings, got...)
	s.unsure = s.unsure || s.wipes != p.world.wipes
	for _, h := range got {
		h.unsure = h.unsure || s.unsure
		h.moved = p.world.evicted[owned{h.owner, h.entry.String()}]
		if h.from != nil {
			p.world.remove(h)
		} else {
			p.world.adopted++
			h.bare = p.world.check.refused[owned{h.owner, h.entry.String()}]
		}
	}
	p.world.note("%s: taken up with %v", s, got)
	s.remember()
	if p.world.chance(0.2) || p.life() != s.owner {
		s.park() // its client left again, or the pod closed its socket
	}
	p.world.checkClaims()
}

// askToLetGo sends the request to the pod that had the session. The request or its reply can be lost or late.
func (p *modelPod) askToLetGo(t *task, was Session) []SessionStream {
	w := p.world
	l := takenEvent{to: w.podOf(was.Owner.String()), was: was, from: p.id}
	for _, k := range was.Streams {
		l.ids = append(l.ids, k.MediaID)
	}
	old := p.kept[was.ID]
	now, ok := p.handOver(takenEvent{to: p, was: was, ids: l.ids, from: p.id})
	p.wait(t, func() bool { return old == nil || !old.writes() })
	if l.to == p {
		if ok {
			return now
		}
		return was.Streams
	}
	x := w.rng.IntN(10)
	if x < 3 {
		w.takenEvents = append(w.takenEvents, l)
	}
	if l.to.gone || l.to.frozen || x < 4 {
		return was.Streams
	}
	if now, ok := l.to.handOver(l); ok && x < 9 {
		return now
	}
	return was.Streams
}

// wait makes a task wait for others of its pod.
func (p *modelPod) wait(t *task, done func() bool) {
	for !done() && !p.gone && !p.world.mutant.rules.hasty {
		t.await(p.world.net.yield)
	}
}

// writes reports whether a command of the session is still in flight.
func (s *modelSession) writes() bool {
	return slices.ContainsFunc(s.pod.holdings, func(h *holding) bool { return h.session == s && h.busy })
}

// adopt makes a stream this pod's. It returns nil if that fails.
func (s *modelSession) adopt(ctx context.Context, k SessionStream, from Owner) *holding {
	p := s.pod
	h := &holding{pod: p, session: s, player: !k.Published, phase: held, unsure: p.unsure, generation: s.client.generation, taken: true}
	h.stream = Stream{Name: k.Name, MediaID: k.MediaID, Identity: k.Identity, Generation: s.rec.Generation}
	h.viewer = Player{Stream: k.Name, MediaID: k.MediaID, Identity: k.Identity, Native: k.Native, Generation: s.rec.Generation}
	h.entry = entryOfStream(h.stream)
	if h.player {
		h.entry = entryOfPlayer(h.viewer)
	}
	h.owner = p.life()
	err := h.adopt(ctx, from)
	p.world.note("%s: adopting it from %v gives %v", h, from, err)
	switch {
	case err == nil:
		return h
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrLostOwnership):
		return nil
	}
	h.from, h.phase = &from, releasing // ownership is unknown; it must be ours to be released
	return h
}

// lock waits until no other operation of the pod writes or adopts the same stream.
func (h *holding) lock(ctx context.Context) (unlock func()) {
	p, key := h.pod, h.entry.String()
	p.wait(ctx.Value(taskKey{}).(*task), func() bool { return !p.locked[key] })
	p.locked[key] = true
	return func() { delete(p.locked, key) }
}

// adopt adopts the record as the gateway does. Only the life that writes it can rely on it.
func (h *holding) adopt(ctx context.Context, from Owner) (err error) {
	defer h.lock(ctx)()
	if h.player {
		_, err = h.pod.AdoptPlayer(ctx, h.viewer, from)
		return err
	}
	rec, err := h.pod.FindStream(ctx, h.entry.stream)
	if errors.Is(err, ErrNotFound) || err == nil && rec.Identity != h.entry.identity {
		rec, err = h.stream, nil
	}
	if err == nil {
		rec.Generation = h.stream.Generation
		err = h.pod.AdoptStream(ctx, rec, from)
	}
	return err
}

// end ends a stream: its participant first, then its records.
func (h *holding) end() {
	h.phase = releasing
	h.pod.world.remove(h)
}

// letGo leaves a stream to the pod that adopts it.
func (h *holding) letGo() {
	h.phase, h.leftAt = left, h.pod.world.clock
	if h.pod.world.mutant.rules.forgets {
		h.phase = over
	}
}

// lookAgain releases an unadopted stream. The wait before it outlives all commands in flight.
func (h *holding) lookAgain() {
	w := h.pod.world
	v := h.session.client
	if h.busy || h.pod.locked[v.id] && !w.mutant.rules.hasty || w.clock < h.leftAt+modelLease.Milliseconds() || w.beingTaken(v) {
		return
	}
	if slices.ContainsFunc(h.pod.holdings, func(o *holding) bool {
		return o != h && o.entry == h.entry && o.phase != over && o.phase != left
	}) {
		h.phase = over
		return
	}
	h.pod.locked[v.id] = true
	h.start(w.ctx, "look again for", func(ctx context.Context) {
		defer func() { h.busy = false }()
		defer delete(h.pod.locked, v.id)
		t := ctx.Value(taskKey{}).(*task)
		t.client, t.generation = v, v.generation
		err := h.adopt(ctx, Owner{})
		w.note("%s: looking again gives %v", h, err)
		switch {
		case h.phase != left:
		case err == nil:
			h.end()
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrLostOwnership):
			h.phase = over
		}
	})
}

// beingTaken reports whether a pod can still write a part of a take.
func (w *world) beingTaken(v *modelClient) bool {
	return slices.ContainsFunc(w.net.tasks, func(t *task) bool { return t.client == v && !t.pod.gone }) ||
		slices.ContainsFunc(w.net.wire, func(c lateCall) bool { return c.task.client == v && c.adopts() })
}
