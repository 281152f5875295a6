package gateway

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// beats collects when a member had its beats; takes is how long the n-th takes, nil for no time.
type beats struct {
	takes func(n int) time.Duration

	mu sync.Mutex
	at []time.Time
}

func (m *beats) note() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Now())
	return len(m.at)
}

func (m *beats) all() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.at)
}

// pass lets the time of a bubble pass, and all that is due in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func runBeat(t *testing.T) *beat[*beats] {
	b := &beat[*beats]{interval: time.Second, do: func(m *beats) {
		if n := m.note(); m.takes != nil {
			time.Sleep(m.takes(n))
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return b
}

func TestBeatIsEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := runBeat(t)
		members := make([]*beats, 2*beatSlots+1)
		for i := range members {
			members[i] = &beats{}
			b.add(members[i])
		}
		leaving := &beats{}
		leave := b.add(leaving)
		pass(10*time.Second + time.Millisecond)
		leave()
		pass(10 * time.Second)
		first := make(map[time.Time]int)
		for i, m := range members {
			at := m.all()
			if len(at) != 20 {
				t.Fatalf("member %d: %d beats in 20 s", i, len(at))
			}
			first[at[0]]++
			for j := range at[1:] {
				if d := at[j+1].Sub(at[j]); d != time.Second {
					t.Fatalf("member %d: %v between beats", i, d)
				}
			}
		}
		if len(first) != beatSlots {
			t.Errorf("members at %d moments", len(first))
		}
		if n := len(leaving.all()); n != 10 {
			t.Errorf("%d beats of a member that left after 10 s", n)
		}
	})
}

// A member that has a moment of its own keeps it.
func TestBeatAtAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := runBeat(t)
		pass(1234 * time.Millisecond)
		since := time.Now()
		for _, d := range []time.Duration{20 * time.Millisecond, 370 * time.Millisecond, time.Second, 1020 * time.Millisecond} {
			m := &beats{}
			leave := b.addIn(m, d)
			pass(5 * time.Second)
			at := m.all()
			if first := at[0].Sub(since); first < d-20*time.Millisecond || first > d+20*time.Millisecond {
				t.Errorf("in %v: first beat after %v", d, first)
			}
			if n := len(at); n < 4 || at[n-1].Sub(at[0]) != time.Duration(n-1)*time.Second {
				t.Errorf("in %v: beats %v", d, at)
			}
			leave()
			since = time.Now()
		}
	})
}

// A member that takes long holds up the others once, and not from then on; after a standstill nothing is made up for.
func TestLateBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := runBeat(t)
		slow, other := &beats{takes: func(n int) time.Duration {
			switch {
			case n <= 100:
				return 300 * time.Millisecond
			case n == 101:
				return 10 * time.Second
			}
			return 0
		}}, &beats{}
		b.add(slow)
		b.add(other)
		pass(100*time.Second + time.Millisecond)
		if n := len(other.all()); n != 100 {
			t.Errorf("%d beats in 100 s", n)
		}
		pass(13 * time.Second)
		if n := len(other.all()); n < 102 || n > 104 {
			t.Errorf("%d beats in a standstill of 10 s and 3 s without", n-100)
		}
	})
}
