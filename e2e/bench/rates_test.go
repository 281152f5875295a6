package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const (
	ratedStreams = 50
	rateWatch    = 20 * time.Second
	// rateStart is the time until all streams receive rates: a probe starts 3 s after PUBLISHING at the
	// earliest.
	rateStart = 8 * time.Second
)

// measureRates measures the cost of video rates by source. The publishers' applications differ only in the
// source.
func measureRates(b *testing.B, p *programs, results *report) {
	s := newStageWith(b, p, map[string]string{
		"WCS_APPLICATIONS": `{off: {rates: "off"}, client: {rates: client}, probe: {rates: probe}}`,
	})
	rated(b, s, "off") // warm
	off, client, probe := rated(b, s, "off"), rated(b, s, "client"), rated(b, s, "probe")
	results.add(
		row{Measure: "video rates of 100 publishers that send statistics", Unit: "% of a core", Ours: 100 * (client.cpu - off.cpu)},
		row{Measure: fmt.Sprintf("a probe of %.0f kbit/s at 25 frames/s", probe.kbps), Unit: "% of a core", Ours: probe.cpu - off.cpu},
		row{Measure: "  memory", Unit: "KB", Ours: probe.memory - off.memory},
		row{Measure: "  LiveKit's CPU for it", Unit: "% of a core", Ours: probe.livekit - off.livekit},
	)
}

// rateCost is the cost of a stream: CPU in percent of a core, memory in KB.
type rateCost struct{ cpu, livekit, memory, kbps float64 }

// rated publishes and watches. The publishers of the application client send statistics.
func rated(b *testing.B, s *stage, app string) rateCost {
	b.Helper()
	empty := settle(b, s.gateway)
	var clients []*rig.Client
	var peers []*rig.Peer
	for i := range ratedStreams {
		c := rig.Connect(b, s.gateway.URL, app)
		peer := rig.NewPublisher(b, rig.PeerOptions{Video: true})
		id := fmt.Sprintf("%s-%d", app, i)
		c.Publish(id, id, peer)
		clients, peers = append(clients, c), append(peers, peer)
	}
	ended := make(chan struct{})
	var senders sync.WaitGroup
	if app == "client" {
		for i, c := range clients {
			senders.Go(func() { sendStatistics(c, fmt.Sprintf("%s-%d", app, i), ended) })
		}
	}
	wait(b, rateStart)
	mine, theirs, told := cpu(b, s.gateway.PID()), cpu(b, s.livekit.PID()), ratesTold(b, s)
	wait(b, rateWatch)
	cost := rateCost{cpu: percent(cpu(b, s.gateway.PID()) - mine), livekit: percent(cpu(b, s.livekit.PID()) - theirs)}
	if told = ratesTold(b, s) - told; app != "off" && told < 0.9*ratedStreams*rateWatch.Seconds() {
		b.Errorf("%s: %.0f rates were sent in %v to %d publishers", app, told, rateWatch, ratedStreams)
	}
	cost.memory = (settle(b, s.gateway).inUse() - empty.inUse()) / 1000 / ratedStreams
	if app == "probe" {
		var r struct{ VideoRate float64 }
		clients[0].Await("inboundVideoRate").Arg(b, 0, &r)
		cost.kbps = r.VideoRate / 1000
	}
	close(ended)
	senders.Wait()
	for i := range clients {
		clients[i].Close()
		peers[i].Close()
	}
	s.gateway.awaitConnections(b, 0)
	return cost
}

func ratesTold(b *testing.B, s *stage) float64 {
	return s.gateway.metrics(b)[`wcs_rate_messages_total{kind="publish"}`]
}

// percent converts CPU time to percent of a core for one stream.
func percent(used time.Duration) float64 {
	return 100 * used.Seconds() / rateWatch.Seconds() / ratedStreams
}

func (m memory) inUse() float64 { return m.heapSpans + m.stacks }

// sendStatistics sends a publisher's statistics each second, as the newest SDK does.
func sendStatistics(c *rig.Client, id string, ended <-chan struct{}) {
	const report = "outbound-rtp.OT01V1"
	c.Send("webRTCMetricsClientDescription", map[string]any{"mediaSessionId": id, "compression": "none", "headers": "transport.T01.timestamp," +
		report + ".timestamp," + report + ".bytesSent," + report + ".framesEncoded," + report + ".frameWidth," + report + ".frameHeight," + report + ".nackCount," + report + ".pliCount," +
		"remote-inbound-rtp.RIV1.timestamp,remote-inbound-rtp.RIV1.packetsLost,remote-inbound-rtp.RIV1.fractionLost"})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		now := time.Now().UnixMilli()
		row := fmt.Sprintf("%d.123;%d.456;%d;%d;320;240;0;1;%d.789;0;0", now, now, 40_000*i, 25*i, now)
		c.Send("webRTCMetricsBatch", map[string]any{"mediaSessionId": id, "metrics": fmt.Sprintf("[%q]", row)})
	}
}
