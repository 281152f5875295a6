package browser

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// judged is how many updates in a row, one a second, must be perfect, and judgedMore how many with the flag
// more. Updates after uneven messages, or after a second with missing frames, do not count and do not break
// the row: the SDK then judges the busy machine, as it does not divide by the elapsed time.
const judged, judgedMore = 12, 30

// An update counts if the last messages were about a second apart and had about all frames. The SDK's
// filters no longer depend on earlier messages.
const (
	evenly = 5
	uneven = 100.0 // ms
)

// update is the SDK's report to an app, each second, of a connection's quality and the rates it is based on.
type update struct {
	At             float64 // ms, on the page's clock
	Quality        string
	Client, Server float64 // bit/s, filtered
}

// sentRate is a video rate as the gateway has sent it.
type sentRate struct {
	At            float64 // ms, on the page's clock
	VideoRate     float64
	FPS           float64
	Width, Height int
}

// TestSDKReportsPerfectQualityOnUndisturbedPath checks that on an undisturbed connection the SDK reports
// perfect quality for each source of the rates, and that a new picture size is announced immediately. The
// newest SDK sends its own statistics, the older one has a probe.
func TestSDKReportsPerfectQualityOnUndisturbedPath(t *testing.T) {
	w := newWorld(t)
	s := w.newScene(t)
	pairs := []struct {
		source, sdk       string
		publisher, player *stream
	}{{source: "client", sdk: newestSDK}, {source: "probe", sdk: middleSDK}}
	for i := range pairs {
		p, name := &pairs[i], s.name("rates")
		p.publisher = s.legacyTab(p.sdk).login(defaultApp).publish(name, nil)
		p.player = s.legacyTab(p.sdk).login(defaultApp).play(name, nil)
	}
	for _, p := range pairs {
		wantPerfect(t, p.source+" publisher", p.publisher)
		wantPerfect(t, p.source+" player", p.player)
	}
	for _, p := range pairs {
		p.publisher.tab.do("resize", p.publisher.index, 160, 120)
		p.player.wantSize(160, 120)
		p.player.wantMedia(mediaWant{Audio: true, Video: true, Width: 160, Height: 120})
		took := call[float64](p.player.tab.tab, "sizeLead", p.player.index, 160, 120)
		t.Logf("%s: the size was announced %.0f ms after it was shown", p.source, took)
		if took > 4000 { // it takes up to 2 s; the machine may be busy
			t.Errorf("%s: the size was announced %.0f ms after it was shown", p.source, took)
		}
	}
	wantSources(t, w.stage.Gateway, 2, 2)
}

// wantPerfect waits until the SDK has reported perfect quality for long enough.
func wantPerfect(t *testing.T, who string, st *stream) {
	t.Helper()
	wanted := judged
	if *more {
		wanted = judgedMore
	}
	var all, run []update
	var sent []sentRate
	for limit := time.Now().Add(3 * time.Minute); len(run) < wanted; {
		if time.Now().After(limit) {
			t.Fatalf("%s is not perfect: %+v, sent %+v", who, all, sent)
		}
		all = call[[]update](st.tab.tab, "qualities", st.index, len(all)+1)
		sent = call[[]sentRate](st.tab.tab, "rates", st.index)
		run = lastPerfect(all, sent)
	}
	var client, server float64
	for _, u := range run {
		client, server = client+u.Client/float64(len(run)), server+u.Server/float64(len(run))
	}
	off := 2 * math.Abs(client-server) / (client + server)
	t.Logf("%s: client %.0f, server %.0f bit/s over %d of %d updates: %.1f %% apart", who, client, server, len(run), len(all), 100*off)
	if off > 0.1 {
		t.Errorf("%s: client %.0f and server %.0f bit/s are %.0f %% apart", who, client, server, 100*off)
	}
	wantEverySecond(t, who, sent)
}

// lastPerfect returns the last updates that count, back to one that is not perfect.
func lastPerfect(all []update, sent []sentRate) (run []update) {
	for _, u := range slices.Backward(all) {
		switch {
		case !evenBefore(sent, u.At):
		case u.Quality != "PERFECT":
			return run
		default:
			run = append(run, u)
		}
	}
	return run
}

// evenBefore reports whether the messages before an update were evenly spaced, with even frame counts.
func evenBefore(sent []sentRate, at float64) bool {
	n, _ := slices.BinarySearchFunc(sent, at, func(r sentRate, at float64) int { return cmp.Compare(r.At, at) })
	if n < evenly {
		return false
	}
	for i := n - evenly + 1; i < n; i++ {
		if math.Abs(sent[i].At-sent[i-1].At-1000) > uneven || math.Abs(sent[i].FPS-cameraRate) > cameraRate/10 {
			return false
		}
	}
	return true
}

// wantEverySecond checks the median interval of messages: single ones may be late on a busy machine.
func wantEverySecond(t *testing.T, who string, sent []sentRate) {
	t.Helper()
	var apart []float64
	for i := range sent[1:] {
		apart = append(apart, sent[i+1].At-sent[i].At)
	}
	slices.Sort(apart)
	median, last := apart[len(apart)/2], sent[len(sent)-1]
	t.Logf("%s: messages are %.1f ms apart; the last is %+v", who, median, last)
	if median < 970 || median > 1030 {
		t.Errorf("%s: messages are %.1f ms apart", who, median)
	}
	if last.Width != 320 || last.Height != 240 || last.FPS < 1 {
		t.Errorf("%s: the last message is %+v", who, last)
	}
}

// wantSources checks the number of streams per source in the gateway's metrics.
func wantSources(t *testing.T, g *rig.Gateway, client, probe int) {
	t.Helper()
	metrics := g.Metrics(t)
	for source, want := range map[string]int{"client": client, "probe": probe} {
		if line := fmt.Sprintf("wcs_rate_streams{source=%q} %d\n", source, want); !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
}
