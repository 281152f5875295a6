package browser

import (
	"slices"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// How many times in a row, once a second, the SDK must report a quality for it to count.
const (
	settledRun   = 5
	impairedRun  = 2 // a single one may be caused by a busy machine
	recoveredRun = 3
)

const (
	// tooLate is the limit for noticing an impairment, in ms. It takes a few seconds; the machine may be busy.
	tooLate = 30_000
	// qualityPatience is the timeout for any quality.
	qualityPatience = 2 * time.Minute
)

// richCamera are the constraints of a publisher with a high bitrate. Even under an impairment it stays above
// 50 kbit/s, below which the SDK judges differently.
var richCamera = options{"audio": true, "video": options{"width": 480, "height": 360, "minBitrate": 300, "maxBitrate": 400}}

// TestSDKNoticesBadPathAndRecovery checks that the SDK notices when the path between a client and LiveKit
// becomes bad, and when it recovers, for each source of the rates. The media of each stream passes a relay of
// its own.
func TestSDKNoticesBadPathAndRecovery(t *testing.T) {
	w := newWorld(t)
	s := w.newScene(t)
	var all []*relayed
	for _, c := range []struct {
		source, sdk string
		countsLoss  bool
	}{{"client", newestSDK, true}, {"probe", middleSDK, false}} {
		session := s.relayTab(c.sdk).login(defaultApp)
		up := session.startThrough(rig.StartRelay(t, w.stage.LiveKit.UDPPort), "publish", options{"name": s.name("up"), "constraints": richCamera})
		up.want(wcs.StatusPublishing, "")
		name := s.name("down")
		session.publish(name, options{"constraints": richCamera})
		down := session.startThrough(rig.StartRelay(t, w.stage.LiveKit.UDPPort), "play", options{"name": name})
		down.want(wcs.StatusPlaying, "")
		up.who, down.who = c.source+" publisher", c.source+" player"
		up.countsLoss, down.countsLoss = c.countsLoss, c.countsLoss
		all = append(all, up, down)
	}
	for _, r := range all {
		r.qualities(0, settledRun, "PERFECT")
		if up, down := r.relay.Traffic(); up.Passed == 0 || down.Passed == 0 {
			t.Fatalf("%s does not go through its relay: up %+v, down %+v", r.who, up, down)
		}
	}
	wantSources(t, w.stage.Gateway, 3, 3)
	// The loss is high, because LiveKit and Chromium compensate a lower one by retransmission.
	for _, d := range []rig.Direction{{Loss: 0.7}, {Rate: 150_000}} {
		impairAndRecover(t, all, d)
	}
}

// impairAndRecover impairs all streams at once, and then removes the impairment. A source that counts losses
// must have counted some.
func impairAndRecover(t *testing.T, all []*relayed, d rig.Direction) {
	t.Helper()
	before := make([]losses, len(all))
	for i, r := range all {
		before[i] = r.losses()
	}
	wantAll(t, all, d, impairedRun, "GOOD", "BAD")
	wantAll(t, all, rig.Direction{}, recoveredRun, "PERFECT")
	for i, r := range all {
		if r.countsLoss {
			after := call[losses](r.tab.tab, "lossesOver", r.index, before[i].LostPackets, before[i].NACK)
			t.Logf("%s with %+v: before %+v, after %+v", r.who, d, before[i], after)
		}
	}
}

// wantAll impairs all streams and waits until the SDK has reported one of these qualities n times in a row
// for each.
func wantAll(t *testing.T, all []*relayed, d rig.Direction, n int, qualities ...string) {
	t.Helper()
	since := make([]float64, len(all))
	for i, r := range all {
		since[i] = call[float64](r.tab.tab, "now")
		r.impair(d)
	}
	for i, r := range all {
		u := r.qualities(since[i], n, qualities...)
		took := u.At - since[i]
		t.Logf("%s with %+v: %s after %.1f s, client %.0f, server %.0f bit/s", r.who, d, u.Quality, took/1000, u.Client, u.Server)
		if took > tooLate && d != (rig.Direction{}) {
			t.Errorf("%s with %+v: %s only after %.0f ms", r.who, d, u.Quality, took)
		}
	}
}

// relayed is a stream whose media goes through a relay.
type relayed struct {
	*stream
	who        string
	relay      *rig.Relay
	published  bool
	countsLoss bool // the source of its rates counts lost packets and NACKs
}

func (s *scene) relayTab(sdk string) *legacyTab {
	s.t.Helper()
	return &legacyTab{tab: s.newTab(legacyScript(sdk), "page/legacy.js", "page/relay.js"), gateway: s.world.stage.Gateway.URL}
}

// startThrough starts a stream through a relay.
func (s *session) startThrough(relay *rig.Relay, verb string, o options) *relayed {
	s.tab.t.Helper()
	index := call[int](s.tab.tab, "startThrough", relay.Port, s.index, verb, o)
	return &relayed{stream: &stream{tab: s.tab, index: index}, relay: relay, published: verb == "publish"}
}

// impair impairs the direction of the media.
func (r *relayed) impair(d rig.Direction) {
	if r.published {
		r.relay.Impair(rig.Impairment{Up: d})
	} else {
		r.relay.Impair(rig.Impairment{Down: d})
	}
}

// qualities waits until the SDK has reported one of these qualities n times in a row since a time on the
// page's clock, and returns the first report.
func (r *relayed) qualities(since float64, n int, qualities ...string) update {
	r.tab.t.Helper()
	var all []update
	for limit := time.Now().Add(qualityPatience); time.Now().Before(limit); {
		all = call[[]update](r.tab.tab, "qualities", r.index, len(all)+1)
		first := 0
		for i, u := range all {
			if u.At < since || !slices.Contains(qualities, u.Quality) {
				first = i + 1
			} else if i-first == n-1 {
				return all[first]
			}
		}
	}
	r.tab.t.Fatalf("%s is not %v, %d times since %.0f ms: %+v", r.who, qualities, n, since, all)
	return update{}
}

// losses are the loss counters of a video rate, since the stream's start.
type losses struct{ LostPackets, NACK int }

// losses returns the counters of the last video rate.
func (r *relayed) losses() losses {
	r.tab.t.Helper()
	all := call[[]losses](r.tab.tab, "rates", r.index)
	return all[len(all)-1]
}
