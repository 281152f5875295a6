package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

// deadStore is a store with one pull, whose worker is dead. It notes the takes.
type deadStore struct {
	Store
	mu      sync.Mutex
	away    bool
	orphans []time.Time // of takes also from dead workers
	others  []time.Time
}

func (d *deadStore) set(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

func (d *deadStore) answer() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return state.ErrUnavailable
	}
	return nil
}

func (d *deadStore) WantedPulls(context.Context) ([]string, error) { return []string{"x"}, d.answer() }

func (d *deadStore) PutPullWorker(context.Context, state.PullWorker, time.Duration) error {
	return d.answer()
}

func (d *deadStore) DropPullWorker(context.Context) error { return d.answer() }

func (d *deadStore) ListenPulls(ctx context.Context, _ func(string)) { <-ctx.Done() }

func (d *deadStore) TakePull(_ context.Context, _ string, orphans bool) (p state.TakenPull, left time.Duration, err error) {
	if err := d.answer(); err != nil {
		return p, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if orphans {
		d.orphans = append(d.orphans, time.Now())
	} else {
		d.others = append(d.others, time.Now())
	}
	return p, time.Second, state.ErrTaken
}

// takes returns the takes since the last call.
func (d *deadStore) takes() (orphans, others []time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	orphans, others = d.orphans, d.others
	d.orphans, d.others = nil, nil
	return orphans, others
}

// A worker takes from dead ones only after the store has answered for the time of a lease: after an outage
// the leases of all workers have ended.
func TestWorkerTakesFromDeadOnesAfterLeaseOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 8 * time.Second
		store := &deadStore{}
		w := New(Config{Max: 2, Lease: lease}, Deps{Store: store, Metrics: NewMetrics(prometheus.NewRegistry())})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Work(ctx)
		}()
		for _, outage := range []time.Duration{0, time.Second, 20 * time.Second} {
			store.set(true)
			time.Sleep(outage)
			store.takes()
			back := time.Now()
			store.set(false)
			time.Sleep(3 * lease)
			orphans, others := store.takes()
			if len(others) == 0 || len(orphans) == 0 {
				t.Fatalf("after an outage of %v: takes %v, from dead workers %v", outage, others, orphans)
			}
			if first := orphans[0].Sub(back); outage > 0 && (first < lease || first > lease+3*time.Second) {
				t.Errorf("it takes from dead workers %v after an outage of %v", first, outage)
			}
		}
		cancel()
		<-done
	})
}

// fatalStore is a store whose pull fails by the deaths of its workers, which it reports once.
type fatalStore struct {
	deadStore
	reported atomic.Bool
}

func (f *fatalStore) TakePull(context.Context, string, bool) (p state.TakenPull, left time.Duration, err error) {
	if f.reported.Swap(true) {
		return p, 0, state.ErrNotFound
	}
	return p, 0, state.ErrWorkersDied
}

// A pull whose workers died has ended at the worker that finds it.
func TestPullWhoseWorkersDiedIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(prometheus.NewRegistry())
		w := New(Config{Max: 2, Lease: 8 * time.Second}, Deps{Store: &fatalStore{}, Metrics: m})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		w.Work(ctx)
		if n := testutil.ToFloat64(m.ends.WithLabelValues(string(pull.Internal))); n != 1 {
			t.Errorf("%v ends, want one", n)
		}
		if n := testutil.ToFloat64(m.takes.WithLabelValues(takeNone)); n < 2 {
			t.Errorf("%v takes without a pull", n)
		}
	})
}
