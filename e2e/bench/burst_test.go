package bench

import (
	"fmt"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const (
	bursts       = 3
	burstPlayers = 10
	burstSpacing = 60 * time.Millisecond
)

// measureBurst measures the time from a player's answer to its first key frame, for players that join one
// stream within a second, with two values of LiveKit's throttle of requests for key frames. See
// docs/operations.md#how-players-are-started.
func measureBurst(b *testing.B, p *programs, results *report) {
	ours := newBurst(b, p, "pli_throttle: {low_quality: 200ms}")
	theirs := newBurst(b, p, "")
	var a, c samples
	for range bursts {
		a = append(a, ours()...)
		c = append(c, theirs()...)
	}
	results.add(
		row{Measure: "10 plays in 0.6 s: answer → key frame, pli_throttle 200 ms", Unit: "ms", Ours: millis(a.median()), Baseline: millis(c.median()),
			Against: "LiveKit's default of 500 ms"},
		row{Measure: "  p90", Unit: "ms", Ours: millis(a.at(90)), Baseline: millis(c.at(90)), Against: "LiveKit's default of 500 ms"},
	)
}

// newBurst starts servers and a publisher. The function that it returns plays a burst and returns the time
// of each player.
func newBurst(b *testing.B, p *programs, throttle string) func() samples {
	s := newStageFor(b, p, rig.LiveKitOptions{RTC: throttle}, nil)
	rig.Connect(b, s.gateway.URL, "defaultApp").Publish("publisher", "cam", rig.NewPublisher(b, rig.PeerOptions{OnRequest: true}))
	round := 0
	return func() samples {
		round++
		took := make(chan time.Duration, burstPlayers)
		tick := time.NewTicker(burstSpacing)
		defer tick.Stop()
		var peers []*rig.Peer
		for i := range burstPlayers {
			client, peer := rig.Connect(b, s.gateway.URL, "defaultApp"), rig.NewPlayer(b, rig.PeerOptions{})
			peers = append(peers, peer)
			<-tick.C
			id := fmt.Sprintf("player%d.%d", round, i)
			client.Send("playStream", rig.StreamRequest(id, "cam", peer.Offer(), false, nil))
			answer := client.AwaitSDP(id)
			answered := time.Now()
			peer.SetAnswer(answer)
			go func() {
				<-peer.Picture()
				took <- time.Since(answered)
			}()
		}
		var all samples
		limit := time.NewTimer(patience)
		defer limit.Stop()
		for range peers {
			select {
			case one := <-took:
				all = append(all, one)
			case <-limit.C:
				b.Fatalf("%d of %d players have no picture after %v", burstPlayers-len(all), burstPlayers, patience)
			}
		}
		for _, peer := range peers {
			peer.Close()
		}
		return all
	}
}
