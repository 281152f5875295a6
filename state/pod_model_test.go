package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// modelPod is a pod: its store, driven step by step, and a model of the gateway on top of it.
type modelPod struct {
	*Redis
	world    *world
	id       string
	watch    leaseWatch
	holdings []*holding
	stays    []*modelSession
	kept     map[string]*modelSession // sessions that events and clients find, by id
	locked   map[string]bool          // sessions that are being taken, or checked again; streams that are written or adopted
	busy     map[string]bool          // loops under way
	frozen   bool
	gone     bool // dead or left
	unsure   bool // Redis was emptied, and does not yet have the pod's lease and name again
}

// phase is the progress of a holding.
type phase int

const (
	asking    phase = iota // its first claim is under way
	held                   // the caller can rely on it
	releasing              // to be released, until that succeeded
	left                   // for another pod to adopt
	over
)

// holding is a stream or player in its caller's view.
type holding struct {
	pod        *modelPod
	player     bool
	stream     Stream
	viewer     Player
	entry      entry
	owner      string // the life that it was claimed in
	phase      phase
	busy       bool // an operation is under way: the next one waits
	again      bool // to be claimed again after Reset
	unsure     bool // Redis was emptied since it was claimed
	moved      bool // another pod displaced it
	session    *modelSession
	taken      bool   // adopted
	from       *Owner // its previous owner, for its release
	generation int    // of the client, when it was adopted
	leftAt     int64
	bare       bool // adopted without its media id, which was free for a while: see refused
	half       bool // the repetition of AddPlayer can have been rejected for lack of its stream, and undone
}

func (h *holding) String() string { return h.pod.id + ":" + h.entry.String() }

func newModelPod(w *world, id string) (*modelPod, error) {
	cfg := Config{Addrs: []string{"127.0.0.1:1"}, Lease: modelLease, CallTimeout: modelCall, RecordTTL: 100 * modelLease}
	r := Open(cfg, Pod{Deployment: "model", ID: id}, Deps{Log: zerolog.Nop()})
	if err := r.client.Close(); err != nil {
		return nil, err
	}
	p := &modelPod{Redis: r, world: w, id: id, busy: make(map[string]bool), kept: make(map[string]*modelSession), locked: make(map[string]bool), watch: leaseWatch{length: modelLease}}
	r.client, r.now, r.grace = w.client, w.now, modelGrace
	r.apart.Store(w.cluster || !w.mutant.joint)
	r.lease.begin(r.newLife(Owner{}))
	r.handlers = Handlers{Reset: p.reset, Lost: p.lost, TakenOver: p.takenOver}
	if w.mutant.change != nil {
		w.mutant.change(r)
	}
	return p, nil
}

// loop starts a step of one of the pod's loops, unless it is under way.
func (p *modelPod) loop(ctx context.Context, name string, f func(context.Context)) {
	if p.busy[name] {
		return
	}
	p.busy[name] = true
	p.world.net.spawn(ctx, p, name, func(ctx context.Context) {
		defer func() { p.busy[name] = false }()
		f(ctx)
	})
}

func (p *modelPod) tick(ctx context.Context) {
	p.loop(ctx, "renew", func(ctx context.Context) {
		if err := p.renew(ctx); err != nil {
			p.world.note("%s: renewal fails", p.id)
			if owner, held := p.lease.current(); held && p.world.mutant.rules.boasts {
				_ = p.enrol(ctx, owner, p.now())
			}
		}
	})
	p.loop(ctx, "sweep", p.seek)
	if p.sessions.pending() && p.world.chance(0.7) {
		p.loop(ctx, "sessions", func(ctx context.Context) {
			if err := p.writeSessionBatch(ctx); err != nil {
				p.world.note("%s: sessions are not written: %v", p.id, err)
			}
		})
	}
	for _, h := range p.holdings {
		if h.phase == left {
			h.lookAgain()
		}
	}
}

func (p *modelPod) seek(ctx context.Context) {
	for _, seen := range p.watch.owners {
		if p.world.mutant.rules.early {
			seen.expires = time.Time{}
		}
	}
	for _, dead := range p.sweep(ctx, &p.watch) {
		p.loop(p.world.ctx, "take over "+dead.String(), func(ctx context.Context) {
			if err := p.takeOver(ctx, dead); err != nil {
				p.world.note("%s: take-over of %v stops: %v", p.id, dead, err)
			}
		})
	}
}

func (p *modelPod) reset() {
	if p.gone {
		return
	}
	p.world.note("%s: Reset", p.id)
	for _, h := range p.holdings {
		if h.phase == held || h.phase == asking {
			h.again = true
		}
	}
}

func (p *modelPod) lost() {
	if p.gone {
		return
	}
	p.world.note("%s: Lost", p.id)
	for _, s := range p.stays {
		s.park()
		s.expire()
	}
	for _, h := range p.holdings {
		switch {
		case h.session != nil:
		case h.phase == asking: // the gateway closed its socket
			h.phase = releasing
		case h.phase != over:
			h.phase = over
		}
	}
}

func (p *modelPod) takenOver(o Orphan) {
	if p.gone {
		return
	}
	var key string
	switch {
	case o.Stream != nil:
		key = o.Stream.Owner.String() + " " + entryOfStream(*o.Stream).String()
	case o.Player != nil:
		key = o.Player.Owner.String() + " " + entryOfPlayer(*o.Player).String()
	case o.Session != nil:
		key = o.Session.Owner.String() + " " + o.Session.registration().String()
	}
	p.world.note("%s: orphan %s", p.id, key)
	if o.Session == nil {
		p.world.removeOrphan(p, o)
	}
	if p.world.reported[key] == nil {
		p.world.reported[key] = make(map[*modelPod]int)
	}
	p.world.reported[key][p]++
}

// claimNew starts a stream, or a player, under a new identity.
func (p *modelPod) claimNew(ctx context.Context, player, native bool, name, media string) {
	p.world.identities++
	identity := fmt.Sprintf("i%d", p.world.identities)
	h := &holding{pod: p, player: player, busy: true, unsure: p.unsure, session: p.open()}
	generation := 0
	if h.session != nil {
		generation = h.session.rec.Generation
	}
	h.stream = Stream{Name: name, MediaID: media, Identity: identity, Generation: generation}
	h.viewer = Player{Stream: name, MediaID: media, Identity: identity, Native: native, Generation: generation}
	h.entry = entryOfStream(h.stream)
	if player {
		h.entry = entryOfPlayer(h.viewer)
	}
	p.holdings = append(p.holdings, h)
	p.world.net.spawn(ctx, p, "claim "+h.String(), h.claim)
}

// claim claims the holding, or claims it again.
func (h *holding) claim(ctx context.Context) {
	defer func() { h.busy = false }()
	defer h.lock(ctx)()
	h.claimLocked(ctx)
}

func (h *holding) claimLocked(ctx context.Context) {
	again := h.phase == held
	h.again = false
	wipes, sure := h.pod.world.wipes, !h.pod.unsure
	owner, _ := h.pod.lease.current()
	var err error
	if h.player {
		_, err = h.pod.AddPlayer(ctx, h.viewer)
	} else {
		err = h.pod.ClaimStream(ctx, h.stream)
	}
	h.pod.world.note("%s: claim gives %v", h, err)
	if h.phase != held && h.phase != asking {
		return
	}
	switch {
	case err == nil:
		h.phase, h.owner, h.bare = held, owner.String(), false
		h.moved = h.pod.world.evicted[owned{h.owner, h.entry.String()}]
		if sure && wipes == h.pod.world.wipes {
			h.unsure = false
		}
		if h.session != nil && !again {
			h.session.remember()
		}
	case again && errors.Is(err, ErrAdopted) && !h.pod.world.mutant.rules.blind:
		h.session.letGoAll()
	case again && h.player && h.session != nil && (errors.Is(err, ErrMediaIDTaken) || errors.Is(err, ErrNotFound)):
		h.again, h.half = true, true // the end of its stream arrives separately
	case again && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLeaseStale)):
		h.again, h.half = true, h.player && errors.Is(err, ErrUnavailable) || h.half
	case errors.Is(err, ErrUnavailable):
		h.end()
	default:
		h.denied(again, err)
	}
}

// denied ends the holding. A held one must only be denied for a cause.
func (h *holding) denied(again bool, err error) {
	if !again {
		h.phase = over
		return
	}
	h.pod.world.mayLose(h, err)
	h.end()
}

// put writes the record. If Redis lost it, it is claimed again.
func (h *holding) put(ctx context.Context) {
	defer func() { h.busy = false }()
	defer h.lock(ctx)()
	_, err := h.pod.PutStream(ctx, h.stream)
	h.pod.world.note("%s: put gives %v", h, err)
	if errors.Is(err, ErrLostOwnership) || errors.Is(err, ErrNotFound) {
		if h.phase == held {
			h.pod.world.mayLose(h, err)
		}
		h.claimLocked(ctx)
	}
}

func (h *holding) release(ctx context.Context) {
	defer func() { h.busy = false }()
	var err error
	if h.from != nil {
		t := ctx.Value(taskKey{}).(*task)
		t.client, t.generation = h.session.client, h.generation
		err = h.adopt(ctx, *h.from)
		h.pod.world.note("%s: adopting it to be released gives %v", h, err)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrLostOwnership) {
			h.phase = over
		}
		if err != nil {
			return
		}
	}
	if h.player {
		err = h.pod.RemovePlayer(ctx, h.viewer)
	} else {
		_, err = h.pod.ReleaseStream(ctx, h.stream)
	}
	h.pod.world.note("%s: release gives %v", h, err)
	if err == nil || errors.Is(err, ErrLostOwnership) {
		h.phase = over
		if h.session != nil {
			h.session.remember()
		}
	}
}

// displace takes a name from its owner, as the gateway does if that does not answer.
func (p *modelPod) displace(ctx context.Context, h *holding) {
	p.world.net.spawn(ctx, p, "displace "+h.String(), func(ctx context.Context) {
		s, err := p.FindStream(ctx, h.entry.stream)
		if err != nil || s.Identity != h.entry.identity {
			return
		}
		p.world.evicted[owned{s.Owner.String(), h.entry.String()}] = true
		for _, o := range p.world.holdings() {
			if o.entry == h.entry && o.owner == s.Owner.String() {
				o.moved = true
			}
		}
		_, err = p.DisplaceStream(ctx, s)
		p.world.note("%s: displacing %s of %s gives %v", p.id, h, s.Owner, err)
		if err == nil {
			p.world.ousted[owned{s.Owner.String(), h.entry.String()}] = true
			p.world.removeOrphan(p, Orphan{Stream: &s})
		}
	})
}

// open returns a session for a new holding, or nil.
func (p *modelPod) open() *modelSession {
	all := slices.DeleteFunc(slices.Clone(p.stays), func(s *modelSession) bool { return s.parked || s.over || !s.rightful() })
	if len(all) == 0 || p.world.chance(0.3) {
		return nil
	}
	return pick(p.world.rng, all)
}

// idle returns the holdings of a phase without an operation.
func (p *modelPod) idle(phases ...phase) []*holding {
	return slices.DeleteFunc(slices.Clone(p.holdings), func(h *holding) bool {
		return h.busy || !slices.Contains(phases, h.phase)
	})
}

func (h *holding) start(ctx context.Context, op string, f func(context.Context)) {
	h.busy = true
	h.pod.world.net.spawn(ctx, h.pod, op+" "+h.String(), f)
}
