package session

import (
	"context"
	"sync"
	"testing"
)

func TestKeyLock(t *testing.T) {
	t.Parallel()
	var l keyLock
	var work sync.WaitGroup
	inside := map[string]*int{"a": new(int), "b": new(int)} // the race detector looks on
	for key, n := range inside {
		for range 50 {
			work.Go(func() {
				defer l.lock(t.Context(), key)()
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
	unlock := l.lock(t.Context(), "a")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.lock(ended, "a")() // unlocks nothing
	if _, mine := l.try("a"); mine {
		t.Error("locked twice")
	}
	unlock()
	l.lock(t.Context(), "a")()
	if len(l.held) != 0 {
		t.Errorf("%d keys are held", len(l.held))
	}
}
