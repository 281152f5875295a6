package livekit

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestTmp(t *testing.T) {
	for _, tuned := range []bool{false, true} {
		if tuned {
			http.DefaultTransport = NewTransport(512)
		}
		s := newStage(t)
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		offer := peer.Offer()
		peer.Close()
		run := func(n int) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range n / 8 {
						rm, id := translate.RoomName(publisher()), publisher()
						if _, err := s.sfu.Publish(t.Context(), translate.PublishOffer{Room: rm, Identity: id, SDP: offer}); err != nil {
							t.Error(err)
						}
						if err := s.sfu.Remove(t.Context(), rm, id); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		}
		run(160)
		time.Sleep(2 * time.Second)
		n0 := len(s.events)
		c0, t0 := cpu(), time.Now()
		run(800)
		c1, t1 := cpu(), time.Since(t0)
		time.Sleep(3 * time.Second)
		c2 := cpu()
		t.Logf("tuned=%v: %v/cycle wall, cpu calls %v, with webhooks %v, events/cycle %.1f", tuned, t1/800, (c1-c0)/800, (c2-c0)/800, float64(len(s.events)-n0)/800)
	}
}
