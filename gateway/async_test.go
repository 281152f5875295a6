package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A hand-over that was reported as not done must not happen later: the session would be lost to both pods.
func TestHandOverThatTimedOutNeverHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, keepFor(time.Minute))
		c, token := w.keptAlive(t, podA, "defaultApp", "")
		defer c.Close()
		id := sessionOf(t, token)
		g := w.pods[podA]
		g.mu.Lock()
		s := g.resumable[id]
		g.mu.Unlock()

		busy := make(chan struct{})
		s.loop.Post(func() { <-busy })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			now, ok := g.handOver(ctx, id, handOverRequest{}, podA)
			if ok || len(now.Streams)+len(now.Rooms) > 0 {
				t.Errorf("hand-over of a busy session answered %+v, %t", now, ok)
			}
		}()
		<-done
		close(busy)
		synctest.Wait()
		if s.resume == nil { // the loop is idle
			t.Error("session was handed over although the caller was told that it was not")
		}
	})
}
