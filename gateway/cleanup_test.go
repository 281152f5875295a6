package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// While many tasks for Redis wait to be retried, no stream is started that would need one more.
func TestFullBacklogRefusesStreams(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		g := w.pods[podA]
		c := w.connect(t, podA)
		w.publishUp(t, c, "before", "before")
		back := make(chan struct{})
		for i := range cleanup.MaxBacklog {
			g.env.Cleanup.Add(cleanup.StoreTask(fmt.Sprint("release ", i), party(i), func(ctx context.Context) error {
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
		c.WantStatus("pub", "FAILED", "Server is recovering from an outage, try again later")
		playAV(t, c, "play", "before")
		c.WantStatus("play", "FAILED", "Server is recovering from an outage, try again later")
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

// party returns one of many client addresses.
func party(i int) cleanup.Party {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// LiveKit that refuses connections can have no participant of a start.
func TestStartsThatWereNotSentNeedNoRemoval(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		g, c := w.pods[podA], w.connect(t, podA)
		w.publishUp(t, c, "before", "before")
		away := &translate.Error{Kind: translate.ErrKindUnavailable, Op: "whip", Err: translate.ErrNotSent}
		w.sfu.set(func() { w.sfu.fail["publish"], w.sfu.fail["play"], w.sfu.fail["remove"] = away, away, away })
		for i := range 100 {
			id := fmt.Sprint(i)
			publishAV(t, c, "pub"+id, "s"+id)
			c.WantStatus("pub"+id, "FAILED", "Failed to add stream to proxy")
			playAV(t, c, "play"+id, "before")
			c.WantStatus("play"+id, "FAILED", "Failed to add stream to proxy")
		}
		synctest.Wait()
		if n := g.env.Cleanup.Pending(); n != 0 {
			t.Errorf("%d removals are pending of 200 starts that were not sent", n)
		}
	})
}

// An unreachable LiveKit with an unknown outcome of each start: the flooding address is refused when it has
// half of the backlog. Another address is not, and all participants are removed in the end.
func TestFloodWithoutLiveKitIsRefusedForItsAddressOnly(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		g, c := w.pods[podA], w.connect(t, podA)
		away := &translate.Error{Kind: translate.ErrKindUnavailable, Op: "whip", Err: errors.New("no answer")}
		w.sfu.set(func() { w.sfu.fail["publish"], w.sfu.fail["remove"] = away, away })
		before, most, refused := runtime.NumGoroutine(), 0, 0
		for i := range 3 * cleanup.MaxBacklog / 4 {
			id := fmt.Sprint(i)
			publishAV(t, c, id, "s")
			if c.AwaitStatus(id).Info == "Server is recovering from an outage, try again later" {
				refused++
			}
			most = max(most, g.env.Cleanup.Pending())
		}
		if most > cleanup.MaxBacklog/2+10 || refused < cleanup.MaxBacklog/4-10 {
			t.Errorf("%d tasks were pending, %d starts refused", most, refused)
		}
		if n := runtime.NumGoroutine(); n > before+2*cleanup.Parallel {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if err := g.env.Cleanup.CheckBacklog(party(1)); err != nil {
			t.Errorf("another address: %v", err)
		}
		w.sfu.set(func() { clear(w.sfu.fail) })
		pass(2 * cleanup.MaxWait)
		if n := g.env.Cleanup.Pending(); n != 0 {
			t.Errorf("%d tasks are pending after LiveKit is back", n)
		}
		publishAV(t, c, "after", "after")
		c.AwaitSDP("after")
	})
}

// Plays whose publisher has gone wait for its tracks at LiveKit until the deadline of the call.
func TestPlaysEndAtLiveKitWithTheirPublisher(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishUp(t, pub, "pub", "s")
		w.sfu.set(func() { w.sfu.hold["play"] = make(chan struct{}) })
		var clients []*rig.Client
		const each = 20
		for i := range 3 {
			c := w.connect(t, podA)
			clients = append(clients, c)
			for j := range each {
				playAV(t, c, fmt.Sprint(i, "-", j), "s")
			}
		}
		held := func() (n int) {
			synctest.Wait()
			w.sfu.set(func() { n = w.sfu.held["play"] })
			return n
		}
		if n := held(); n != len(clients)*each {
			t.Fatalf("%d plays are under way, want %d", n, len(clients)*each)
		}
		since := time.Now()
		pub.Unpublish("pub", "s")
		for i, c := range clients {
			for j := range each {
				c.WantStatus(fmt.Sprint(i, "-", j), "FAILED", "Stopped by publisher stop")
			}
		}
		if n, after := held(), time.Since(since); n != 0 || after > time.Second {
			t.Errorf("%d plays are under way %v after the end of their publisher", n, after)
		}
		for range len(w.sfu.called) {
			<-w.sfu.called
		}
		pass(w.pods[podA].cfg.Media.SFUTimeout + time.Second)
		if n := len(w.sfu.called); n != len(clients)*each {
			t.Errorf("%d calls after the deadline of the plays, want a second removal of each", n)
		}
	})
}
