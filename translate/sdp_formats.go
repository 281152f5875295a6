package translate

import (
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
	clock    uint32
	fmtp     string // parameters
	codec    *codec // nil: none that LiveKit supports
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
	kind, formats, whole := kindOf(m), codecsOf(m), ptSet{}
	usable := formats[:0]
	for _, f := range formats {
		f.codec = lookupCodec(kind, f.name)
		if f.name == "" || f.codec != nil && f.codec.clock != f.clock {
			continue
		}
		if f.refs = refsOf(kind, f); f.refs == nil {
			whole.add(f.pt)
		}
		usable = append(usable, f)
	}
	return slices.DeleteFunc(usable, func(f format) bool { return !whole.hasAll(f.refs) })
}

// staticFormat returns a format, with its name and clock rate if it needs no rtpmap (RFC 3551 §6).
func staticFormat(pt uint8) format {
	switch pt {
	case 0:
		return format{pt: pt, name: "PCMU", clock: 8000}
	case 8:
		return format{pt: pt, name: "PCMA", clock: 8000}
	case 9:
		return format{pt: pt, name: "G722", clock: 8000}
	}
	return format{pt: pt}
}

// codecsOf returns the formats of an m-line that are static or have an rtpmap line, each once, with what
// their rtpmap, fmtp and rtcp-fb lines say. It reads them as LiveKit does, by pion's GetCodecMap, which costs
// a multiple: of several lines the first counts, and malformed ones are ignored, so that a name can be
// missing.
func codecsOf(m *sdp.MediaDescription) []format {
	mapped, count := ptSet{1<<0 | 1<<8 | 1<<9}, 3
	for _, a := range m.Attributes {
		if pt, ok := ptOf(a, "rtpmap"); ok && !mapped.has(pt) {
			mapped.add(pt)
			count++
		}
	}
	var formats []format
	var at [256]uint16 // by payload type: the index in formats + 1
	for _, text := range m.MediaName.Formats {
		pt, ok := parsePT(text)
		if !ok || at[pt] > 0 || !mapped.has(pt) {
			continue
		}
		if formats == nil {
			formats = make([]format, 0, min(len(m.MediaName.Formats), count))
		}
		formats = append(formats, staticFormat(pt))
		at[pt] = uint16(len(formats))
	}
	if formats == nil {
		return nil
	}
	all := false // have rtcp-fb lines
	for _, a := range m.Attributes {
		text, rest, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtcp-fb":
			all = all || text == "*"
			if pt, ok := parsePT(text); ok && at[pt] > 0 {
				formats[at[pt]-1].feedback = true
			}
		case "rtpmap", "fmtp":
			pt, err := strconv.ParseUint(text, 10, 8)
			if err != nil || len(text) == len(a.Value) || at[pt] == 0 {
				continue
			}
			if f := &formats[at[pt]-1]; a.Key == "rtpmap" {
				f.addMap(rest)
			} else if f.fmtp == "" {
				f.fmtp = rest
			}
		}
	}
	for i := range formats {
		formats[i].feedback = formats[i].feedback || all
	}
	return formats
}

// addMap reads <encoding name>/<clock rate>[/<encoding parameters>].
func (f *format) addMap(text string) {
	name, rest, hasClock := strings.Cut(text, "/")
	rate, _, _ := strings.Cut(rest, "/")
	clock, err := strconv.ParseUint(rate, 10, 32)
	if strings.Contains(text, " ") || hasClock && err != nil {
		return
	}
	if f.name == "" {
		f.name = name
	}
	if f.clock == 0 {
		f.clock = uint32(clock)
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
	if text == "" || len(text) > 3 || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		n = 10*n + int(digit)
	}
	return uint8(n), n < 256
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

// maxRestored bounds the payload types of an m-line that get the lines of videoFeedback: what LiveKit is sent
// must not be a multiple of what the client sent. stripCodecs removes the lines of ten at once.
const maxRestored = 16

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
		if f.codec != nil && !f.feedback && keep.has(f.pt) && count < maxRestored {
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
		pt, ok := ptOf(a, "rtpmap")
		if !ok || !missing.has(pt) {
			continue
		}
		missing.remove(pt)
		attrs = append(attrs, feedbackLines()[pt][:]...)
	}
	m.Attributes = attrs
}

// ptOf returns the payload type that an attribute with this key refers to.
func ptOf(a sdp.Attribute, key string) (pt uint8, ok bool) {
	if a.Key != key {
		return 0, false
	}
	text, _, _ := strings.Cut(a.Value, " ")
	return parsePT(text)
}
