package hooks

import (
	"sync/atomic"
	"testing"
)

func TestLineKeepsOrder(t *testing.T) {
	const n = 10_000
	var l Line
	l.Max = n
	var running atomic.Int32
	order := make(chan int, n)
	for i := range n {
		if !l.Do(func() {
			if running.Add(1) != 1 {
				t.Error("two at a time")
			}
			order <- i
			running.Add(-1)
		}) {
			t.Fatalf("%d was refused", i)
		}
	}
	for i := range n {
		if got := receive(t, "function", order); got != i {
			t.Fatalf("%d ran in the place of %d", got, i)
		}
	}
	eventually(t, "no goroutine", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.running && l.queue == nil
	})
}

func TestLineIsBounded(t *testing.T) {
	for limit, want := range map[int]int{0: 64, 1: 1, 5: 5} {
		l := Line{Max: limit}
		started, hold, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		if !l.Do(func() { close(started); <-hold }) {
			t.Fatal("the first was refused")
		}
		receive(t, "start", started)
		var ran atomic.Int32
		n := 0
		for l.Do(func() { ran.Add(1) }) {
			if n++; n > want {
				break
			}
		}
		if n != want {
			t.Errorf("Max %d: %d may wait", limit, n)
		}
		close(hold)
		eventually(t, "place for one more", func() bool { return l.Do(func() { close(done) }) })
		receive(t, "the last", done)
		if int(ran.Load()) != want {
			t.Errorf("Max %d: %d ran", limit, ran.Load())
		}
	}
}

// A function may give the line another: it runs after all that wait.
func TestLineFromWithin(t *testing.T) {
	var l Line
	order := make(chan string, 3)
	hold := make(chan struct{})
	l.Do(func() {
		<-hold
		l.Do(func() { order <- "third" })
		order <- "first"
	})
	l.Do(func() { order <- "second" })
	close(hold)
	for _, want := range []string{"first", "second", "third"} {
		if got := receive(t, want, order); got != want {
			t.Errorf("%s ran in the place of the %s", got, want)
		}
	}
}
