package browser

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"

	"wcsgateway/translate/wcs"
)

// bars are the colours of the published picture, from left to right.
var bars = []color.RGBA{
	{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}, {0, 0, 0, 255}, {255, 255, 0, 255},
}

var barColours = []string{"#ff0000", "#00ff00", "#0000ff", "#ffffff", "#000000", "#ffff00"}

const colourTolerance = 24 // of 255: an encoder is coarse at its start

type snapshotResult struct {
	Event, Status string // base64
	Left          string // status of the requesting stream object
	Info          string // of the failure
}

// snapshot requests a picture of a stream.
func (s *session) snapshot(name string) snapshotResult {
	s.tab.t.Helper()
	return call[snapshotResult](s.tab.tab, "snapshot", s.index, name)
}

// snapshots publishes bars, as VP8 and as H264, and another page takes a picture of them.
func snapshots(s *scene, sdk string) {
	viewer := s.legacyTab(sdk).login(defaultApp)
	if got := viewer.snapshot(s.name("nobody")); got.Info != wcs.InfoStreamNotFound {
		s.t.Errorf("of an unknown stream: %+v", got)
	}
	for _, app := range []string{defaultApp, h264App} {
		publishers := s.legacyTab(sdk).login(app)
		name := s.name("bars-" + app)
		st := &stream{tab: publishers.tab, index: call[int](publishers.tab.tab, "publishBars", publishers.index, name, barColours, nil)}
		st.want(wcs.StatusPublishing, "")
		want := "VP8"
		if app == h264App {
			want = "H264"
		}
		if got := st.lastStatus().VideoCodec; got != want {
			s.t.Errorf("published as %s, want %s", got, want)
		}
		wantBars(s, viewer.snapshot(name))
		st.stop()
		st.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	}
}

func wantBars(s *scene, got snapshotResult) {
	s.t.Helper()
	if got.Event == "" || got.Event != got.Status || got.Left != "NEW" {
		s.t.Fatalf("event of %d, status of %d characters, stream is %q, info %q", len(got.Event), len(got.Status), got.Left, got.Info)
	}
	picture, err := base64.StdEncoding.DecodeString(got.Event)
	if err != nil {
		s.t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		s.t.Fatal(err)
	}
	size := img.Bounds().Size()
	if size.X != 2*size.Y { // a busy browser may send a smaller picture
		s.t.Errorf("size %v", size)
	}
	for i, want := range bars {
		at := image.Pt(size.X*(2*i+1)/(2*len(bars)), size.Y/2)
		r, g, b, _ := img.At(at.X, at.Y).RGBA()
		if far(r, want.R) || far(g, want.G) || far(b, want.B) {
			s.t.Errorf("bar %d is %d %d %d, want %v", i, r>>8, g>>8, b>>8, want)
		}
	}
}

func far(got uint32, want uint8) bool {
	d := int(got>>8) - int(want)
	return d > colourTolerance || -d > colourTolerance
}
