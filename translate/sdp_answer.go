package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// AnswerEdit describes the changes that a WCS client needs in LiveKit's answer
// (docs/wcs-protocol.md#answers).
type AnswerEdit struct {
	// Fixes are those of the offer.
	Fixes OfferFixes
	// CommonStream, for players, becomes the msid stream id of audio and video. Clients show only the stream
	// of the last track, and LiveKit assigns each track its own. "" = unchanged. Illegal characters are
	// replaced.
	CommonStream string
	// Kinds, for players with a CommonStream, are those that EditPlayOffer returned; none = all. m-lines of
	// other kinds become inactive, and so do those without a track: LiveKit answers sendonly even there.
	// Otherwise the client would show the stream of a track that does not exist, so that the sound is lost,
	// or would wait for its first frame indefinitely.
	Kinds MediaKinds
	// Follow, for players, removes the SSRCs: the tracks of the m-lines change without another answer. It needs
	// an offer with EditedOffer.Follow.
	Follow bool
	// TCPOnly removes all candidates except TCP ones, if the answer has a TCP candidate.
	TCPOnly bool
	// MinBitrate and MaxBitrate, in kbit/s, limit the client's video. They are for publishers whose client
	// does not apply the limits itself. 0 or less = no limit.
	MinBitrate, MaxBitrate int
}

// AnswerNotes are facts about an edited answer.
type AnswerNotes struct {
	Kinds          MediaKinds // accepted in the answer
	AudioTrack     string     // track id of the accepted m-line's msid: LiveKit's track SID in an answer to a player
	VideoTrack     string
	NoTCPCandidate bool // TCPOnly was set, but the answer has no TCP candidate: all candidates stay
	Candidates     Candidates
}

// EditAnswer adapts LiveKit's answer for a WCS client. m-lines, mids, payload types, ICE and DTLS lines and
// the order of lines stay. LiveKit puts fmtp or rtcp-fb right after the rtpmap of VP8 and H264, where clients
// look when they set their rate limits; CheckedOffer.Edit ensures that there are such lines. The errors are
// ErrMalformedSDP, and ErrRejected if no media can flow: otherwise the client would wait for ICE without
// success.
func EditAnswer(answer string, e AnswerEdit) (edited string, notes AnswerNotes, err error) {
	d, err := parseSDP(answer)
	if err != nil {
		return "", AnswerNotes{}, err
	}
	empty := slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return len(m.MediaName.Formats) == 0 })
	if len(d.MediaDescriptions) == 0 || empty { // pion accepts a truncated SDP
		return "", AnswerNotes{}, fmt.Errorf("%w: answer without m-line, or with an empty one", ErrMalformedSDP)
	}
	if !slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return takesPart(d, m) }) {
		return "", AnswerNotes{}, ErrRejected
	}
	e.Fixes.undo(d)
	tcp := slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool {
		return slices.ContainsFunc(m.Attributes, isTCPCandidate)
	})
	notes.NoTCPCandidate = e.TCPOnly && !tcp
	for _, m := range d.MediaDescriptions {
		if e.CommonStream != "" {
			setStream(m, streamToken(e.CommonStream))
			if takesPart(d, m) && !((e.Kinds.none() || e.Kinds.Has(kindOf(m))) && hasTrack(m)) {
				setDirection(m, sdp.AttrKeyInactive)
			}
		}
		if e.Follow {
			removeSSRCs(m)
		}
		accepted := takesPart(d, m)
		if accepted {
			notes.Kinds.add(m)
			notes.addTrack(m)
		}
		if e.TCPOnly && tcp {
			m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
				return a.IsICECandidate() && !isTCPCandidate(a)
			})
		}
		if accepted && kindOf(m) == Video {
			limitBitrate(m, e.MinBitrate, e.MaxBitrate)
		}
	}
	notes.Candidates = candidatesOf(d)
	edited, err = marshalSDP(d)
	return edited, notes, err
}

func (n *AnswerNotes) addTrack(m *sdp.MediaDescription) {
	msid, _ := m.Attribute(sdp.AttrKeyMsid)
	_, track, _ := strings.Cut(msid, " ")
	switch kindOf(m) {
	case Audio:
		n.AudioTrack = track
	case Video:
		n.VideoTrack = track
	}
}

// isTCPCandidate parses candidate:<foundation> <component> <transport> … (RFC 8839 §5.1).
func isTCPCandidate(a sdp.Attribute) bool {
	if !a.IsICECandidate() {
		return false
	}
	fields := strings.Fields(a.Value)
	return len(fields) > 2 && strings.EqualFold(fields[2], "tcp")
}

// hasTrack reports whether an answer's m-line names the track that it sends.
func hasTrack(m *sdp.MediaDescription) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeyMsid || a.Key == sdp.AttrKeySSRC
	})
}

// setStream moves the tracks of an m-line into a stream. Track ids stay.
func setStream(m *sdp.MediaDescription, stream string) {
	for i, a := range m.Attributes {
		switch a.Key {
		case sdp.AttrKeyMsid:
			m.Attributes[i].Value = replaceStream(a.Value, stream)
		case sdp.AttrKeySSRC:
			m.Attributes[i].Value = replaceSSRCStream(a.Value, stream)
		}
	}
}

// replaceStream changes <stream> in "<stream> <track>"; the track can be absent.
func replaceStream(msid, stream string) string {
	if _, track, ok := strings.Cut(msid, " "); ok {
		return stream + " " + track
	}
	return stream
}

// replaceSSRCStream changes <ssrc> <attribute>:<value> if the attribute names a stream. Tracks with the same
// cname are played in sync.
func replaceSSRCStream(value, stream string) string {
	ssrc, attr, _ := strings.Cut(value, " ")
	key, old, _ := strings.Cut(attr, ":")
	switch key {
	case "msid":
		return ssrc + " msid:" + replaceStream(old, stream)
	case "mslabel", "cname":
		return ssrc + " " + key + ":" + stream
	}
	return value
}

// maxStreamToken is the longest msid stream id (RFC 8830 §2).
const maxStreamToken = 64

// streamToken converts any text to a legal msid stream id, which cannot add a line or a track.
func streamToken(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.!#$%&'*+^`{|}~", r):
			return r
		}
		return '_'
	}, s)
	if s == "-" { // means: no stream
		return "_"
	}
	return s[:min(len(s), maxStreamToken)]
}

// limitBitrate sets the limits of a video m-line, in kbit/s: the line b= for every client, x-google-… for
// Chrome, which has no other lower limit.
func limitBitrate(m *sdp.MediaDescription, low, high int) {
	var limits []string
	if low > 0 {
		limits = append(limits, "x-google-min-bitrate="+strconv.Itoa(low))
	}
	if high > 0 {
		limits = append(limits, "x-google-max-bitrate="+strconv.Itoa(high))
		m.Bandwidth = slices.DeleteFunc(m.Bandwidth, func(b sdp.Bandwidth) bool {
			return !b.Experimental && (b.Type == "AS" || b.Type == "TIAS")
		})
		m.Bandwidth = append(m.Bandwidth,
			sdp.Bandwidth{Type: "AS", Bandwidth: uint64(high)}, sdp.Bandwidth{Type: "TIAS", Bandwidth: uint64(high) * 1000})
	}
	if len(limits) == 0 {
		return
	}
	limited := ptSet{}
	for _, f := range formatsOf(m) {
		if f.codec != nil {
			limited.add(f.pt)
		}
	}
	addParams(m, limited, limits)
}

// addParams adds key=value parameters to the first fmtp line of each of these payload types and replaces
// earlier values of the same keys. A new line is inserted right after the rtpmap.
func addParams(m *sdp.MediaDescription, pts ptSet, params []string) {
	added, without := strings.Join(params, ";"), pts
	for _, a := range m.Attributes {
		if pt, ok := ptOf(a, "fmtp"); ok {
			without.remove(pt)
		}
	}
	attrs := make([]sdp.Attribute, 0, len(m.Attributes))
	for _, a := range m.Attributes {
		if pt, ok := ptOf(a, "fmtp"); ok && pts.has(pt) {
			pts.remove(pt)
			format, old, _ := strings.Cut(a.Value, " ")
			a.Value = format + " " + withoutParams(old, params) + added
		}
		attrs = append(attrs, a)
		if pt, ok := ptOf(a, "rtpmap"); ok && without.has(pt) {
			without.remove(pt)
			attrs = append(attrs, sdp.NewAttribute("fmtp", strconv.Itoa(int(pt))+" "+added))
		}
	}
	m.Attributes = attrs
}

// withoutParams returns the parameters of an fmtp line, each with a semicolon, except those with a key of
// params.
func withoutParams(old string, params []string) string {
	var kept strings.Builder
	kept.Grow(len(old) + 1)
	for p := range strings.SplitSeq(old, ";") {
		if p = strings.TrimSpace(p); p != "" && !slices.ContainsFunc(params, func(n string) bool { return sameKey(n, p) }) {
			kept.WriteString(p)
			kept.WriteByte(';')
		}
	}
	return kept.String()
}

func sameKey(a, b string) bool {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return strings.EqualFold(a, b)
}
