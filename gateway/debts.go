package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// debts is clean-up that is owed to LiveKit and Redis: removing a participant, releasing a name. It is tried at once
// and, as long as the other side does not answer, again and again.
type debts struct {
	g                  *Gateway
	log                zerolog.Logger // of many that fail, which is all of them when one side is away, a few lines are enough
	sfu, store, egress *side

	mu   sync.Mutex
	open int
	idle chan struct{} // closed when open is 0; nil while nobody waits
}

// creditor bounds how many calls are made at a time.
type creditor chan struct{}

// side is whom something is owed to. Each has bounds of its own, so that a dead LiveKit node does not hold up Redis, and among them those
// that are tried again, so that what fails does not hold up what would not.
type side struct {
	first, again creditor
	failing      int // debts that were tried; guarded by debts.mu
}

func newSide() *side {
	return &side{first: make(creditor, debtParallel), again: make(creditor, debtParallel)}
}

const (
	debtLimit     = 15 * time.Minute // a person has to look after that
	debtNeverUp   = 90 * time.Second // of a participant that was never up: its token is dead by then, and LiveKit has let go of it
	debtTry       = 3 * time.Second
	debtFirstWait = 500 * time.Millisecond
	debtMaxWait   = 15 * time.Second
	debtParallel  = 64
	debtMost      = 5000 // in Redis that have failed; then no stream is begun that may have to be cleaned up there
	debtLines     = 10   // a second that are logged of them
)

func newDebts(g *Gateway) *debts {
	return &debts{
		g: g, log: g.log.Sample(&zerolog.BurstSampler{Burst: debtLines, Period: time.Second}),
		sfu: newSide(), store: newSide(), egress: newSide(),
	}
}

// errTooMuchOwed says that too much clean-up waits for Redis to be back.
var errTooMuchOwed = errors.New("too much clean-up is owed")

// full fails with errTooMuchOwed.
func (d *debts) full() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store.failing >= debtMost {
		return errTooMuchOwed
	}
	return nil
}

// debt is one thing that is owed. pay must be safe to repeat.
type debt struct {
	what  string
	to    *side
	limit time.Duration
	pay   func(context.Context) error
}

// removal owes the removal of a participant.
func (d *debts) removal(room translate.RoomName, id translate.Identity, limit time.Duration) <-chan struct{} {
	return d.owe(debt{"remove participant", d.sfu, limit, func(ctx context.Context) error { return d.g.deps.SFU.Remove(ctx, room, id) }})
}

// record owes a change in Redis, or news to other pods.
func (d *debts) record(what string, pay func(context.Context) error) <-chan struct{} {
	return d.owe(debt{what, d.store, debtLimit, pay})
}

// owe pays the debt. The channel is closed after the first try.
func (d *debts) owe(o debt) <-chan struct{} {
	d.change(+1)
	tried := make(chan struct{})
	go func() {
		defer d.change(-1)
		defer d.g.recovered()
		d.settle(o, sync.OnceFunc(func() { close(tried) }))
	}()
	return tried
}

func (d *debts) settle(o debt, tried func()) {
	defer tried()
	since := time.Now()
	err := d.try(o, o.to.first)
	tried()
	if err == nil {
		return
	}
	failing := d.fail(o.to, +1)
	defer d.fail(o.to, -1)
	for wait := debtFirstWait; err != nil; wait = min(2*wait, debtMaxWait) {
		log := d.log.Warn().Err(err).Str("op", o.what).Int("failing", failing)
		if !passing(err) || d.g.ctx.Err() != nil || time.Since(since) > o.limit {
			log.Msg("clean-up failed for good")
			return
		}
		log.Dur("retry_in", wait).Msg("clean-up failed, will be tried again")
		pause(d.g.ctx, wait)
		err = d.try(o, o.to.again)
		failing = d.fail(o.to, 0)
	}
}

func (d *debts) try(o debt, place creditor) error {
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
	case <-d.g.ctx.Done():
		return d.g.ctx.Err()
	}
	ctx, cancel := d.g.withTimeout(debtTry)
	defer cancel()
	return o.pay(ctx)
}

// passing tells whether it may go better next time.
func passing(err error) bool {
	return translate.KindOf(err) == translate.ErrKindUnavailable || translate.KindOf(err) == translate.ErrKindDenied || errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrLeaseStale)
}

// fail counts the debts to a side that have failed and are to be tried again.
func (d *debts) fail(s *side, by int) (now int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.failing += by
	return s.failing
}

func (d *debts) change(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += by
	d.g.metrics.debts.Add(float64(by))
	if d.open == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

func (d *debts) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// wait returns when nothing is owed any more or ctx is done.
func (d *debts) wait(ctx context.Context) {
	d.mu.Lock()
	if d.open == 0 {
		d.mu.Unlock()
		return
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
