package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"wcsgateway/translate/wcs"
)

// run runs the scenario. When ctx ends, steps in progress are cut off and the sockets are closed.
func (b *bench) run(ctx context.Context) {
	load, cancel := context.WithTimeout(ctx, b.o.duration)
	defer cancel()
	switch b.o.scenario {
	case scenarioIdle:
		b.spread(load, func(int) { b.idle(ctx, load) })
	case scenarioPublish:
		b.spread(load, func(int) { b.show(ctx, load, 0) })
	case scenarioPlay:
		b.spread(load, func(int) { b.show(ctx, load, 1) })
	case scenarioFanout:
		b.show(ctx, load, b.o.players)
	case scenarioChurn:
		b.churn(ctx, load)
	case scenarioStorm:
		calm := time.Now().Add(b.o.ramp())
		b.spread(load, func(i int) { b.survive(ctx, load, calm, i < b.o.publishers) })
	}
	b.units.Wait()
}

// spread starts a unit for each of the sessions.
func (b *bench) spread(ctx context.Context, unit func(i int)) {
	b.pace(ctx, b.o.sessions, func(i int) { b.units.Go(func() { unit(i) }) })
}

// pace calls start n times at the rate and returns when it is done or ctx ended. It catches up after delays,
// so that a slow machine does not reduce the load. start must not block.
func (b *bench) pace(ctx context.Context, n int, start func(i int)) {
	began := time.Now()
	next := time.NewTimer(0)
	defer next.Stop()
	for i := range n {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		start(i)
		next.Reset(time.Until(began.Add(b.o.interval(i + 1))))
	}
}

// idle is a session without streams.
func (b *bench) idle(ctx, load context.Context) {
	s, err := b.connect(ctx, stepConnect, tookConnect)
	if err != nil {
		return // counted
	}
	defer b.disconnect(s)
	_ = b.hold(s, nil, load.Done()) // counted
}

// stage is a stream and its players' shared state.
type stage struct {
	name        string
	coming      sync.WaitGroup // players that do not play yet
	over        chan struct{}  // closed when the publisher is about to unpublish, or is lost
	unpublished time.Time      // set before over is closed; zero without unpublish
}

// show publishes a stream, starts its players and unpublishes it when load ends.
func (b *bench) show(ctx, load context.Context, players int) {
	st := &stage{name: b.name(), over: make(chan struct{})}
	pub, err := b.cast(ctx, b.publisher(), st.name)
	if err != nil {
		return // counted
	}
	defer b.stop(pub)
	b.pace(load, players, func(int) { b.admit(ctx, st) })
	err = b.hold(pub.session, pub.stream, load.Done())
	b.finish(ctx, st, pub, err == nil)
}

// admit starts a player.
func (b *bench) admit(ctx context.Context, st *stage) {
	st.coming.Add(1)
	b.units.Go(func() { b.attend(ctx, st) })
}

// attend plays a stream until it is over.
func (b *bench) attend(ctx context.Context, st *stage) {
	c, err := b.cast(ctx, b.player(), st.name)
	st.coming.Done()
	if err != nil {
		return // counted
	}
	defer b.stop(c)
	if b.hold(c.session, c.stream, st.over) != nil || st.unpublished.IsZero() {
		return // counted, or the run ended
	}
	_ = b.step(ctx, stepNotice, func(ctx context.Context) error { // counted
		if err := c.session.awaitEnd(ctx, c.stream, wcs.StatusFailed, wcs.InfoStoppedByPublisherStop); err != nil {
			return err
		}
		b.records.took(tookNotice, c.end.at.Sub(st.unpublished))
		return nil
	})
}

// finish waits for starting players, and unpublishes if the stream is alive.
func (b *bench) finish(ctx context.Context, st *stage, pub *cast, alive bool) {
	st.coming.Wait()
	if !alive || ctx.Err() != nil {
		close(st.over)
		return
	}
	st.unpublished = time.Now()
	close(st.over)
	_ = b.step(ctx, stepUnpublish, func(ctx context.Context) error { // counted
		if err := pub.session.unpublish(pub.stream); err != nil {
			return err
		}
		if err := pub.session.awaitEnd(ctx, pub.stream, wcs.StatusUnpublished, ""); err != nil {
			return err
		}
		b.records.took(tookUnpublished, pub.end.at.Sub(st.unpublished))
		return nil
	})
}

// churn starts and ends streams continuously. A slow server runs out of slots, which is counted: waiting for
// a slot would reduce the load to the server's speed.
func (b *bench) churn(ctx, load context.Context) {
	slots := semaphore.NewWeighted(int64(b.o.sessions))
	cycles := max(1, int(b.o.rate*b.o.duration.Seconds()))
	b.pace(load, cycles, func(int) {
		b.records.start(stepCycle)
		if !slots.TryAcquire(1) {
			b.records.fail(stepCycle, fmt.Errorf("%d cycles are running", b.o.sessions))
			return
		}
		b.units.Go(func() {
			defer slots.Release(1)
			b.cycle(ctx)
		})
	})
}

// cycle is a stream that is unpublished as soon as it is played. Its failures are counted where they occur.
func (b *bench) cycle(ctx context.Context) {
	st := &stage{name: b.name(), over: make(chan struct{})}
	pub, err := b.cast(ctx, b.publisher(), st.name)
	if err == nil {
		defer b.stop(pub)
		b.admit(ctx, st)
		b.finish(ctx, st, pub, true)
	}
	if ctx.Err() == nil {
		b.records.done(stepCycle)
	}
}

// survive is a session that loses its socket in each storm and returns immediately. The first storm is one
// interval after calm, so that all sessions are open by then.
func (b *bench) survive(ctx, load context.Context, calm time.Time, publishes bool) {
	name := b.name()
	connecting, took := stepConnect, tookConnect
	direction := b.publisher()
	for load.Err() == nil {
		storm, cancel := context.WithDeadline(load, nextStorm(calm, b.o.every))
		if s, err := b.connect(ctx, connecting, took); err == nil {
			b.weather(ctx, storm, s, direction, name, publishes)
		}
		<-storm.Done() // also after a failure: all sessions return together
		cancel()
		connecting, took = stepReconnect, tookReconnect
		direction.step, direction.answer, direction.started = stepRepublish, tookRepublishSDP, tookRepublish
	}
}

// nextStorm returns the time of the next storm.
func nextStorm(calm time.Time, every time.Duration) time.Time {
	storms := max(0, time.Since(calm)/every)
	return calm.Add((storms + 1) * every)
}

// weather keeps a session, with a stream if it publishes, until the storm.
func (b *bench) weather(ctx, storm context.Context, s *session, d direction, name string, publishes bool) {
	defer b.open.Add(-1)
	defer s.drop()
	var st *stream
	if publishes {
		c, err := b.castOn(ctx, s, d, name)
		if err != nil {
			return // counted
		}
		defer b.units.Go(c.dispose) // while the session reconnects
		st = c.stream
	}
	_ = b.hold(s, st, storm.Done()) // counted
}
