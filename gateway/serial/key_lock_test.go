package serial

import (
	"context"
	"sync"
	"testing"
)

func TestKeyLockExcludesPerKey(t *testing.T) {
	t.Parallel()
	var l KeyLock
	var work sync.WaitGroup
	inside := map[string]*int{"a": new(int), "b": new(int)} // the race detector looks on
	for key, n := range inside {
		for range 50 {
			work.Go(func() {
				defer l.Lock(t.Context(), key)()
				*n++
			})
		}
	}
	work.Wait()
	for key, n := range inside {
		if *n != 50 {
			t.Errorf("%s was locked %d times", key, *n)
		}
	}
	unlock := l.Lock(t.Context(), "a")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.Lock(ended, "a")() // unlocks nothing
	if _, mine := l.try("a"); mine {
		t.Error("locked twice")
	}
	unlock()
	l.Lock(t.Context(), "a")()
	if len(l.held) != 0 {
		t.Errorf("%d keys are held", len(l.held))
	}
}
