package browser

import (
	"slices"
	"testing"

	"wcsgateway/translate/wcs"
)

// figures are milliseconds of one start, on the page's clock.
type figures struct {
	Sent       float64 // publish() or play() → command sent: camera and offer
	Answer     float64 // command sent → setRemoteSDP
	Up         float64 // command sent → PUBLISHING or PLAYING
	FirstFrame float64 // player: command sent → first frame shown
}

// TestStartTimesArePrinted prints start times and asserts nothing about them: go test -run
// TestStartTimesArePrinted -v. The gateway is built with the race detector, and therefore slow.
func TestStartTimesArePrinted(t *testing.T) {
	const runs = 15
	w := newWorld(t)
	s := w.newScene(t)
	publishers, viewers := s.legacyTab(newestSDK).login(defaultApp), s.legacyTab(newestSDK).login(defaultApp)
	var published, played []figures
	for range runs {
		name := s.name("figure")
		publisher := publishers.publish(name, nil)
		player := viewers.play(name, nil)
		played = append(played, call[figures](viewers.tab.tab, "figures", player.index, true))
		published = append(published, call[figures](publishers.tab.tab, "figures", publisher.index, false))
		player.stop()
		player.want(wcs.StatusStopped, wcs.InfoStoppedByUser)
		publisher.stop()
		publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	}
	t.Logf("medians of %d runs, ms", runs)
	t.Logf("publish: camera and offer %.1f, answer %.1f, PUBLISHING %.1f after publishStream",
		median(published, func(f figures) float64 { return f.Sent }),
		median(published, func(f figures) float64 { return f.Answer }),
		median(published, func(f figures) float64 { return f.Up }))
	t.Logf("play: offer %.1f, answer %.1f, PLAYING %.1f, first frame %.1f after playStream",
		median(played, func(f figures) float64 { return f.Sent }),
		median(played, func(f figures) float64 { return f.Answer }),
		median(played, func(f figures) float64 { return f.Up }),
		median(played, func(f figures) float64 { return f.FirstFrame }))
}

func median(all []figures, of func(figures) float64) float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
