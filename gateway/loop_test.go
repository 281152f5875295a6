package gateway

import (
	"sync"
	"testing"
)

func TestLoopRunsEventsInOrderAndSurvivesAPanic(t *testing.T) {
	var got []int
	var panics int
	l := &loop{recovered: func(any) { panics++ }}
	var wg sync.WaitGroup
	wg.Add(3)
	l.post(func() { got = append(got, 1); wg.Done() })
	l.post(func() { defer wg.Done(); panic("bug") })
	l.post(func() { got = append(got, 2); wg.Done() })
	wg.Wait()
	if panics != 1 || len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("got %v, %d panics", got, panics)
	}
}

func TestLoopHoldsTheReaderBack(t *testing.T) {
	l := &loop{recovered: func(any) {}}
	gate, busy := make(chan struct{}), make(chan struct{})
	l.post(func() { close(busy); <-gate })
	<-busy
	for range maxBacklog {
		l.post(func() {})
	}
	order := make(chan string, 2)
	go func() {
		l.postWait(func() { order <- "ran" })
		order <- "returned"
	}()
	select {
	case what := <-order:
		t.Fatalf("%s although the backlog is full", what)
	default:
	}
	close(gate)
	<-order
	<-order
}
