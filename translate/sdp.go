package translate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Errors of the SDP edits, to be tested with errors.Is.
var (
	// ErrMalformedSDP: the text is no SDP, or one that cannot connect.
	ErrMalformedSDP = errors.New("malformed SDP")
	// ErrNoMedia: there is no audio or video m-line that is neither rejected nor inactive. Clients send
	// an SDP without any m-line when both kinds are switched off (protocol.md §2.3).
	ErrNoMedia = errors.New("SDP without media")
	// ErrDirection: a publisher's m-line only receives, or a player's only sends (design.md §3).
	ErrDirection = errors.New("wrong direction")
	// ErrNoCommonCodecs: the player's offer has no codec of any track of the stream, or an offer has none that LiveKit knows.
	ErrNoCommonCodecs = errors.New("no common codecs")
)

// MediaKinds tells which kinds of media an SDP has that are not rejected.
type MediaKinds struct{ Audio, Video bool }

// None tells that there is neither audio nor video.
func (k MediaKinds) None() bool { return !k.Audio && !k.Video }

func (k *MediaKinds) add(m *sdp.MediaDescription) {
	k.Audio = k.Audio || kindOf(m) == Audio
	k.Video = k.Video || kindOf(m) == Video
}

// PlayOfferKinds tells for which kinds of media a player's offer has usable m-lines. The errors are those of
// EditPlayOffer.
func PlayOfferKinds(offer string) (kinds MediaKinds, err error) {
	_, media, err := parseOffer(offer, sdp.AttrKeyRecvOnly)
	for _, m := range media {
		kinds.add(m.MediaDescription)
	}
	return kinds, err
}

// parseSDP parses an SDP that marshalSDP can give back as it was.
func parseSDP(text string) (*sdp.SessionDescription, error) {
	if !strings.HasSuffix(text, "\n") {
		text += "\r\n" // pion refuses a last line without an end
	}
	// pion takes one character off the end of a line for each carriage return anywhere in it.
	if strings.Count(text, "\r") != strings.Count(text, "\r\n") {
		return nil, fmt.Errorf("%w: carriage return inside a line", ErrMalformedSDP)
	}
	d := new(sdp.SessionDescription)
	if err := d.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: not parsable", ErrMalformedSDP) // the parser's error repeats what the client sent
	}
	for i, m := range d.MediaDescriptions {
		// stripCodecs can leave an m-line that is meant to be used without any: see disable.
		if len(m.MediaName.Formats) == 0 && !takesPart(d, m) {
			return nil, fmt.Errorf("%w: %s has no format", ErrMalformedSDP, lineName(i, m))
		}
	}
	return d, nil
}

func marshalSDP(d *sdp.SessionDescription) (string, error) {
	b, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("marshal SDP: %w", err)
	}
	return string(b), nil
}

// lineName names an m-line in an error.
func lineName(i int, m *sdp.MediaDescription) string {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	return fmt.Sprintf("m-line %d (%.8s, mid %.32q)", i, m.MediaName.Media, mid)
}

func kindOf(m *sdp.MediaDescription) Kind { return Kind(m.MediaName.Media) }

// takesPart tells whether an m-line is audio or video and neither rejected nor inactive. An offer's bundle-only
// m-line has port 0 and is not rejected (RFC 9143 §6).
func takesPart(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	if kindOf(m) != Audio && kindOf(m) != Video {
		return false
	}
	_, bundleOnly := m.Attribute("bundle-only")
	if m.MediaName.Port.Value == 0 && !bundleOnly {
		return false
	}
	return directionOf(d, m) != sdp.AttrKeyInactive
}

func isDirection(a sdp.Attribute) bool {
	switch a.Key {
	case sdp.AttrKeySendRecv, sdp.AttrKeySendOnly, sdp.AttrKeyRecvOnly, sdp.AttrKeyInactive:
		return true
	}
	return false
}

// directionOf is the m-line's own direction, else the session's (Firefox writes one there), else the default.
func directionOf(d *sdp.SessionDescription, m *sdp.MediaDescription) string {
	for _, attrs := range [][]sdp.Attribute{m.Attributes, d.Attributes} {
		if i := slices.IndexFunc(attrs, isDirection); i >= 0 {
			return attrs[i].Key
		}
	}
	return sdp.AttrKeySendRecv
}

func setDirection(m *sdp.MediaDescription, direction string) {
	a := sdp.NewPropertyAttribute(direction)
	if i := slices.IndexFunc(m.Attributes, isDirection); i >= 0 {
		m.Attributes[i] = a
		return
	}
	m.Attributes = append(m.Attributes, a)
}

// insertAfter puts attributes behind the m-line's attribute with this index.
func insertAfter(m *sdp.MediaDescription, i int, attrs ...sdp.Attribute) {
	m.Attributes = slices.Insert(m.Attributes, i+1, attrs...)
}
