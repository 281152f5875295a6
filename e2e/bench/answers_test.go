package bench

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const (
	warmUp       = 20
	publishPairs = 200
	playPairs    = 100
	publishers   = 8   // of measureCycle, each with a socket
	cycles       = 100 // of each publisher
	playBlock    = 40  // plays whose CPU is measured together
	playBlocks   = 8
)

// measurePublishAnswer measures publishStream → setRemoteSDP against the same offer, untrimmed, POSTed to
// LiveKit: with the default codecs, and with the fewest that browsers need.
func measurePublishAnswer(b *testing.B, p *programs, results *report) {
	publishAnswer(b, results, newStage(b, p), p.offer(b, "chrome156-publish-av.sdp"), translate.DefaultCodecs(),
		"publish answer", goal{Ratio: 0.70})
	few := newStageWith(b, p, map[string]string{"WCS_APPLICATIONS": "{defaultApp: {codecs: [opus, VP8]}}"})
	codecs, err := translate.ParseCodecs([]string{"opus", "VP8"})
	if err != nil {
		b.Fatal(err)
	}
	publishAnswer(b, results, few, p.offer(b, "chrome156-publish-av.sdp"), codecs, "publish answer, opus and VP8 only", goal{Ratio: 0.60})
}

// publishAnswer also measures the floor of the ratio: the offer as the gateway trims it, posted to LiveKit
// without a gateway.
func publishAnswer(b *testing.B, results *report, s *stage, offer string, codecs translate.CodecSet, measure string, wanted goal) {
	b.Helper()
	checked, err := translate.CheckPublishOffer(offer)
	if err != nil {
		b.Fatal(err)
	}
	trimmed, err := checked.Edit(translate.PublishEdit{Codecs: codecs})
	if err != nil {
		b.Fatal(err)
	}
	client, lk := dial(b, s.gateway.URL), newDirect(s)
	ours := func(i int) time.Duration {
		name := fmt.Sprintf("ours%d", i)
		took, err := client.round("publishStream", "unPublishStream", name, name, offer)
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	posted := func(kind, offer string) func(i int) time.Duration {
		return func(i int) time.Duration {
			room := fmt.Sprint(kind, i)
			token := lk.token(b, room, "publisher", true)
			start := time.Now()
			lk.post(b, token, offer, "")
			took := time.Since(start)
			lk.remove(b, room, "publisher")
			return took
		}
	}
	theirs := posted("theirs", offer)
	interleave(warmUp, ours, theirs)
	before := ownShare(b, s.gateway, "publish")
	a, c := interleave(publishPairs, ours, theirs)
	own := ownShare(b, s.gateway, "publish").minus(before)
	floor, untrimmed := interleave(publishPairs, posted("trimmed", trimmed.SDP), posted("untrimmed", offer))
	results.add(
		row{Measure: measure, Unit: "ms", Ours: millis(a.median()), Baseline: millis(c.median()), Against: "untrimmed offer to /whip/v1", Goal: wanted},
		row{Measure: "  gateway's own share (mean)", Unit: "ms", Ours: own.mean() * 1000},
		row{Measure: "  floor: the trimmed offer to /whip/v1", Unit: "ms", Ours: millis(floor.median()), Baseline: millis(untrimmed.median()), Against: "untrimmed offer to /whip/v1"},
	)
}

// measurePlayAnswer measures playStream → setRemoteSDP against ListParticipants and the untrimmed offer to
// LiveKit.
func measurePlayAnswer(b *testing.B, p *programs, results *report) {
	s := newStage(b, p)
	const name, room = "cam", "wcs.cam"
	rig.Connect(b, s.gateway.URL, "defaultApp").Publish("publisher", name, rig.NewPublisher(b, rig.PeerOptions{}))
	offer := p.offer(b, "chrome156-play-av.sdp")
	client, lk := dial(b, s.gateway.URL), newDirect(s)
	ours := func(i int) time.Duration {
		id := fmt.Sprintf("player%d", i)
		took, err := client.round("playStream", "stopStream", id, name, offer)
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	theirs := func(i int) time.Duration {
		identity := fmt.Sprintf("direct%d", i)
		token := lk.token(b, room, identity, false)
		start := time.Now()
		lk.post(b, token, offer, lk.tracks(b, room))
		took := time.Since(start)
		lk.remove(b, room, identity)
		return took
	}
	interleave(warmUp/2, ours, theirs)
	before := ownShare(b, s.gateway, "play")
	a, c := interleave(playPairs, ours, theirs)
	own := ownShare(b, s.gateway, "play").minus(before)
	results.add(
		row{Measure: "play answer", Unit: "ms", Ours: millis(a.median()), Baseline: millis(c.median()),
			Against: "ListParticipants and untrimmed offer to /whip/v1", Goal: goal{Ratio: 0.25}},
		row{Measure: "  gateway's own share (mean)", Unit: "ms", Ours: own.mean() * 1000},
	)
}

// measurePlayCPU measures LiveKit's CPU for plays over signalling against plays by WHIP, on the same LiveKit.
func measurePlayCPU(b *testing.B, p *programs, results *report) {
	s := newStage(b, p)
	whip := startGateway(b, p, rig.NewPorts(b), s.redis.Addr, map[string]string{
		"WCS_LIVEKIT_URL": s.livekit.URL, "WCS_LIVEKIT_APIKEY": s.livekit.Key, "WCS_LIVEKIT_APISECRET": s.livekit.Secret, "WCS_LIVEKIT_PLAY": "whip",
	})
	const name = "cam"
	rig.Connect(b, s.gateway.URL, "defaultApp").Publish("publisher", name, rig.NewPublisher(b, rig.PeerOptions{Mute: true}))
	offer := p.offer(b, "chrome156-play-av.sdp")
	plays := func(g *server, way string) func(i int) time.Duration {
		client := dial(b, g.URL)
		return func(i int) time.Duration {
			before := cpu(b, s.livekit.PID())
			for n := range playBlock {
				if _, err := client.round("playStream", "stopStream", fmt.Sprintf("%s%d.%d", way, i, n), name, offer); err != nil {
					b.Fatal(err)
				}
			}
			return (cpu(b, s.livekit.PID()) - before) / playBlock
		}
	}
	ours, theirs := plays(s.gateway, "signal"), plays(whip, "whip")
	interleave(1, ours, theirs)
	a, c := interleave(playBlocks, ours, theirs)
	results.add(row{Measure: "LiveKit's CPU per play and stop", Unit: "ms", Ours: millis(a.median()), Baseline: millis(c.median()),
		Against: "plays by WHIP", Goal: goal{Ratio: 0.9}})
}

// measureCycle measures the CPU of publish, answer, unpublish under load. A single client would measure
// mostly the wake-ups of an idle process.
func measureCycle(b *testing.B, p *programs, results *report) {
	s := newStage(b, p)
	offer := p.offer(b, "chrome156-publish-av.sdp")
	clients := make([]*socket, publishers)
	for i := range clients {
		clients[i] = dial(b, s.gateway.URL)
	}
	run := func(prefix string, each int) {
		var all errgroup.Group
		for c, client := range clients {
			all.Go(func() error { return publishAndEnd(client, fmt.Sprintf("%s%d.", prefix, c), each, offer) })
		}
		if err := all.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	run("warm", warmUp)
	gateway, sfu := cpu(b, s.gateway.PID()), cpu(b, s.livekit.PID())
	run("stream", cycles)
	gateway, sfu = cpu(b, s.gateway.PID())-gateway, cpu(b, s.livekit.PID())-sfu
	const n = cycles * publishers
	results.add(row{Measure: "gateway CPU per publish/unpublish", Unit: "ms", Ours: millis(gateway) / n, Baseline: millis(sfu) / n,
		Against: "LiveKit's CPU in the same cycles", Goal: goal{Ours: 1.5}})
}

func publishAndEnd(client *socket, prefix string, n int, offer string) error {
	for i := range n {
		name := fmt.Sprint(prefix, i)
		if _, err := client.round("publishStream", "unPublishStream", name, name, offer); err != nil {
			return err
		}
	}
	return nil
}

// interleave measures both n times, alternately and in changing order, so that the machine's load affects
// both alike.
func interleave(n int, ours, theirs func(i int) time.Duration) (a, b samples) {
	for i := range n {
		if i%2 == 0 {
			a = append(a, ours(i))
			b = append(b, theirs(i))
		} else {
			b = append(b, theirs(i))
			a = append(a, ours(i))
		}
	}
	return a, b
}

// histogram is the sum and count of a histogram in /metrics.
type histogram struct{ sum, count float64 }

// ownShare returns the time from a command to its answer minus LiveKit's part, in seconds.
func ownShare(b *testing.B, s *server, kind string) histogram {
	b.Helper()
	m := s.metrics(b)
	return histogram{m[`wcs_answer_own_seconds_sum{kind="`+kind+`"}`], m[`wcs_answer_own_seconds_count{kind="`+kind+`"}`]}
}

func (h histogram) minus(o histogram) histogram { return histogram{h.sum - o.sum, h.count - o.count} }
func (h histogram) mean() float64               { return h.sum / h.count }
