package pulls

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

const (
	renewEvery   = 5 * time.Second
	renewFor     = 15 * time.Second // beyond the linger: a pod that dies holds its sources for so long
	lookEvery    = 50 * time.Millisecond
	lookOften    = 2 * time.Second // after the first player, or when a publisher left; then every lookSeldom
	lookSeldom   = 500 * time.Millisecond
	validFor     = time.Second // of an answer, for players that come after it
	takeTimeout  = 1800 * time.Millisecond
	startTimeout = 30 * time.Second // of a source that a worker has taken; the worker ends it earlier
	callTimeout  = 2 * time.Second
	whyTimeout   = time.Second // for the worker's report of why it left
	whyEvery     = 100 * time.Millisecond
)

// held is a source that this pod has players of. Its goroutine asks about the source while players wait for
// it, and renews the hold.
type held struct {
	s      *Service
	record state.Pull
	party  netip.Addr    // that started it
	wake   chan struct{} // the goroutine is to look at once; it has a buffer of 1

	// guarded by Service.mu
	players int // that hold it, or wait for it
	waiting int
	left    translate.Identity // of the publisher that waiting players had before
	eager   time.Time          // since when it is looked at often
	last    answer
	changed chan struct{} // closed when last changes

	// the goroutine
	renewed time.Time        // zero: it is not held in the store
	status  state.PullStatus // the last known one
	since   time.Time        // no worker has had the source
}

// answer is what is known about a source: its publisher, or an error, or neither yet.
type answer struct {
	at        time.Time
	publisher translate.Participant
	err       error
	over      bool // the hold ended; err is a *Failure if the pull did
}

var errEnded = errors.New("hold of a source ended")

func (a answer) found() bool { return a.publisher.Identity != "" }

// Join holds the source of a player, starts it if no pod holds it, and returns its publisher in Pull.Room.
// party is the client's address. Call Leave afterwards, also after an error: a *Failure, or that of the
// store, of LiveKit or of ctx.
func (s *Service) Join(ctx context.Context, p *Pull, party netip.Addr) (translate.Participant, error) {
	began := time.Now()
	if s.connecting(p, party) >= s.census.share() {
		return translate.Participant{}, s.tooMany(p.record)
	}
	h := s.hold(p, party, 1)
	defer s.stopWaiting(h)
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for {
		last, changed := s.look(h)
		if last.over || (last.found() || last.err != nil) && last.at.After(began.Add(-validFor)) {
			return last.publisher, last.err
		}
		select {
		case <-changed:
		case <-limit.C:
			return translate.Participant{}, failure(&pull.Error{Fault: pull.Unreachable, Detail: "not started in time"}, schemeOf(p.record))
		case <-ctx.Done():
			return translate.Participant{}, ctx.Err()
		}
	}
}

// Rejoin holds the source of a player of a resumed session. Call Leave afterwards.
func (s *Service) Rejoin(p *Pull) {
	if p != nil {
		s.hold(p, netip.Addr{}, 0)
	}
}

// connecting returns how many sources an address has this pod start that have no publisher yet, without those
// that p would share.
func (s *Service) connecting(p *Pull, party netip.Addr) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[p.record.ID] != nil {
		return 0
	}
	for _, h := range s.held {
		if h.party == party && !h.last.found() && !h.last.over {
			n++
		}
	}
	return n
}

// hold counts a player of a source.
func (s *Service) hold(p *Pull, party netip.Addr, waiting int) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[p.record.ID]
	if h == nil {
		now := time.Now()
		h = &held{s: s, record: p.record, party: party, eager: now, wake: make(chan struct{}, 1), changed: make(chan struct{}), since: now}
		s.held[p.record.ID] = h
		s.work.Go(h.run)
	}
	h.players++
	h.waiting += waiting
	p.holds = h
	h.kick()
	return h
}

// kick makes the goroutine look at once.
func (h *held) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (s *Service) look(h *held) (answer, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.last, h.changed
}

func (s *Service) stopWaiting(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.waiting--
}

// Leave ends the hold of a player. It can be repeated, and p can be nil.
func (s *Service) Leave(p *Pull) {
	if p == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := p.holds
	p.holds = nil
	if h == nil {
		return
	}
	if h.players--; h.players == 0 {
		h.kick()
	}
}

// Why returns why the source of a player ended, nil if it goes on, or can go on with another worker. All
// players of a source share the question.
func (s *Service) Why(ctx context.Context, p *Pull) *Failure {
	got, _, _ := s.whys.Do(p.record.ID, func() (any, error) { return s.why(ctx, p.record.ID), nil })
	f, _ := got.(*Failure)
	return f
}

func (s *Service) why(ctx context.Context, id string) *Failure {
	ctx, cancel := context.WithTimeout(ctx, whyTimeout)
	defer cancel()
	for {
		st, err := s.status(ctx, id)
		if err == nil && failed(st) {
			return failureOf(st)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(whyEvery):
		}
	}
}

// run holds the source until it has no players, or ends.
func (h *held) run() {
	defer h.s.deps.Recovered()
	defer h.end() // also after a panic, or when the pod stops
	for {
		a := h.ask()
		h.publish(a)
		if a.over {
			h.end() // the next player gets the failure from the store
			h.release(0)
			return
		}
		used, pause := h.use(a)
		if !used {
			h.release(h.linger(a))
			if h.endUnused() {
				return
			}
			continue
		}
		select {
		case <-h.wake:
		case <-time.After(pause):
		case <-h.s.deps.Context.Done():
			return
		}
	}
}

// use reports whether there are players, and when to look again.
func (h *held) use(a answer) (used bool, pause time.Duration) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	switch {
	case h.waiting == 0 || a.found() && a.publisher.Identity != h.left:
		pause = renewEvery
	case time.Since(h.eager) < lookOften:
		pause = lookEvery
	default:
		pause = lookSeldom
	}
	return h.players > 0, pause
}

func (h *held) publish(a answer) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.last = a
	close(h.changed)
	h.changed = make(chan struct{})
}

// end forgets the hold. Players that wait get an error if there is no answer for them. It can be repeated.
func (h *held) end() {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.held[h.record.ID] == h {
		delete(h.s.held, h.record.ID)
	}
	if !h.last.over {
		h.last = answer{err: errEnded, over: true}
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// endUnused forgets the hold unless it has players again.
func (h *held) endUnused() bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.players > 0 {
		return false
	}
	delete(h.s.held, h.record.ID)
	return true
}

// linger returns how long the source is pulled without players: not at all if there was no picture.
func (h *held) linger(a answer) time.Duration {
	if a.found() {
		return h.s.deps.Linger
	}
	return 0
}

// release ends the hold in the store.
func (h *held) release(linger time.Duration) {
	if h.renewed.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(h.s.deps.Context, callTimeout)
	defer cancel()
	if err := h.s.deps.Store.ReleasePull(ctx, h.record.ID, h.s.deps.Pod, linger); err != nil {
		h.s.deps.Log.Warn().Err(err).Str("pull", h.record.Public).Msg("pull not released; it ends by itself")
	}
	h.renewed = time.Time{}
}

// ask renews the hold if that is due, and asks about the source.
func (h *held) ask() answer {
	began := time.Now()
	ctx, cancel := context.WithTimeout(h.s.deps.Context, callTimeout)
	defer cancel()
	st, err := h.renew(ctx)
	if err == nil {
		h.status = st
		var a answer
		if a, err = h.answerOf(ctx, st); err == nil {
			a.at = began
			return a
		}
	}
	a := answer{at: began, err: err}
	if last, _ := h.s.look(h); last.found() { // its players go on
		a.publisher = last.publisher
	}
	return a
}

// renew holds the source in the store if that is due, and returns its status.
func (h *held) renew(ctx context.Context) (st state.PullStatus, err error) {
	s := h.s
	first := h.renewed.IsZero()
	if first {
		defer s.starting.Lock(ctx, h.record.App)()
		err = s.admit(ctx, h.record)
	} else if time.Since(h.renewed) < renewEvery {
		if st, err = s.status(ctx, h.record.ID); !errors.Is(err, state.ErrNotFound) {
			return st, err
		}
		err = nil // Redis has lost it
	}
	if err != nil {
		return st, err
	}
	began := time.Now()
	st, err = s.deps.Store.WantPull(ctx, h.record, state.PullWant{
		Holder: s.deps.Pod, For: renewFor + s.deps.Linger, Start: first, Last: h.status, Max: s.deps.Max,
	})
	if errors.Is(err, state.ErrFull) {
		err = s.tooMany(h.record)
	}
	if err == nil {
		h.renewed = began
	}
	if err == nil && first && len(st.Holders) == 1 { // it is new
		s.census.started(h.record.App)
	}
	return st, err
}

// status returns the status of a pull, or state.ErrNotFound.
func (s *Service) status(ctx context.Context, id string) (state.PullStatus, error) {
	found, err := s.deps.Store.FindPulls(ctx, id)
	st, ok := found[id]
	if err == nil && !ok {
		err = state.ErrNotFound
	}
	return st, err
}

func failed(st state.PullStatus) bool { return st.State == string(pull.Failed) }

func (s *Service) tooMany(p state.Pull) error {
	return failure(&pull.Error{Fault: pull.TooMany, Detail: "of the deployment or application"}, schemeOf(p))
}

// admit checks the limits for a source that is new, and that a worker can take it.
func (s *Service) admit(ctx context.Context, p state.Pull) error {
	st, err := s.status(ctx, p.ID)
	switch {
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return err
	case err == nil && (failed(st) && st.Age < state.PullFailureHold || !failed(st) && len(st.Holders) > 0):
		return nil // it runs, or the store answers with its failure
	}
	free, _, err := s.census.free(ctx)
	switch {
	case err != nil:
		return err
	case !free:
		return failure(&pull.Error{Fault: pull.NoWorker, Detail: "none is alive that is not full"}, schemeOf(p))
	case p.App == "":
		return nil
	}
	ofApp, err := s.census.ofApp(ctx, p.App)
	if err == nil && ofApp >= s.deps.PerApp {
		err = s.tooMany(p)
	}
	return err
}

// answerOf returns the answer for a status. A publisher that LiveKit does not have (yet) is none.
func (h *held) answerOf(ctx context.Context, st state.PullStatus) (answer, error) {
	progress := pull.State(st.State)
	switch progress {
	case pull.Failed:
		return answer{err: failureOf(st), over: true}, nil
	case pull.Running, pull.Interrupted:
		p, err := h.s.deps.SFU.Participant(ctx, translate.RoomName(st.Pull.Room), translate.Identity(pull.Identity(st.Pull.ID, st.Generation)))
		switch {
		case err == nil && len(p.Tracks) > 0:
			h.since = time.Now()
			return answer{publisher: p}, nil
		case err != nil && translate.KindOf(err) != translate.ErrKindNotFound:
			return answer{}, err
		}
	}
	if progress != pull.Waiting && st.Alive() {
		h.since = time.Now()
	}
	if time.Since(h.since) < takeTimeout {
		return answer{}, nil
	}
	_, alive, err := h.s.census.free(ctx)
	if err == nil && (!alive || progress == pull.Waiting) { // otherwise another worker takes it from a dead one
		err = failure(&pull.Error{Fault: pull.NoWorker, Detail: "none took it"}, schemeOf(h.record))
	}
	return answer{}, err
}

func failureOf(st state.PullStatus) *Failure {
	return failure(&pull.Error{Fault: pull.Fault(st.Fault), Detail: st.Detail}, schemeOf(st.Pull))
}
