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
	impairAndRecover(t, all, rig.Direction{Loss: 0.7})
	if *more {
		impairAndRecover(t, all, rig.Direction{Rate: 150_000})
	}
}

// The pictures of a native publisher with two sizes, and a path for the smaller one and its sound only.
var (
	large = mediaWant{Audio: true, Video: true, Width: 640, Height: 360}
	small = mediaWant{Audio: true, Video: true, Width: 320, Height: 180}
)

const narrowPath = 200_000 // bit/s

// A native publisher sends its video in two sizes, WCS clients in one. LiveKit learns the bandwidth of a
// player from its REMB. While the path has no room for the larger picture, LiveKit sends the smaller one
// (docs/livekit-notes.md#players-over-signalling).
func TestPlayerOnNarrowPathGetsSmallerPictureOfNativePublisher(t *testing.T) {
	if !*more {
		t.Skip("takes a minute, -more is not set")
	}
	w := newWorld(t)
	s := w.newScene(t)
	name := s.name("layers")
	native := s.joinNative(name, "star")
	native.do("publish", native.room, large.Width, large.Height)
	relay := rig.StartRelay(t, w.stage.LiveKit.UDPPort)
	player := s.relayTab(newestSDK).login(nativeApp).startThrough(relay, "play", options{"name": name})
	player.who = "player"
	player.want(wcs.StatusPlaying, "")
	player.wantMedia(large)
	player.qualities(0, settledRun, "PERFECT")

	full := call[float64](player.tab.tab, "receivedRate", player.index)
	narrow := call[float64](player.tab.tab, "now")
	player.impair(rig.Direction{Rate: narrowPath})
	worse := player.qualities(narrow, impairedRun, "GOOD", "BAD")
	player.wantMedia(small)
	reduced := call[float64](player.tab.tab, "receivedRate", player.index)
	t.Logf("%.0f bit/s of %dx%d; with %d bit/s %s after %.1f s, then %.0f bit/s of %dx%d",
		full, large.Width, large.Height, narrowPath, worse.Quality, (worse.At-narrow)/1000, reduced, small.Width, small.Height)
	if reduced > narrowPath {
		t.Errorf("LiveKit still sends %.0f bit/s", reduced)
	}
	wide := call[float64](player.tab.tab, "now")
	player.impair(rig.Direction{})
	player.wantMedia(large)
	t.Logf("the larger picture is back after %.1f s", (call[float64](player.tab.tab, "now")-wide)/1000)
	native.leave()
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
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
