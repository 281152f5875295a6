package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// debts is clean-up that is owed to LiveKit and Redis: removing a participant, releasing a name. It is tried at once
// and, as long as the other side does not answer, again and again.
type debts struct {
	g          *Gateway
	sfu, store creditor
	egress     creditor

	mu   sync.Mutex
	open int
	idle chan struct{} // closed when open is 0; nil while nobody waits
}

// creditor bounds how many debts to one side are tried at a time, so that a dead LiveKit node does not hold up Redis.
type creditor chan struct{}

const (
	debtLimit     = 15 * time.Minute // a person has to look after that
	debtNeverUp   = 90 * time.Second // of a participant that was never up: its token is dead by then, and LiveKit has let go of it
	debtTry       = 3 * time.Second
	debtFirstWait = 500 * time.Millisecond
	debtMaxWait   = 15 * time.Second
	debtParallel  = 64
)

func newDebts(g *Gateway) *debts {
	return &debts{g: g, sfu: make(creditor, debtParallel), store: make(creditor, debtParallel), egress: make(creditor, debtParallel)}
}

// debt is one thing that is owed. pay must be safe to repeat.
type debt struct {
	what  string
	to    creditor
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
	for wait := debtFirstWait; ; wait = min(2*wait, debtMaxWait) {
		err := d.try(o)
		tried()
		if err == nil {
			return
		}
		log := d.g.log.Warn().Err(err).Str("op", o.what)
		if !passing(err) || d.g.ctx.Err() != nil || time.Since(since) > o.limit {
			log.Msg("clean-up failed for good")
			return
		}
		log.Dur("retry_in", wait).Msg("clean-up failed, will be tried again")
		pause(d.g.ctx, wait)
	}
}

func (d *debts) try(o debt) error {
	select {
	case o.to <- struct{}{}:
		defer func() { <-o.to }()
	case <-d.g.ctx.Done():
		return d.g.ctx.Err()
	}
	ctx, cancel := d.g.withTimeout(debtTry)
	defer cancel()
	return o.pay(ctx)
}

// passing tells whether it may go better next time.
func passing(err error) bool {
	return isUnavailable(err) || sfuKind(err) == translate.ErrKindDenied || errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrLeaseStale)
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
