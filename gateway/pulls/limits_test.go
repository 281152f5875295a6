package pulls

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

func TestLimitsCountNewSourcesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		var held []*Pull
		for _, name := range []string{"rtsp://a.example.com", "rtsp://b.example.com"} {
			p := w.source(t, a, name)
			wait := join(t, a, p)
			synctest.Wait()
			w.work(p.ID(), "w1")
			if got := <-wait; got.err != nil {
				t.Fatal(got.err)
			}
			held = append(held, p)
		}
		third := w.source(t, a, "rtsp://c.example.com")
		if got := <-join(t, a, third); info(t, got.err) != "Too many pulled streams" {
			t.Errorf("third source of the application: %v", got.err)
		}
		again := w.source(t, a, "rtsp://b.example.com")
		if got := <-join(t, a, again); got.err != nil {
			t.Errorf("player of a source that is pulled: %v", got.err)
		}
		if err := a.CheckSession(again, []*Pull{nil, held[1]}); err != nil {
			t.Errorf("second player of a source in a session: %v", err)
		}
		if err := a.CheckSession(again, held); info(t, err) != "Too many pulled streams" {
			t.Errorf("second source of a session: %v", err)
		}
	})
}

// A client whose cameras do not answer leaves room for those of others.
func TestSourcesThatDoNotAnswerLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		a.deps.PerApp, a.deps.Max = 100, 100
		w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 48})
		var waits []<-chan joined
		var held []*Pull
		for i := range leastShare {
			p := w.source(t, a, fmt.Sprintf("rtsp://silent.example.com/%d", i))
			waits, held = append(waits, join(t, a, p)), append(held, p)
			synctest.Wait()
			w.store.Report(p.ID(), "w1", string(pull.Connecting), "")
		}
		time.Sleep(5 * time.Second)
		w.store.SetWorkers(state.PullWorker{ID: "w1", Running: leastShare, Max: 20})
		time.Sleep(time.Second)
		p := w.source(t, a, camera)
		if err := a.Available(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Join(t.Context(), p, client); info(t, err) != "Too many pulled streams" {
			t.Errorf("a further source of the address: %v", err)
		}
		again := w.source(t, a, "rtsp://silent.example.com/0")
		waits, held = append(waits, join(t, a, again)), append(held, again)
		done := make(chan error, 1)
		go func() {
			_, err := a.Join(t.Context(), p, netip.MustParseAddr("192.0.2.2"))
			done <- err
		}()
		synctest.Wait()
		w.work(p.ID(), "w1")
		if err := <-done; err != nil {
			t.Errorf("a source of another address: %v", err)
		}
		for _, h := range held {
			w.store.Report(h.ID(), "w1", string(pull.Failed), string(pull.Unreachable))
		}
		for _, wait := range waits {
			<-wait
		}
		if _, err := a.Join(t.Context(), w.source(t, a, "rtsp://next.example.com/"), client); info(t, err) != "No worker for pulled streams is available" {
			t.Errorf("a source after the failures is refused for their number: %v", err)
		}
	})
}
