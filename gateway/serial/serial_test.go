package serial

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestFunctionsRunInOrderOneAtATime(t *testing.T) {
	const n = 10_000
	var e Executor
	var running atomic.Int32
	order := make(chan int, n)
	for i := range n {
		if !e.TryPost(func() {
			if running.Add(1) != 1 {
				t.Error("two functions at a time")
			}
			order <- i
			running.Add(-1)
		}, n) {
			t.Fatalf("function %d was not queued", i)
		}
	}
	for i := range n {
		if got := <-order; got != i {
			t.Fatalf("function %d ran in place of %d", got, i)
		}
	}
}

func TestGoroutineAndQueueAreReleasedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Executor
		e.Post(func() {})
		e.Post(func() {})
		synctest.Wait()
		if e.running || e.queue != nil {
			t.Errorf("idle executor: running %v, queue %v", e.running, e.queue)
		}
	})
}

func TestPanicDoesNotStopExecutor(t *testing.T) {
	var got []int
	var panics int
	e := Executor{Recovered: func(any) { panics++ }}
	var wg sync.WaitGroup
	wg.Add(3)
	e.Post(func() { got = append(got, 1); wg.Done() })
	e.Post(func() { defer wg.Done(); panic("bug") })
	e.Post(func() { got = append(got, 2); wg.Done() })
	wg.Wait()
	if panics != 1 || len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("got %v, %d panics", got, panics)
	}
}

func TestPostWaitBlocksWhileQueueIsFull(t *testing.T) {
	var e Executor
	gate, busy := make(chan struct{}), make(chan struct{})
	e.Post(func() { close(busy); <-gate })
	<-busy
	for range maxWaiting {
		e.Post(func() {})
	}
	order := make(chan string, 2)
	go func() {
		e.PostWait(func() { order <- "ran" })
		order <- "returned"
	}()
	select {
	case event := <-order:
		t.Fatalf("PostWait or its function %s although the queue is full", event)
	default:
	}
	close(gate)
	<-order
	<-order
}

func TestTryPostRejectsAboveLimit(t *testing.T) {
	for _, limit := range []int{0, 1, 5, 64} {
		synctest.Test(t, func(t *testing.T) {
			var e Executor
			hold := make(chan struct{})
			if !e.TryPost(func() { <-hold }, limit) {
				t.Fatalf("limit %d: first function was not queued", limit)
			}
			var ran atomic.Int32
			n := 0
			for e.TryPost(func() { ran.Add(1) }, limit) {
				if n++; n > limit {
					break
				}
			}
			if n != limit {
				t.Errorf("limit %d: %d functions wait", limit, n)
			}
			close(hold)
			synctest.Wait()
			if int(ran.Load()) != limit {
				t.Errorf("limit %d: %d functions ran", limit, ran.Load())
			}
			done := make(chan struct{})
			if !e.TryPost(func() { close(done) }, limit) {
				t.Fatalf("limit %d: no function is queued after the others ran", limit)
			}
			<-done
		})
	}
}

func TestFunctionPostedFromWithinRunsLast(t *testing.T) {
	var e Executor
	order := make(chan string, 3)
	hold := make(chan struct{})
	e.Post(func() {
		<-hold
		e.Post(func() { order <- "third" })
		order <- "first"
	})
	e.Post(func() { order <- "second" })
	close(hold)
	for _, want := range []string{"first", "second", "third"} {
		if got := <-order; got != want {
			t.Errorf("%s ran in place of %s", got, want)
		}
	}
}
