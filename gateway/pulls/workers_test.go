package pulls

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/state"
)

// The number of workers has a value while an application may play sources, 0 also if there never was a
// worker.
func TestWorkersAreCountedWhereSourcesAreAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		w.store.SetWorkers()
		s := w.pod(t, "a")
		var apps atomic.Pointer[map[string]*App]
		apps.Store(&w.apps)
		s.deps.Settings = func() map[string]*App { return *apps.Load() }
		s.work.Go(func() { s.CountWorkers(s.deps.Context) })
		want := func(values int, workers float64) {
			t.Helper()
			time.Sleep(workersEvery)
			synctest.Wait()
			if n := testutil.CollectAndCount(s.deps.Workers); n != values {
				t.Fatalf("%d values, want %d", n, values)
			}
			if values > 0 {
				if got := testutil.ToFloat64(s.deps.Workers); got != workers {
					t.Errorf("%v workers, want %v", got, workers)
				}
			}
		}
		want(1, 0)
		w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 10}, state.PullWorker{ID: "w2", Max: 10})
		want(1, 2)
		w.store.SetAway(true)
		want(1, 2)
		w.store.SetAway(false)
		apps.Store(&map[string]*App{"shop": {}})
		want(0, 0)
	})
}
