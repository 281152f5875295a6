package wheel

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// calls records when a member was called. takes returns how long the n-th call takes; nil: no time.
type calls struct {
	takes func(n int) time.Duration

	mu sync.Mutex
	at []time.Time
}

func (m *calls) record() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Now())
	return len(m.at)
}

func (m *calls) all() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.at)
}

// pass advances the clock of a synctest bubble and waits for everything that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func runWheel(t *testing.T) *Wheel[*calls] {
	w := New(time.Second, func(m *calls) {
		if n := m.record(); m.takes != nil {
			time.Sleep(m.takes(n))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return w
}

func TestCallsAreSpreadEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runWheel(t)
		members := make([]*calls, 2*Slots+1)
		for i := range members {
			members[i] = &calls{}
			w.Add(members[i])
		}
		removed := &calls{}
		remove := w.Add(removed)
		pass(10*time.Second + time.Millisecond)
		remove()
		pass(10 * time.Second)
		first := make(map[time.Time]int)
		for i, m := range members {
			at := m.all()
			if len(at) != 20 {
				t.Fatalf("member %d: %d calls in 20 s", i, len(at))
			}
			first[at[0]]++
			for j := range at[1:] {
				if d := at[j+1].Sub(at[j]); d != time.Second {
					t.Fatalf("member %d: %v between calls", i, d)
				}
			}
		}
		if len(first) != Slots {
			t.Errorf("members called at %d different times, want %d", len(first), Slots)
		}
		if n := len(removed.all()); n != 10 {
			t.Errorf("%d calls of a member that was removed after 10 s", n)
		}
	})
}

func TestAddInKeepsChosenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runWheel(t)
		pass(1234 * time.Millisecond)
		since := time.Now()
		for _, d := range []time.Duration{20 * time.Millisecond, 370 * time.Millisecond, time.Second, 1020 * time.Millisecond} {
			m := &calls{}
			remove := w.AddIn(m, d)
			pass(5 * time.Second)
			at := m.all()
			if first := at[0].Sub(since); first < d-20*time.Millisecond || first > d+20*time.Millisecond {
				t.Errorf("added for %v: first call after %v", d, first)
			}
			if n := len(at); n < 4 || at[n-1].Sub(at[0]) != time.Duration(n-1)*time.Second {
				t.Errorf("added for %v: calls at %v", d, at)
			}
			remove()
			since = time.Now()
		}
	})
}

// A slow call delays the other members only once. Calls that were missed in a standstill are not repeated.
func TestSlowCallDoesNotShiftOtherMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runWheel(t)
		slow, other := &calls{takes: func(n int) time.Duration {
			switch {
			case n <= 100:
				return 300 * time.Millisecond
			case n == 101:
				return 10 * time.Second
			}
			return 0
		}}, &calls{}
		w.Add(slow)
		w.Add(other)
		pass(100*time.Second + time.Millisecond)
		if n := len(other.all()); n != 100 {
			t.Errorf("%d calls in 100 s", n)
		}
		pass(13 * time.Second)
		if n := len(other.all()); n < 102 || n > 104 {
			t.Errorf("%d calls in a standstill of 10 s and 3 s after it", n-100)
		}
	})
}
