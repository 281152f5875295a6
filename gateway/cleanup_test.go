package gateway

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
)

// While many tasks for Redis wait to be retried, no stream is started that would need one more.
func TestFullBacklogRefusesStreams(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		g := w.pods[podA]
		c := w.connect(t, podA)
		w.publishUp(t, c, "before", "before")
		back := make(chan struct{})
		for i := range cleanup.MaxBacklog {
			g.env.Cleanup.Add(cleanup.StoreTask(fmt.Sprint("release ", i), func(ctx context.Context) error {
				select {
				case <-back:
					return nil
				case <-ctx.Done():
					return state.ErrUnavailable
				}
			}))
		}
		pass(cleanup.MaxBacklog / cleanup.Parallel * 2 * cleanup.AttemptTimeout)
		for range len(w.sfu.called) {
			<-w.sfu.called
		}
		pending := g.env.Cleanup.Pending()
		publishAV(t, c, "pub", "s")
		c.WantStatus("pub", "FAILED", "Failed to add stream to proxy")
		playAV(t, c, "play", "before")
		c.WantStatus("play", "FAILED", "Failed to add stream to proxy")
		synctest.Wait()
		if n := g.env.Cleanup.Pending(); n > pending || len(w.store.Names()) != 1 || len(w.store.MediaIDs()) != 1 {
			t.Errorf("%d tasks are pending, %d before; names %v, media ids %v", n, pending, w.store.Names(), w.store.MediaIDs())
		}
		close(back)
		pass(2 * cleanup.MaxWait)
		publishAV(t, c, "pub", "s")
		c.AwaitSDP("pub")
	})
}

// Removals that hang at LiveKit do not delay the release of names.
func TestHangingRemovalsDoNotDelayReleaseOfNames(t *testing.T) {
	w := newWorld(t, nil)
	const sessions, each = cleanup.Parallel/16 + 1, 16
	hold := make(chan struct{})
	var clients []*rig.Client
	for i := range sessions {
		c := w.connect(t, podA)
		clients = append(clients, c)
		for j := range each {
			id := fmt.Sprintf("%d-%d", i, j)
			publishAV(t, c, id, id)
			c.AwaitSDP(id)
		}
	}
	w.sfu.set(func() { w.sfu.hold["remove"] = hold })
	for _, c := range clients {
		c.Close()
	}
	rig.Eventually(t, 20*time.Second, "all names are released", func() bool { return len(w.store.Names()) == 0 })
	close(hold)
	w.wantClean(t)
}
