package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// AnswerEdit is what a WCS client needs changed in LiveKit's answer (design.md §3).
type AnswerEdit struct {
	// CommonStream, for players, becomes the msid stream id of audio and video: clients show the stream of the last
	// track only, and LiveKit gives each its own (protocol.md §4.3). "" = leave. Characters that are not
	// allowed there are replaced.
	CommonStream string
	// Kinds, for players with a CommonStream, are those that EditPlayOffer found; none = all. m-lines of another kind
	// become inactive, and so do those without a track: LiveKit answers sendonly even there. The client then shows the
	// stream of that track, which is none, so that the sound is lost, or waits for its first frame for ever.
	Kinds MediaKinds
	// TCPOnly leaves only TCP candidates, if the answer has one at all.
	TCPOnly bool
	// MinBitrate and MaxBitrate, in kbit/s, limit what the client sends as video: for publishers whose client does not
	// apply them by itself. 0 or less = no limit.
	MinBitrate, MaxBitrate int
}

// AnswerNotes is what was found while editing an answer.
type AnswerNotes struct {
	Kinds          MediaKinds // accepted in the answer
	AudioTrack     string     // track id of the accepted m-line's msid: LiveKit's track SID in an answer to a player
	VideoTrack     string
	NoTCPCandidate bool // TCPOnly was asked for and the answer has no TCP candidate, so it has all it had
}

// EditAnswer makes LiveKit's answer ready for a WCS client. m-lines, mids, payload types, ICE and DTLS lines stay, and so
// does the order of lines: LiveKit puts fmtp or rtcp-fb right behind the rtpmap of VP8 and H264, where clients look when
// they set their rate limits (protocol.md §4.4), because EditPublishOffer sees to it that there are some.
// The error is ErrMalformedSDP.
func EditAnswer(answer string, e AnswerEdit) (edited string, notes AnswerNotes, err error) {
	d, err := parseSDP(answer)
	if err != nil {
		return "", AnswerNotes{}, err
	}
	empty := slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return len(m.MediaName.Formats) == 0 })
	if len(d.MediaDescriptions) == 0 || empty { // pion takes an SDP that ends early
		return "", AnswerNotes{}, fmt.Errorf("%w: answer without m-line, or with an empty one", ErrMalformedSDP)
	}
	tcp := slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool {
		return slices.ContainsFunc(m.Attributes, isTCPCandidate)
	})
	notes.NoTCPCandidate = e.TCPOnly && !tcp
	for _, m := range d.MediaDescriptions {
		if e.CommonStream != "" {
			setStream(m, streamToken(e.CommonStream))
			if takesPart(d, m) && !(e.Kinds.plays(m) && hasTrack(m)) {
				setDirection(m, sdp.AttrKeyInactive)
			}
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

// isTCPCandidate: candidate:<foundation> <component> <transport> … (RFC 8839 §5.1).
func isTCPCandidate(a sdp.Attribute) bool {
	fields := strings.Fields(a.Value)
	return a.IsICECandidate() && len(fields) > 2 && strings.EqualFold(fields[2], "tcp")
}

// plays tells whether an m-line is of one of the kinds; none stands for all.
func (k MediaKinds) plays(m *sdp.MediaDescription) bool {
	return k.None() || k.Audio && kindOf(m) == Audio || k.Video && kindOf(m) == Video
}

// hasTrack tells whether an answer's m-line says what it sends.
func hasTrack(m *sdp.MediaDescription) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeyMsid || a.Key == sdp.AttrKeySSRC
	})
}

// setStream puts the tracks of an m-line into a stream. Track ids stay.
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

// replaceStream changes <stream> <track>; the track may be missing.
func replaceStream(msid, stream string) string {
	if _, track, ok := strings.Cut(msid, " "); ok {
		return stream + " " + track
	}
	return stream
}

// replaceSSRCStream changes <ssrc> <attribute>:<value>, as far as the attribute tells of a stream. Tracks with the same
// cname are played in step.
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

// streamToken makes a legal msid stream id of any text: it must not be able to add a line or a track.
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

// limitBitrate sets the limits of a video m-line, in kbit/s: the line b= for every client, x-google-… for Chrome, which
// knows a lower limit only by it.
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
	for _, f := range formatsOf(m) {
		if _, known := lookupCodec(Video, f.name); known {
			addParams(m, f.pt, limits)
		}
	}
}

// addParams adds key=value parameters to the fmtp line of a payload type, in place of earlier ones of the same keys. A
// new line comes right behind the rtpmap.
func addParams(m *sdp.MediaDescription, pt uint8, params []string) {
	i := formatLine(m, "fmtp", pt)
	if i < 0 {
		if at := rtpmapIndex(m, pt); at >= 0 {
			insertAfter(m, at, sdp.NewAttribute("fmtp", strconv.Itoa(int(pt))+" "+strings.Join(params, ";")))
		}
		return
	}
	format, old, _ := strings.Cut(m.Attributes[i].Value, " ")
	var all []string
	for p := range strings.SplitSeq(old, ";") {
		if p = strings.TrimSpace(p); p != "" && !slices.ContainsFunc(params, func(n string) bool { return sameKey(n, p) }) {
			all = append(all, p)
		}
	}
	m.Attributes[i].Value = format + " " + strings.Join(append(all, params...), ";")
}

func sameKey(a, b string) bool {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return strings.EqualFold(a, b)
}
