package translate

import (
	"slices"
	"strconv"
	"strings"

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
type ptSet map[uint8]bool

// formatsOf lists the formats of an m-line, in its order, except unusable ones:
//   - a payload type without rtpmap, unless it is PCMU, PCMA or G722: LiveKit rejects the whole offer for any
//     other;
//   - a codec that LiveKit supports, at another clock rate;
//   - rtx without apt, or with the apt of an absent payload type, and such a RED: stripCodecs leaves them
//     behind. Called with "opus" it leaves RED, which LiveKit would then use with nothing in it.
//
// It reads the m-line with the same function as LiveKit, so that both see the same formats.
func formatsOf(m *sdp.MediaDescription) []format {
	codecs, feedback := codecsOf(m)
	var all []format
	whole := ptSet{}
	for _, text := range m.MediaName.Formats {
		pt, ok := parsePT(text)
		c, known := codecs[pt]
		if !ok || !known || c.Name == "" {
			continue
		}
		if codec, supported := lookupCodec(kindOf(m), c.Name); supported && codec.clock != c.ClockRate {
			continue
		}
		f := format{pt: pt, name: c.Name, fmtp: c.Fmtp, feedback: feedback["*"] || feedback[text]}
		f.refs = refsOf(kindOf(m), f)
		all = append(all, f)
		if f.refs == nil {
			whole[pt] = true
		}
	}
	return slices.DeleteFunc(all, func(f format) bool { return !whole.hasAll(f.refs) })
}

// codecsOf reads the rtpmap and fmtp lines of an m-line, and returns which payload types have rtcp-fb lines.
// Most lines of an offer are rtcp-fb lines, and reading them costs more than all others.
func codecsOf(m *sdp.MediaDescription) (codecs map[uint8]sdp.Codec, feedback map[string]bool) {
	lines := make([]sdp.Attribute, 0, len(m.Attributes))
	feedback = make(map[string]bool)
	for _, a := range m.Attributes {
		switch pt, ofFormat := formatOf(a); {
		case a.Key == "rtcp-fb":
			feedback[pt] = true
		case ofFormat:
			lines = append(lines, a)
		}
	}
	d := sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{{Attributes: lines}}}
	return d.GetCodecMap(), feedback
}

// refsOf returns the payload types that a format refers to. An unreadable reference becomes the format
// itself, which is not usable alone and so is never found. The RED of a video m-line does not name what it
// wraps.
func refsOf(kind Kind, f format) []uint8 {
	var refs []string
	switch {
	case strings.EqualFold(f.name, nameRTX):
		refs = []string{f.params()["apt"]}
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
	n, err := strconv.ParseUint(text, 10, 8)
	return uint8(n), err == nil && strconv.FormatUint(n, 10) == text
}

// params parses the parameters, key=value;key=value. The keys are in lower case.
func (f format) params() map[string]string {
	params := map[string]string{}
	for p := range strings.SplitSeq(f.fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		params[strings.ToLower(key)] = value
	}
	return params
}

func (s ptSet) hasAll(pts []uint8) bool {
	return !slices.ContainsFunc(pts, func(pt uint8) bool { return !s[pt] })
}

// allOf returns the set of all these formats.
func allOf(formats []format) ptSet {
	s := ptSet{}
	for _, f := range formats {
		s[f.pt] = true
	}
	return s
}

// withRefs adds the rtx, and optionally the RED, of the payload types in the set. An empty set stays empty.
func withRefs(formats []format, keep ptSet, red bool) ptSet {
	out := ptSet{}
	for _, f := range formats {
		switch {
		case f.refs == nil:
			out[f.pt] = keep[f.pt]
		case red || strings.EqualFold(f.name, nameRTX):
			out[f.pt] = keep.hasAll(f.refs)
		}
	}
	return out
}

func (s ptSet) empty() bool {
	for _, has := range s {
		if has {
			return false
		}
	}
	return true
}

// trim removes every payload type that is not in keep from the m-line, with its rtpmap, fmtp and rtcp-fb
// lines. If keep is empty, the m-line is unchanged: an m-line needs a format.
func trim(m *sdp.MediaDescription, keep ptSet) {
	if keep.empty() {
		return
	}
	m.MediaName.Formats = slices.DeleteFunc(m.MediaName.Formats, func(text string) bool {
		pt, ok := parsePT(text)
		return !ok || !keep[pt]
	})
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		text, ofFormat := formatOf(a)
		if !ofFormat || text == "*" {
			return false
		}
		pt, ok := parsePT(text)
		return !ok || !keep[pt]
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
		if _, known := lookupCodec(Video, f.name); known && !f.feedback && keep[f.pt] {
			missing[f.pt] = true
			count++
		}
	}
	if count == 0 {
		return
	}
	attrs := make([]sdp.Attribute, 0, len(m.Attributes)+count*len(videoFeedback))
	for _, a := range m.Attributes {
		attrs = append(attrs, a)
		text, _ := formatOf(a)
		pt, ok := parsePT(text)
		if a.Key != "rtpmap" || !ok || !missing[pt] {
			continue
		}
		missing[pt] = false
		for _, fb := range videoFeedback {
			attrs = append(attrs, sdp.NewAttribute("rtcp-fb", text+" "+fb))
		}
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
