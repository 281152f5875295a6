package translate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pion/sdp/v3"
)

// format is a payload type of an m-line that LiveKit can use.
type format struct {
	pt       uint8
	name     string // encoding name as offered
	fmtp     string // parameters
	feedback bool   // has rtcp-fb lines, or a wildcard applies
	// refs are the payload types that this one depends on: the one that rtx repeats, or those that RED wraps.
	// nil: none.
	refs []uint8
}

// ptSet is a set of payload types of one m-line.
type ptSet [4]uint64

func (s *ptSet) add(pt uint8) { s[pt/64] |= 1 << (pt % 64) }

func (s *ptSet) remove(pt uint8) { s[pt/64] &^= 1 << (pt % 64) }

func (s *ptSet) has(pt uint8) bool { return s[pt/64]&(1<<(pt%64)) != 0 }

// formatsOf lists the formats of an m-line, in its order, except unusable ones:
//   - a payload type without rtpmap, unless it is PCMU, PCMA or G722: LiveKit rejects the whole offer for any
//     other;
//   - a codec that LiveKit supports, at another clock rate;
//   - rtx without apt, or with the apt of an absent payload type, and such a RED: stripCodecs leaves them
//     behind. Called with "opus" it leaves RED, which LiveKit would then use with nothing in it.
func formatsOf(m *sdp.MediaDescription) []format {
	var codecs [256]codecLines
	feedback, all := codecsOf(m, &codecs)
	var formats []format
	whole := ptSet{}
	for _, text := range m.MediaName.Formats {
		pt, ok := parsePT(text)
		c := codecs[pt]
		if !ok || c.name == "" {
			continue
		}
		if codec, supported := lookupCodec(kindOf(m), c.name); supported && codec.clock != c.clock {
			continue
		}
		f := format{pt: pt, name: c.name, fmtp: c.fmtp, feedback: all || feedback.has(pt)}
		f.refs = refsOf(kindOf(m), f)
		if formats == nil {
			formats = make([]format, 0, len(m.MediaName.Formats))
		}
		formats = append(formats, f)
		if f.refs == nil {
			whole.add(pt)
		}
	}
	return slices.DeleteFunc(formats, func(f format) bool { return !whole.hasAll(f.refs) })
}

// codecLines is what the rtpmap and fmtp lines of a payload type say.
type codecLines struct {
	name  string
	clock uint32
	fmtp  string
}

// codecsOf reads the rtpmap and fmtp lines of an m-line as LiveKit does, by pion's GetCodecMap, which costs a
// multiple: of several lines the first counts, and malformed ones are ignored. It returns which payload types
// have rtcp-fb lines, and whether all have.
func codecsOf(m *sdp.MediaDescription, codecs *[256]codecLines) (feedback ptSet, all bool) {
	codecs[0], codecs[8], codecs[9] = codecLines{name: "PCMU", clock: 8000}, codecLines{name: "PCMA", clock: 8000}, codecLines{name: "G722", clock: 8000}
	for _, a := range m.Attributes {
		text, rest, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtcp-fb":
			all = all || text == "*"
			if pt, ok := parsePT(text); ok {
				feedback.add(pt)
			}
		case "rtpmap", "fmtp":
			pt, err := strconv.ParseUint(text, 10, 8)
			if err != nil || len(text) == len(a.Value) {
				continue
			}
			if a.Key == "rtpmap" {
				codecs[pt].addMap(rest)
			} else if codecs[pt].fmtp == "" {
				codecs[pt].fmtp = rest
			}
		}
	}
	return feedback, all
}

// addMap reads <encoding name>/<clock rate>[/<encoding parameters>].
func (c *codecLines) addMap(text string) {
	name, rest, hasClock := strings.Cut(text, "/")
	rate, _, _ := strings.Cut(rest, "/")
	clock, err := strconv.ParseUint(rate, 10, 32)
	if strings.Contains(text, " ") || hasClock && err != nil {
		return
	}
	if c.name == "" {
		c.name = name
	}
	if c.clock == 0 {
		c.clock = uint32(clock)
	}
}

// refsOf returns the payload types that a format refers to. An unreadable reference becomes the format
// itself, which is not usable alone and so is never found. The RED of a video m-line does not name what it
// wraps.
func refsOf(kind Kind, f format) []uint8 {
	var refs []string
	switch {
	case strings.EqualFold(f.name, nameRTX):
		apt, _ := f.param("apt")
		refs = []string{apt}
	case kind == Audio && strings.EqualFold(f.name, nameRED):
		refs = strings.Split(f.fmtp, "/")
	default:
		return nil
	}
	pts := make([]uint8, 0, len(refs))
	for _, text := range refs {
		pt, ok := parsePT(strings.TrimSpace(text))
		if !ok {
			pt = f.pt
		}
		pts = append(pts, pt)
	}
	return pts
}

// parsePT accepts one spelling of a payload type only: with leading zeros its other lines would not be found.
func parsePT(text string) (uint8, bool) {
	if text == "" || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return uint8(n), err == nil && n <= math.MaxUint8 && text[0] >= '0'
}

// param returns the last parameter of a name, key=value;key=value, ignoring case.
func (f format) param(name string) (value string, ok bool) {
	for p := range strings.SplitSeq(f.fmtp, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

func (s *ptSet) hasAll(pts []uint8) bool {
	return !slices.ContainsFunc(pts, func(pt uint8) bool { return !s.has(pt) })
}

// allOf returns the set of all these formats.
func allOf(formats []format) ptSet {
	s := ptSet{}
	for _, f := range formats {
		s.add(f.pt)
	}
	return s
}

// withRefs adds the rtx, and optionally the RED, of the payload types in the set. An empty set stays empty.
func withRefs(formats []format, keep ptSet, red bool) ptSet {
	out := ptSet{}
	for _, f := range formats {
		if f.refs == nil && keep.has(f.pt) || f.refs != nil && (red || strings.EqualFold(f.name, nameRTX)) && keep.hasAll(f.refs) {
			out.add(f.pt)
		}
	}
	return out
}

func (s ptSet) empty() bool { return s == ptSet{} }

// trim removes every payload type that is not in keep from the m-line, with its rtpmap, fmtp and rtcp-fb
// lines. If keep is empty, the m-line is unchanged: an m-line needs a format.
func trim(m *sdp.MediaDescription, keep ptSet) {
	if keep.empty() {
		return
	}
	m.MediaName.Formats = slices.DeleteFunc(m.MediaName.Formats, func(text string) bool {
		pt, ok := parsePT(text)
		return !ok || !keep.has(pt)
	})
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		text, ofFormat := formatOf(a)
		if !ofFormat || text == "*" {
			return false
		}
		pt, ok := parsePT(text)
		return !ok || !keep.has(pt)
	})
}

// formatOf returns the payload type, or the wildcard, that an attribute refers to.
func formatOf(a sdp.Attribute) (pt string, ok bool) {
	switch a.Key {
	case "rtpmap", "fmtp", "rtcp-fb":
		pt, _, _ = strings.Cut(a.Value, " ")
		return pt, true
	}
	return "", false
}

// videoFeedback is the feedback that every browser offers for a video codec.
var videoFeedback = [...]string{"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}

// feedbackLines are the rtcp-fb lines with videoFeedback, by payload type.
var feedbackLines = sync.OnceValue(func() *[256][len(videoFeedback)]sdp.Attribute {
	var lines [256][len(videoFeedback)]sdp.Attribute
	for pt := range lines {
		for i, fb := range videoFeedback {
			lines[pt][i] = sdp.NewAttribute("rtcp-fb", strconv.Itoa(pt)+" "+fb)
		}
	}
	return &lines
})

// restoreFeedback adds the rtcp-fb lines of video codecs that stripCodecs removed: called with "G722"
// (payload type 9) it removes those of every 9x, VP8 among them. The browser's own description still has
// them. Without them LiveKit answers without retransmission and key frame requests.
func restoreFeedback(m *sdp.MediaDescription, formats []format, keep ptSet) {
	if kindOf(m) != Video {
		return
	}
	missing := ptSet{}
	count := 0
	for _, f := range formats {
		if _, known := lookupCodec(Video, f.name); known && !f.feedback && keep.has(f.pt) {
			missing.add(f.pt)
			count++
		}
	}
	if count == 0 {
		return
	}
	attrs := make([]sdp.Attribute, 0, len(m.Attributes)+count*len(videoFeedback))
	for _, a := range m.Attributes {
		attrs = append(attrs, a)
		if a.Key != "rtpmap" {
			continue
		}
		text, _ := formatOf(a)
		pt, ok := parsePT(text)
		if !ok || !missing.has(pt) {
			continue
		}
		missing.remove(pt)
		attrs = append(attrs, feedbackLines()[pt][:]...)
	}
	m.Attributes = attrs
}

// rtpmapIndex returns the index of the rtpmap line of a payload type, or -1.
func rtpmapIndex(m *sdp.MediaDescription, pt uint8) int { return formatLine(m, "rtpmap", pt) }

// formatLine returns the index of the first line of this key for a payload type, or -1.
func formatLine(m *sdp.MediaDescription, key string, pt uint8) int {
	return slices.IndexFunc(m.Attributes, func(a sdp.Attribute) bool {
		if a.Key != key {
			return false
		}
		text, _ := formatOf(a)
		n, ok := parsePT(text)
		return ok && n == pt
	})
}
