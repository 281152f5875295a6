package gateway

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
)

// lines counts what is logged.
type lines struct {
	mu  sync.Mutex
	all int
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all += bytes.Count(b, []byte("\n"))
	return len(b), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// owingAway makes n debts to a Redis that does not answer until the channel is closed.
func owingAway(d *debts, n int) (back chan struct{}) {
	back = make(chan struct{})
	for i := range n {
		d.record(fmt.Sprint("release ", i), func(ctx context.Context) error {
			select {
			case <-back:
				return nil
			case <-ctx.Done():
				return state.ErrUnavailable
			}
		})
	}
	return back
}

// What has failed and is tried again holds up nothing new.
func TestFailingDebtsHoldUpNothing(t *testing.T) {
	inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
		d := w.pods[podA].debts
		back := owingAway(d, 4*debtParallel)
		pass(4*debtTry + time.Millisecond)
		for range 20 {
			since := time.Now()
			<-d.record("quick", func(context.Context) error { return nil })
			if waited := time.Since(since); waited > 0 {
				t.Fatalf("a debt that could be paid waited %v", waited)
			}
			pass(time.Second)
		}
		close(back)
		pass(2 * debtMaxWait)
		if n := d.count(); n != 0 {
			t.Errorf("%d are owed still", n)
		}
	})
}

// While much is owed to a Redis that is away, nothing is begun that would be owed, too, and the log is not full of it.
func TestDebtsAreBounded(t *testing.T) {
	inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
		g := w.pods[podA]
		var logged lines
		g.log = zerolog.New(&logged)
		g.debts = newDebts(g)
		c := w.connect(t, podA)
		w.publishUp(t, c, "before", "before")
		back := owingAway(g.debts, debtMost)
		pass(debtMost / debtParallel * 2 * debtTry)
		if err := g.debts.full(); err == nil {
			t.Fatal("no bound")
		}
		if n, most := logged.count(), 2*debtLines*int(debtMost/debtParallel*debtTry/time.Second); n == 0 || n > most {
			t.Errorf("%d lines, want at most %d", n, most)
		}
		for range len(w.sfu.called) {
			<-w.sfu.called
		}
		owed := g.debts.count()
		publishAV(t, c, "pub", "s")
		c.WantStatus("pub", "FAILED", "Failed to add stream to proxy")
		playAV(t, c, "play", "before")
		c.WantStatus("play", "FAILED", "Failed to add stream to proxy")
		synctest.Wait()
		if n := g.debts.count(); n > owed || len(w.store.Names()) != 1 || len(w.store.MediaIDs()) != 1 {
			t.Errorf("%d are owed, %d before; names %v, media ids %v", n, owed, w.store.Names(), w.store.MediaIDs())
		}
		close(back)
		pass(2 * debtMaxWait)
		publishAV(t, c, "pub", "s")
		c.AwaitSDP("pub")
	})
}

// unreached is a store to which there is no connection.
type unreached struct{ Store }

func (unreached) ClaimStream(context.Context, state.Stream) error { return state.ErrNotSent }

func (unreached) AddPlayer(context.Context, state.Player) (state.Stream, error) {
	return state.Stream{}, state.ErrNotSent
}

func (unreached) ReleaseStream(context.Context, state.Stream) ([]string, error) {
	return nil, state.ErrUnavailable
}

func (unreached) RemovePlayer(context.Context, state.Player) error { return state.ErrUnavailable }

// What was never sent to Redis is not owed to it.
func TestNothingIsOwedForWhatWasNotSent(t *testing.T) {
	inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
		g := w.pods[podA]
		g.deps.Store = unreached{g.deps.Store}
		c := w.connect(t, podA)
		publishAV(t, c, "pub", "s")
		c.WantStatus("pub", "FAILED", "Failed to add stream to proxy")
		playAV(t, c, "play", "s")
		c.WantStatus("play", "FAILED", "Failed to add stream to proxy")
		synctest.Wait()
		if n := g.debts.count(); n != 0 {
			t.Errorf("%d are owed", n)
		}
	})
}
