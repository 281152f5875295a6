package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A hand-over that was reported as not done must not happen later: the session would be lost to both pods.
func TestTimedOutHandOverIsNotDoneLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &Table{Env: &Env{Config: Config{Pod: "aaaaaaaa"}}, byID: make(map[string]*Session)}
		s := &Session{table: table}
		s.loop.Recovered = func(v any) { t.Errorf("panic on the loop: %v", v) }
		s.resume = &resumeState{s: s}
		table.byID["id"] = s

		busy := make(chan struct{})
		s.loop.Post(func() { <-busy })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if now := table.handOver(ctx, "id", handOverRequest{}, "aaaaaaaa"); now != nil {
			t.Errorf("hand-over of a busy session answered %+v", now)
		}
		close(busy)
		synctest.Wait()
		if s.resume == nil { // the loop is idle
			t.Error("session was handed over although the caller was told that it was not")
		}
	})
}

// A call that panics must not leave its caller waiting.
func TestCallThatPanicsReturnsAnError(t *testing.T) {
	s := &Session{}
	panics := make(chan any, 1)
	s.loop.Recovered = func(v any) { panics <- v }
	if _, err := callOn(t.Context(), s, func() int { panic("x") }); err != errLoopPanic {
		t.Errorf("error %v, want %v", err, errLoopPanic)
	}
	if v := <-panics; v != "x" {
		t.Errorf("recovered %v", v)
	}
}
