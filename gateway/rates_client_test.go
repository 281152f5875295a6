package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/rates"
	"wcsgateway/translate"
)

// statistics sends an SDK's statistics of one of its streams: 500 kbit/s of video, of which LiveKit reports
// that it missed a tenth.
type statistics struct {
	c             *rig.Client
	id            string
	published     bool
	bytes         int
	width, height int
	rows          int
	report        time.Time // LiveKit's last sender report to a player; zero: it comes with each row
}

const (
	publisherHeaders = "transport.T01.timestamp,outbound-rtp.V.timestamp,outbound-rtp.V.bytesSent,outbound-rtp.V.framesEncoded,outbound-rtp.V.frameWidth,outbound-rtp.V.frameHeight," +
		"outbound-rtp.V.nackCount,outbound-rtp.V.pliCount,remote-inbound-rtp.R.timestamp,remote-inbound-rtp.R.packetsLost,remote-inbound-rtp.R.fractionLost"
	playerHeaders = "transport.T01.timestamp,inbound-rtp.V.timestamp,inbound-rtp.V.packetsLost,inbound-rtp.V.framesDecoded,inbound-rtp.V.frameWidth,inbound-rtp.V.frameHeight," +
		"inbound-rtp.V.nackCount,inbound-rtp.V.pliCount,remote-outbound-rtp.R.remoteTimestamp,remote-outbound-rtp.R.bytesSent"
)

func (s *statistics) describe() {
	headers := playerHeaders
	if s.published {
		headers = publisherHeaders
	}
	s.c.Send("webRTCMetricsClientDescription", map[string]any{"mediaSessionId": s.id, "compression": "none", "headers": headers})
}

// row sends a batch of one row, in the double encoding of 2.0.276.
func (s *statistics) row() {
	s.rows++
	now := time.Now().UnixMilli()
	var row string
	if s.published {
		row = fmt.Sprintf("%d;%d;%d;%d;%d;%d;2;1;%d;7;0.1", now, now, s.bytes, 30*s.rows, s.width, s.height, now)
	} else {
		report := now
		if !s.report.IsZero() {
			report = s.report.UnixMilli()
		}
		row = fmt.Sprintf("%d;%d;7;%d;%d;%d;2;1;%d;%d", now, now, 30*s.rows, s.width, s.height, report, s.bytes)
	}
	s.c.Send("webRTCMetricsBatch", map[string]any{"mediaSessionId": s.id, "metrics": fmt.Sprintf("[%q]", row)})
}

// run sends a row a second.
func (s *statistics) run(seconds int) {
	for range seconds {
		s.row()
		pass(time.Second)
		s.bytes += 500_000 / 8
	}
}

// A client that sends statistics receives rates from them, as long as it sends them.
func TestRatesFollowClientStatistics(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishOn(t, pub, podA, "pub", "s")
		stats := &statistics{c: pub, id: "pub", published: true, width: 640, height: 360}
		stats.describe()
		stats.run(60)
		want := rateMessage{MediaSessionID: "pub", VideoRate: 450_000, FPS: 30, NACK: 2, PLI: 1, LostPackets: 7, Width: 640, Height: 360}
		if got := wantRates(t, pub, inbound, 55); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if _, started := w.probe.probes(); started != 0 {
			t.Error("a probe for a client that sends statistics")
		}
		pass(10 * time.Second) // without a row
		for pub.Count(inbound) > 3 {
			pub.Await(inbound)
		}
		if got := wantRates(t, pub, inbound, 3); got.VideoRate != 500_000 || got.NACK != 0 {
			t.Errorf("instead of the client: %+v", got)
		}
		stats.run(20)
		for pub.Count(inbound) > 3 {
			pub.Await(inbound)
		}
		if got := wantRates(t, pub, inbound, 3); got != want {
			t.Errorf("again %+v, want %+v", got, want)
		}
		if running, started := w.probe.probes(); running != 0 || started != 1 {
			t.Errorf("%d probes of %d still run", running, started)
		}
	})
}

// Rates follow the phase of the client's own seconds, also when it drifts: they are sent shortly after the
// statistics arrive, at even intervals.
func TestRatesFollowPhaseOfStatistics(t *testing.T) {
	for offset := time.Duration(0); offset < time.Second; offset += 310 * time.Millisecond {
		inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
			pub := w.connect(t, podA)
			w.publishOn(t, pub, podA, "pub", "s")
			pass(offset)
			stats := &statistics{c: pub, id: "pub", published: true}
			stats.describe()
			var rows []time.Time
			for i := range 240 {
				rows = append(rows, time.Now())
				stats.row()
				stats.bytes += 500_000 / 8
				drift := time.Duration(i%80-40) * 100 * time.Microsecond // up to 4 ms in a second, either way
				pass(time.Second + drift)
			}
			wantPhase(t, pub, rows)
		})
	}
}

func wantPhase(t *testing.T, c *rig.Client, rows []time.Time) {
	t.Helper()
	before := c.Await(inbound).At
	n := c.Count(inbound)
	if n < len(rows)-10 {
		t.Fatalf("%d rates of %d rows", n, len(rows))
	}
	for range n {
		at := c.Await(inbound).At
		if d := at.Sub(before); d < 970*time.Millisecond || d > 1030*time.Millisecond {
			t.Errorf("%v between rates", d)
		}
		before = at
		i, _ := slices.BinarySearchFunc(rows, at, time.Time.Compare)
		if lag := at.Sub(rows[i-1]); lag < 20*time.Millisecond || lag > rates.MaxLag+2*rates.PhaseSlack {
			t.Errorf("a rate was sent after %v", lag)
		}
	}
}

// With source client, a client receives no rates without its statistics.
func TestRatesFromClientOnlyStopWithStatistics(t *testing.T) {
	inBubble(t, apps.RatesClient, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishOn(t, pub, podA, "pub", "s")
		stats := &statistics{c: pub, id: "pub", published: true}
		stats.describe()
		stats.run(10)
		wantRates(t, pub, inbound, 5)
		pass(rates.ClientWait + time.Second)
		before := pub.Count(inbound)
		pass(time.Minute)
		if n := pub.Count(inbound) - before; n != 0 {
			t.Errorf("%d rates without statistics", n)
		}
		if _, started := w.probe.probes(); started != 0 {
			t.Errorf("%d probes", started)
		}
	})
}

// The player receives the rate that LiveKit reports as sent, and not the size that it displays.
func TestPlayerReceivesRateThatLiveKitSends(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		theirs := &statistics{c: pub, id: "pub", published: true, width: 640, height: 360}
		theirs.describe()
		stats := &statistics{c: play, id: "play", width: 320, height: 180}
		stats.describe()
		for range 20 {
			theirs.row()
			stats.run(1)
			theirs.bytes += 500_000 / 8
		}
		want := rateMessage{MediaSessionID: "play", VideoRate: 500_000, FPS: 30, NACK: 2, PLI: 1, LostPackets: 7, Width: 320, Height: 180}
		if got := wantRates(t, play, outbound, 15); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if m := play.Await("notifyVideoFormat"); !strings.Contains(m.Raw, `"streamerVideoWidth":640`) || play.Count("notifyVideoFormat") != 0 {
			t.Errorf("%s and %d more", m.Raw, play.Count("notifyVideoFormat"))
		}
		if _, started := w.probe.probes(); started != 0 {
			t.Error("a probe for clients that send statistics")
		}
	})
}

// A player's first rate takes two sender reports. The client stays the source for that time.
func TestPlayerHasRatesBeforeSecondSenderReport(t *testing.T) {
	inBubble(t, apps.RatesAuto, func(c *Config) {
		c.Apps["defaultApp"] = apps.App{Key: "defaultApp", Room: "wcs.{name}", Codecs: translate.DefaultCodecs(), Rates: mode(c.Pod)}
	},
		func(t *testing.T, w *world) {
			_, play := w.up(t, podA, podB)
			stats := &statistics{c: play, id: "play", report: time.Now()}
			stats.describe()
			for range 7 {
				stats.row() // with the same report
				pass(time.Second)
			}
			if n := play.Count(outbound); n != 0 {
				t.Errorf("%d rates before the second report", n)
			}
			stats.report = time.Time{}
			stats.bytes = 7 * 500_000 / 8
			stats.run(10)
			if got := wantRates(t, play, outbound, 5); got.VideoRate != 500_000 {
				t.Errorf("%+v", got)
			}
			if _, started := w.probe.probes(); started != 0 {
				t.Error("a probe for a client that sends statistics")
			}
		})
}

// mode leaves only the players' pod with rates.
func mode(pod string) apps.RateSource {
	if pod == podB {
		return apps.RatesAuto
	}
	return apps.RatesOff
}

// The publisher's own statistics report a new size within 2 s.
func TestPlayersReceiveSizeFromPublisherStatistics(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		stats := &statistics{c: pub, id: "pub", published: true, width: 640, height: 360}
		stats.describe()
		stats.run(5)
		play.AwaitMatch("the size", func(m rig.Message) bool { return strings.Contains(m.Raw, `"streamerVideoWidth":640`) })
		changed := time.Now()
		stats.width, stats.height = 320, 180
		stats.run(5)
		m := play.AwaitMatch("the new size", func(m rig.Message) bool { return strings.Contains(m.Raw, `"streamerVideoWidth":320`) })
		if took := m.At.Sub(changed); took > 2*time.Second {
			t.Errorf("sent after %v", took)
		}
	})
}

// A publisher that sends statistics and no media.
func TestClientStatisticsWithoutMediaEndStream(t *testing.T) {
	inBubble(t, apps.RatesClient, func(c *Config) { c.Media.SilenceTimeout = 20 * time.Second }, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishOn(t, pub, podA, "pub", "s")
		stats := &statistics{c: pub, id: "pub", published: true}
		stats.describe()
		stats.run(60)
		pass(time.Minute) // nothing is known
		stats.run(30)
		if n := pub.Count("notifyStreamStatusEvent"); n != 0 {
			t.Fatal(pub.Names())
		}
		for range 25 {
			stats.row()
			pass(time.Second)
		}
		pub.WantStatus("pub", "FAILED", "Failed by RTP activity")
	})
}

// Invalid statistics are counted and bounded, and are not answered.
func TestInvalidStatisticsAreCountedAndBounded(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishOn(t, pub, podA, "pub", "s")
		stats := &statistics{c: pub, id: "pub", published: true}
		stats.row()                                                           // not described: garbage
		(&statistics{c: pub, id: "other"}).describe()                         // unknown
		(&statistics{c: w.connect(t, podA), id: "pub"}).row()                 // another session's: unknown
		pub.SendRaw(`{"message":"webRTCMetricsBatch","data":[5]}`)            // garbage
		pub.SendRaw(`{"message":"webRTCMetricsClientDescription"}`)           // garbage
		pub.Send("webRTCMetricsBatch", map[string]any{"mediaSessionId": nil}) // unknown
		stats.describe()
		synctest.Wait()
		for range 100 {
			stats.row()
		}
		synctest.Wait()
		counted := map[string]float64{}
		for _, result := range []string{"taken", "unknown", "excess", "invalid"} {
			counted[result] = testutil.ToFloat64(w.pods[podA].metrics.Metrics.Rates.ClientStats.WithLabelValues(result))
		}
		if counted["taken"] != rates.MessagesPerSecond-1 || counted["unknown"] != 3 || counted["invalid"] != 3 || counted["excess"] != 101-rates.MessagesPerSecond+1 {
			t.Errorf("%v", counted)
		}
		stats.run(10) // and the rates continue
		if got := wantRates(t, pub, inbound, 3); got.VideoRate != 450_000 {
			t.Errorf("%+v", got)
		}
		if n := pub.Count("fail"); n != 0 {
			t.Errorf("answered: %s", pub.Names())
		}
	})
}

// Only clients that use WebRTC are requested to send statistics, and only if the application uses them.
func TestOnlyWebRTCClientsAreAskedForStatistics(t *testing.T) {
	for _, tt := range []struct {
		mode      apps.RateSource
		providers []string
		asked     bool
	}{
		{apps.RatesAuto, []string{"WebRTC", "MSE", "WSPlayer"}, true},
		{apps.RatesClient, []string{"WebRTC"}, true},
		{apps.RatesAuto, []string{"MSE", "WebRTC"}, false},
		{apps.RatesAuto, nil, false},
		{apps.RatesProbe, []string{"WebRTC"}, false},
		{apps.RatesOff, []string{"WebRTC"}, false},
	} {
		inBubble(t, tt.mode, nil, func(t *testing.T, w *world) {
			c := w.dial(t, podA)
			c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": tt.providers})
			if m := c.Await("getUserData"); strings.Contains(m.Raw, "webRTCMetricsServerDescription") != tt.asked {
				t.Errorf("%s, providers %v: %s", tt.mode, tt.providers, m.Raw)
			}
		})
	}
}
