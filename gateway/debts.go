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
// and, as long as the other side does not answer, again and again for debtLimit.
type debts struct {
	g     *Gateway
	slots chan struct{} // bounds how many are tried at a time

	mu   sync.Mutex
	open int
	idle chan struct{} // closed when open is 0; nil while nobody waits
}

const (
	debtLimit     = 15 * time.Minute // LiveKit and Redis forget by themselves after that, or a person has to look
	debtTry       = 3 * time.Second
	debtFirstWait = 500 * time.Millisecond
	debtMaxWait   = 15 * time.Second
	debtParallel  = 64
)

func newDebts(g *Gateway) *debts {
	return &debts{g: g, slots: make(chan struct{}, debtParallel)}
}

// owe pays f, which must be safe to repeat. The channel is closed after the first try.
func (d *debts) owe(what string, f func(context.Context) error) <-chan struct{} {
	d.change(+1)
	tried := make(chan struct{})
	go func() {
		defer d.change(-1)
		d.pay(what, f, tried)
	}()
	return tried
}

func (d *debts) pay(what string, f func(context.Context) error, tried chan struct{}) {
	since := time.Now()
	wait := debtFirstWait
	for first := true; ; first = false {
		err := d.try(f)
		if first {
			close(tried)
		}
		if err == nil {
			return
		}
		log := d.g.log.Warn().Err(err).Str("op", what)
		if !passing(err) || time.Since(since) > debtLimit {
			log.Msg("clean-up failed for good")
			return
		}
		log.Dur("retry_in", wait).Msg("clean-up failed, will be tried again")
		select {
		case <-d.g.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, debtMaxWait)
	}
}

func (d *debts) try(f func(context.Context) error) error {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-d.g.ctx.Done():
		return d.g.ctx.Err()
	}
	ctx, cancel := d.g.withTimeout(debtTry)
	defer cancel()
	return f(ctx)
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
