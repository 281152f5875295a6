package browser

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// judged is how many updates in a row, one a second, must be perfect. The first ones do not count, while Chromium looks for its
// bit rate and the SDK's filters for theirs, nor does a stretch in which the machine is too busy for the browser to send evenly.
const judged = 30

// update is what the SDK tells an app each second about the quality of a connection, and of what it concludes that.
type update struct {
	At             float64 // ms, on the page's clock
	Quality        string
	Client, Server float64 // bit/s, filtered
}

// told is a video rate as the gateway has sent it.
type told struct {
	At            float64 // ms, on the page's clock
	VideoRate     float64
	FPS           float64
	Width, Height int
}

// TestRates: on an undisturbed connection the SDK finds the quality perfect, whichever source the rates have, and a new picture
// size is told at once. The newest SDK sends its own statistics, the older one has a probe.
func TestRates(t *testing.T) {
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

// wantPerfect waits until the SDK has found a stream perfect for long enough.
func wantPerfect(t *testing.T, who string, st *stream) {
	t.Helper()
	var all, run []update
	for limit := time.Now().Add(3 * time.Minute); len(run) < judged; {
		if time.Now().After(limit) {
			t.Fatalf("%s is not perfect: %+v", who, all)
		}
		all = call[[]update](st.tab.tab, "qualities", st.index, len(all)+1)
		run = lastPerfect(all)
	}
	run = run[len(run)-judged:]
	var client, server float64
	for _, u := range run {
		client, server = client+u.Client/judged, server+u.Server/judged
	}
	off := 2 * math.Abs(client-server) / (client + server)
	t.Logf("%s: client %.0f, server %.0f bit/s over %d of %d updates: %.1f %% apart", who, client, server, judged, len(all), 100*off)
	if off > 0.1 {
		t.Errorf("%s: client %.0f and server %.0f bit/s are %.0f %% apart", who, client, server, 100*off)
	}
	wantEverySecond(t, who, call[[]told](st.tab.tab, "rates", st.index), run)
}

func lastPerfect(all []update) []update {
	for i, u := range slices.Backward(all) {
		if u.Quality != "PERFECT" {
			return all[i+1:]
		}
	}
	return all
}

// wantEverySecond: there is one message a second, less what the SDK takes to judge it. Single ones may be late on a busy machine.
func wantEverySecond(t *testing.T, who string, all []told, run []update) {
	t.Helper()
	all = slices.DeleteFunc(all, func(r told) bool { return r.At < run[0].At || r.At > run[judged-1].At })
	last := all[len(all)-1]
	mean := (last.At - all[0].At) / float64(len(all)-1)
	t.Logf("%s: messages are %.1f ms apart; the last is %+v", who, mean, last)
	if mean < 970 || mean > 1030 || len(all) < judged-2 {
		t.Errorf("%s: %d messages, %.1f ms apart", who, len(all), mean)
	}
	if last.Width != 320 || last.Height != 240 || last.FPS < 1 {
		t.Errorf("%s: the last message is %+v", who, last)
	}
}

// wantSources checks how many streams have which source, as the gateway's metrics say.
func wantSources(t *testing.T, g *rig.Gateway, client, probe int) {
	t.Helper()
	metrics := g.Metrics(t)
	for source, want := range map[string]int{"client": client, "probe": probe} {
		if line := fmt.Sprintf("wcs_rate_streams{source=%q} %d\n", source, want); !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
}
