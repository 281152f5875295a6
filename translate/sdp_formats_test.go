package translate

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

// The lines of formats mean to the edits what they mean to LiveKit, which reads them with pion. Only an
// rtpmap with another spelling of the payload type, such as 097, does not count: trim would not find it.
func TestFormatLinesAreReadAsByPion(t *testing.T) {
	keys := []string{"rtpmap", "rtpmap", "fmtp", "rtcp-fb", "ssrc"}
	parts := []string{
		"0", "8", "96", "97", "097", "255", "256", "-1", "*", " ", " ", " ", "VP8", "H264", "red", "/90000", "/8000", "/", "/2", "/x", "/4294967296", "apt=96", ";", ":", "\t", "",
	}
	rng := rand.New(rand.NewPCG(1, 1))
	known := 0
	for range 20_000 {
		m := &sdp.MediaDescription{}
		for range 1 + rng.IntN(8) {
			var value strings.Builder
			if rng.IntN(2) == 0 {
				value.WriteString(parts[rng.IntN(9)] + " ")
			}
			for range rng.IntN(6) {
				value.WriteString(parts[rng.IntN(len(parts))])
			}
			m.Attributes = append(m.Attributes, sdp.NewAttribute(keys[rng.IntN(len(keys))], value.String()))
		}
		for pt := range 256 {
			m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(pt))
		}
		d := sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
		want := d.GetCodecMap()
		known += len(want) - 3 // the static ones
		read := ptSet{}
		for _, f := range codecsOf(m) {
			read.add(f.pt)
			if w := want[f.pt]; w.Name != f.name || w.ClockRate != f.clock || w.Fmtp != f.fmtp {
				t.Fatalf("%v: a format is %+v, to pion %+v", m.Attributes, f, w)
			}
		}
		for pt, w := range want {
			spelled := func(a sdp.Attribute) bool {
				return a.Key == "rtpmap" && strings.HasPrefix(a.Value, strconv.Itoa(int(pt))+" ")
			}
			if !read.has(pt) && slices.ContainsFunc(m.Attributes, spelled) {
				t.Fatalf("%v: payload type %d was not read, to pion %+v", m.Attributes, pt, w)
			}
		}
	}
	if known < 1000 {
		t.Errorf("only %d formats were read", known)
	}
}
