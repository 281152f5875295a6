package translate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

// The lines of formats mean to the edits what they mean to LiveKit, which reads them with pion.
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
		var got [256]codecLines
		codecsOf(m, &got)
		d := sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
		want := d.GetCodecMap()
		known += len(want) - 3 // the static ones
		for pt, c := range got {
			w := want[uint8(pt)]
			if (codecLines{w.Name, w.ClockRate, w.Fmtp}) != c {
				t.Fatalf("%v: payload type %d is %+v, to pion %+v", m.Attributes, pt, c, w)
			}
		}
	}
	if known < 1000 {
		t.Errorf("only %d formats were read", known)
	}
}
