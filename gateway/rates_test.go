package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/probe"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// inBubble runs a test on two pods with a fake clock, which advances only while all goroutines wait.
func inBubble(t *testing.T, mode apps.RateSource, change func(*Config), test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		for _, pod := range []string{podA, podB} {
			w.start(t, pod, func(c *Config) {
				for key, app := range c.Apps {
					app.Rates = mode
					c.Apps[key] = app
				}
				c.MaxProbes = 10
				if change != nil {
					change(c)
				}
			})
		}
		test(t, w)
	})
}

// rateMessage has the members of a video rate that tests check.
type rateMessage struct {
	MediaSessionID string
	VideoRate, FPS int
	NACK, PLI      int
	LostPackets    int
	Width, Height  int
}

const (
	inbound  = "inboundVideoRate"
	outbound = "outboundVideoRate"
)

// wantRates takes the next n rates of a kind and checks that they are a second apart.
func wantRates(t *testing.T, c *rig.Client, name string, n int) (last rateMessage) {
	t.Helper()
	var before time.Time
	for range n {
		m := c.Await(name)
		if !before.IsZero() && m.At.Sub(before) != time.Second {
			t.Errorf("%s after %v", name, m.At.Sub(before))
		}
		before = m.At
		m.Arg(t, 0, &last)
	}
	return last
}

func drainEvents(w *world) map[state.EventKind]int {
	counts := make(map[state.EventKind]int)
	for len(w.podEvents) > 0 {
		e := <-w.podEvents
		counts[e.Kind]++
	}
	return counts
}

// Clients that send no statistics: one probe for publisher and players, from 3 s after they are up.
func TestOneProbeMeasuresForPublisherAndPlayers(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podA)
		pass(2 * time.Second)
		if _, started := w.probe.probes(); started != 0 {
			t.Error("a probe though the clients may still describe their statistics")
		}
		want := rateMessage{MediaSessionID: "pub", VideoRate: 500_000, FPS: 30, LostPackets: 3, Width: 640, Height: 360}
		if got := wantRates(t, pub, inbound, 10); got != want {
			t.Errorf("publisher: %+v", got)
		}
		want.MediaSessionID = "play"
		if got := wantRates(t, play, outbound, 10); got != want {
			t.Errorf("player: %+v", got)
		}
		room, publisher := w.sfu.only(t, translate.RolePublish)
		running, started := w.probe.probes()
		target := w.probe.target(0)
		_, role, pod, _ := target.Identity.Parse()
		if running != 1 || started != 1 || target.Room != room || target.Publisher != publisher || role != translate.RoleProbe || pod != podA {
			t.Errorf("%d probes of %d: %+v", running, started, target)
		}
		g := w.pods[podA].metrics
		if n := testutil.ToFloat64(g.Metrics.Rates.Streams.WithLabelValues("probe")); n != 2 {
			t.Errorf("%v streams with a probe", n)
		}
		pub.Unpublish("pub", "s")
		pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
		synctest.Wait()
		if running, _ := w.probe.probes(); running != 0 {
			t.Error("the probe outlives its publisher")
		}
		if n := testutil.ToFloat64(g.Metrics.Rates.Streams.WithLabelValues("probe")) + testutil.ToFloat64(g.probe.Probes.WithLabelValues("running")); n != 0 {
			t.Errorf("gauges end at %v", n)
		}
	})
}

// With rates.source probe there is no wait for clients' statistics.
func TestProbeOnlyRatesDoNotWaitForStatistics(t *testing.T) {
	inBubble(t, apps.RatesProbe, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishOn(t, pub, podA, "pub", "s")
		up := time.Now()
		if m := pub.Await(inbound); m.At.Sub(up) > 3*time.Second {
			t.Errorf("first rate after %v", m.At.Sub(up))
		}
	})
}

// publishOn publishes a stream and its media.
func (w *world) publishOn(t *testing.T, c *rig.Client, pod, id, name string) {
	t.Helper()
	publishAV(t, c, id, name)
	c.AwaitSDP(id)
	w.mediaIn(pod, translate.RoomName("wcs."+name), translate.RolePublish)
	c.WantStatus(id, "PUBLISHING", "")
}

// A player elsewhere gets the figures of the publisher's probe, in one message a second for all players of
// its pod.
func TestPlayerOnAnotherPodReceivesRates(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		_, play := w.up(t, podA, podB)
		for _, id := range []string{"play-2", "play-3"} {
			playAV(t, play, id, "s")
			play.AwaitSDP(id)
			w.mediaIn(podB, "wcs.s", translate.RolePlay)
			play.WantStatus(id, "PLAYING", "")
		}
		wantRates(t, play, outbound, 1)
		pass(5 * time.Second)
		before := play.Count(outbound)
		drainEvents(w)
		pass(30 * time.Second)
		events := drainEvents(w)
		if events[state.EventRates] != 30 || events[state.EventWantRates] != 10 || len(events) != 2 {
			t.Errorf("events in 30 s: %v", events)
		}
		if n := play.Count(outbound) - before; n != 3*30 {
			t.Errorf("%d rates in 30 s for three players", n)
		}
		if _, started := w.probe.probes(); started != 1 {
			t.Errorf("%d probes", started)
		}
	})
}

// The publisher's application has no rates, so that the probe only serves the player on the other pod, and
// ends with it.
func TestProbeEndsWithLastRequest(t *testing.T) {
	inBubble(t, apps.RatesAuto, func(c *Config) {
		if c.Pod == podA {
			c.Apps["defaultApp"] = apps.App{Key: "defaultApp", Room: "wcs.{name}", Codecs: translate.DefaultCodecs(), Rates: apps.RatesOff}
		}
	}, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		wantRates(t, play, outbound, 5)
		if n := pub.Count(inbound); n != 0 {
			t.Error("rates sent to a client whose application has them off")
		}
		play.Stop("play", "s")
		play.WantStatus("play", "STOPPED", "Stopped by user")
		pass(probe.LocalRequest + probe.RemoteRequest + 2*time.Second)
		if running, _ := w.probe.probes(); running != 0 {
			t.Error("the probe runs without a request")
		}
		drainEvents(w)
		pass(time.Minute)
		if events := drainEvents(w); len(events) != 0 {
			t.Errorf("events %v", events)
		}
	})
}

// Streams of native publishers have no pod: the player's own probes.
func TestNativePublisherHasRates(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		w.sfu.set(func() {
			w.sfu.join("native.s", translate.Participant{Identity: "someone", Active: true, Tracks: avTracks})
		})
		play := w.connectAs(t, podB, "native")
		playAV(t, play, "play", "s")
		play.AwaitSDP("play")
		w.media(t, podB, translate.RolePlay)
		play.WantStatus("play", "PLAYING", "")
		wantRates(t, play, outbound, 3)
		if target := w.probe.target(0); target.Publisher != "someone" || target.Room != "native.s" {
			t.Errorf("probe %+v", target)
		}
		play.AwaitMatch("the size", func(m rig.Message) bool { return strings.Contains(m.Raw, `"streamerVideoWidth":640`) })
		w.probe.set(func() { w.probe.figures.Width, w.probe.figures.Height = 320, 180 })
		play.AwaitMatch("the new size", func(m rig.Message) bool { return strings.Contains(m.Raw, `"streamerVideoWidth":320`) })
	})
}

// With source off there are no messages and no probes.
func TestRatesOffSendsAndProbesNothing(t *testing.T) {
	inBubble(t, apps.RatesOff, func(c *Config) { c.Media.SilenceTimeout = time.Minute }, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		drainEvents(w)
		pass(5 * time.Minute)
		late := w.connect(t, podA)
		for who, c := range map[string]*rig.Client{"publisher": pub, "player": play, "late client": late} {
			if text := c.Names(); strings.Contains(text, "VideoRate") || strings.Contains(text, "webRTCMetrics") {
				t.Errorf("%s was sent %s", who, text)
			}
		}
		if events := drainEvents(w); len(events) != 0 {
			t.Errorf("events %v", events)
		}
		if _, started := w.probe.probes(); started != 0 {
			t.Errorf("%d probes", started)
		}
		if n := pub.Count("notifyStreamStatusEvent"); n != 0 {
			t.Error("silence was noticed without a source")
		}
	})
}

// With source client, clients that send no statistics get no rates.
func TestClientOnlyRatesStartNoProbe(t *testing.T) {
	inBubble(t, apps.RatesClient, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		pass(time.Minute)
		if _, started := w.probe.probes(); started != 0 || pub.Count(inbound)+play.Count(outbound) != 0 {
			t.Errorf("%d probes; %s; %s", started, pub.Names(), play.Names())
		}
	})
}

// With more streams than probes the rest waits, which a metric shows, and takes the slots of those that end.
func TestStreamsBeyondProbeLimitWait(t *testing.T) {
	inBubble(t, apps.RatesAuto, func(c *Config) { c.MaxProbes = 2 }, func(t *testing.T, w *world) {
		clients := make([]*rig.Client, 5)
		for i := range clients {
			clients[i] = w.connect(t, podA)
			w.publishOn(t, clients[i], podA, fmt.Sprintf("pub-%d", i), fmt.Sprintf("s%d", i))
		}
		pass(20 * time.Second)
		probes := w.pods[podA].metrics.probe.Probes
		if waiting, running := testutil.ToFloat64(probes.WithLabelValues("waiting")), testutil.ToFloat64(probes.WithLabelValues("running")); waiting != 3 || running != 2 {
			t.Errorf("%v run, %v wait", running, waiting)
		}
		for i, c := range clients {
			if c.Count(inbound) > 0 {
				c.Unpublish(fmt.Sprintf("pub-%d", i), fmt.Sprintf("s%d", i))
			}
		}
		pass(20 * time.Second)
		if waiting := testutil.ToFloat64(probes.WithLabelValues("waiting")); waiting != 1 || w.probe.most != 2 {
			t.Errorf("%v wait after two have ended; at most %d ran at a time", waiting, w.probe.most)
		}
	})
}

// A probe that does not find the publisher is retried at intervals.
func TestProbeIsRetried(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		w.probe.set(func() { w.probe.away = true })
		pub, _ := w.up(t, podA, podA)
		pass(time.Minute)
		if _, started := w.probe.probes(); started < 8 || started > 12 {
			t.Errorf("%d probes in a minute", started)
		}
		if n := pub.Count(inbound); n != 0 {
			t.Errorf("%d rates without a measurement", n)
		}
		w.probe.set(func() { w.probe.away = false })
		wantRates(t, pub, inbound, 5)
	})
}

// While a probe cannot measure, no outdated figures are sent.
func TestOldFiguresAreNotSent(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		wantRates(t, pub, inbound, 3)
		wantRates(t, play, outbound, 1)
		w.probe.set(func() { w.probe.mute = true })
		pass(probe.MaxAge + 2*time.Second)
		before := pub.Count(inbound) + play.Count(outbound)
		pass(time.Minute)
		if n := pub.Count(inbound) + play.Count(outbound) - before; n != 0 {
			t.Errorf("%d rates without a measurement", n)
		}
	})
}

func TestPublisherWithoutMediaIsEnded(t *testing.T) {
	inBubble(t, apps.RatesAuto, func(c *Config) { c.Media.SilenceTimeout = time.Minute }, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		pass(5 * time.Minute)
		w.probe.set(func() { w.probe.mute = true })
		pass(5 * time.Minute) // LiveKit may be unavailable
		w.probe.set(func() { w.probe.mute, w.probe.stalled = false, true })
		pass(58 * time.Second)
		if n := pub.Count("notifyStreamStatusEvent"); n != 0 {
			t.Fatalf("%s", pub.Names())
		}
		pass(5 * time.Second)
		pub.WantStatus("pub", "FAILED", "Failed by RTP activity")
		play.WantStatus("play", "FAILED", "Stopped by publisher stop")
		w.wantClean(t)
	})
}

// A publisher's session is resumed on another pod, which its participant's identity does not name. The rates
// of the publisher and of a player on a third pod continue.
func TestRatesContinueAfterResume(t *testing.T) {
	const podC = "cccccccc"
	kept := func(c *Config) {
		keepFor(time.Minute)(c)
		c.MaxProbes = 10
		for key, app := range c.Apps {
			app.Rates = apps.RatesProbe
			c.Apps[key] = app
		}
	}
	inBubble(t, apps.RatesProbe, kept, func(t *testing.T, w *world) {
		w.start(t, podC, kept)
		pub, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishOn(t, pub, podA, "pub", "s")
		play := w.connect(t, podC)
		playAV(t, play, "play", "s")
		play.AwaitSDP("play")
		w.mediaIn(podC, "wcs.s", translate.RolePlay)
		play.WantStatus("play", "PLAYING", "")
		wantRates(t, pub, inbound, 3)
		wantRates(t, play, outbound, 3)

		pub, _ = w.keptAlive(t, podB, "defaultApp", token)
		pub.WantStatus("pub", "PUBLISHING", "")
		pass(30 * time.Second)
		pub.Discard()
		play.Discard()
		wantRates(t, pub, inbound, 5)
		wantRates(t, play, outbound, 5)
		if running, started := w.probe.probes(); running != 1 || started != 2 {
			t.Errorf("%d probes run of %d that were started", running, started)
		}
	})
}

// A pod got figures from the publisher's previous pod and then resumed its session. Only another pod requests
// figures.
func TestProbeOfPublisherResumedHere(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		w.up(t, podA, podA)
		room, publisher := w.sfu.only(t, translate.RolePublish)
		a := w.pods[podA]
		a.env.Probes.Figures(publisher, podB, room)
		a.env.Bus.Deliver(state.Event{Kind: state.EventWantRates, From: podB, Identity: string(publisher), Room: string(room)})
		pass(probe.LocalRequest + 2*time.Second)
		if running, _ := w.probe.probes(); running != 1 {
			t.Errorf("%d probes", running)
		}
		pass(probe.RemoteRequest + 2*time.Second)
	})
}

// Without video there is no rate, but silence is detected.
func TestAudioPublisherWithoutMediaIsEnded(t *testing.T) {
	inBubble(t, apps.RatesAuto, func(c *Config) { c.Media.SilenceTimeout = time.Minute }, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		pub.Send("publishStream", rig.StreamRequest("pub", "s", offerFile(t, "publish-audio"), true, nil))
		pub.AwaitSDP("pub")
		room, id := w.sfu.only(t, translate.RolePublish)
		w.event(podA, translate.Event{Kind: translate.EventTrack, Room: room, Identity: id, Track: avTracks[0]})
		w.sfu.set(func() { w.sfu.rooms[room][id].Tracks, w.sfu.rooms[room][id].Active = avTracks[:1], true })
		pub.WantStatus("pub", "PUBLISHING", "")
		pass(5 * time.Minute)
		if n := pub.Count(inbound); n != 0 {
			t.Errorf("%d rates of no video", n)
		}
		w.probe.set(func() { w.probe.stalled = true })
		pass(time.Minute)
		pub.WantStatus("pub", "FAILED", "Failed by RTP activity")
	})
}

// The probe reports a new size: players on any pod get it within 2 s, and LiveKit's reports of the old one
// are ignored.
func TestPlayersReceiveSizeFromProbe(t *testing.T) {
	inBubble(t, apps.RatesAuto, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		w.sfu.set(func() {
			for _, list := range w.sfu.rooms {
				for _, p := range list {
					if len(p.Tracks) == 2 {
						video := p.Tracks[1]
						video.Width, video.Height = 640, 360
						p.Tracks = []translate.Track{p.Tracks[0], video}
					}
				}
			}
		})
		wantRates(t, pub, inbound, 3)
		for play.Count("notifyVideoFormat") > 0 {
			play.Await("notifyVideoFormat")
		}
		w.probe.set(func() { w.probe.figures.Width, w.probe.figures.Height = 1280, 720 })
		changed := time.Now()
		m := play.Await("notifyVideoFormat")
		if took := m.At.Sub(changed); took > 2*time.Second || !strings.Contains(m.Raw, `"streamerVideoWidth":1280,"streamerVideoHeight":720`) {
			t.Errorf("after %v: %s", took, m.Raw)
		}
		pass(time.Minute)
		if n := play.Count("notifyVideoFormat"); n != 0 {
			t.Errorf("%d further sizes: %s", n, play.Names())
		}
		play.Stop("play", "s")
		if s := play.WantStatus("play", "STOPPED", "Stopped by user"); s.Width != 1280 || s.Height != 720 {
			t.Errorf("STOPPED with %dx%d", s.Width, s.Height)
		}
		w.probe.set(func() { w.probe.mute = true }) // then LiveKit's sizes count again
		pass(probe.MaxAge + 10*time.Second)
		pub.Unpublish("pub", "s")
		if s := pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop"); s.Width != 640 {
			t.Errorf("UNPUBLISHED with %dx%d", s.Width, s.Height)
		}
	})
}

// A publisher's mutes are in the record: late players get them with PLAYING.
func TestLatePlayersReceiveMutes(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		mute := func(c *rig.Client, id, typ string) {
			c.Send("sendStreamEvent", map[string]any{"mediaSessionId": id, "type": typ})
		}
		publishAV(t, pub, "pub", "s")
		mute(pub, "pub", "audioMuted") // as soon as it has a connection
		pub.AwaitSDP("pub")
		w.media(t, podA, translate.RolePublish)
		wantMuted(t, pub, "pub", true, false)
		play := w.connect(t, podB)
		playAV(t, play, "play", "s")
		play.AwaitSDP("play")
		w.media(t, podB, translate.RolePlay)
		wantMuted(t, play, "play", true, false)

		mute(pub, "pub", "videoMuted")
		mute(pub, "pub", "audioUnmuted")
		mute(pub, "pub", "data")
		mute(pub, "nobody", "videoUnmuted")
		mute(play, "play", "audioMuted")
		pass(time.Second)
		play.Stop("play", "s")
		wantMuted(t, play, "play", false, true)
		late := w.connect(t, podB)
		playAV(t, late, "late", "s")
		late.AwaitSDP("late")
		w.media(t, podB, translate.RolePlay)
		wantMuted(t, late, "late", false, true)
		w.store.Restart() // what is registered again has it, too
		pass(10 * time.Second)
		if rec, err := w.pods[podB].env.Store.FindStream(t.Context(), "s"); err != nil || rec.AudioMuted || !rec.VideoMuted {
			t.Errorf("%+v, %v", rec, err)
		}
		if n := pub.Count("fail") + play.Count("fail"); n != 0 {
			t.Errorf("%s %s", pub.Names(), play.Names())
		}
	})
}

// wantMuted checks the stream's next status.
func wantMuted(t *testing.T, c *rig.Client, id string, audio, video bool) {
	t.Helper()
	m := c.AwaitMatch("status of "+id, func(m rig.Message) bool {
		return m.Name == "notifyStreamStatusEvent" && strings.Contains(m.Raw, `"`+id+`"`)
	})
	want := fmt.Sprintf(`"audioState":{"muted":%t},"videoState":{"muted":%t}`, audio, video)
	if !strings.Contains(m.Raw, want) {
		t.Errorf("%s, want %s", m.Raw, want)
	}
}
