package translate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Errors of the SDP edits.
var (
	// ErrMalformedSDP: the text is not SDP, or cannot connect.
	ErrMalformedSDP = errors.New("malformed SDP")
	// ErrNoMedia: no audio or video m-line is both accepted and active. Clients send an SDP without any
	// m-line when both kinds are switched off.
	ErrNoMedia = errors.New("SDP without media")
	// ErrDirection: all m-lines of a publisher only receive, or all of a player only send.
	ErrDirection = errors.New("wrong direction")
	// ErrNoCommonCodecs: a player's offer contains no codec of any track of the stream, or an offer contains
	// none that LiveKit supports.
	ErrNoCommonCodecs = errors.New("no common codecs")
	// ErrRejected: an answer rejects all media.
	ErrRejected = errors.New("answer rejects all media")
)

// MediaKinds are the kinds of media in an SDP that are not rejected.
type MediaKinds struct{ Audio, Video bool }

// none reports whether there is neither audio nor video.
func (k MediaKinds) none() bool { return !k.Audio && !k.Video }

func (k *MediaKinds) add(m *sdp.MediaDescription) {
	k.Audio = k.Audio || kindOf(m) == Audio
	k.Video = k.Video || kindOf(m) == Video
}

// PlayOfferKinds returns the kinds of media for which a player's offer has usable m-lines. The errors are
// those of EditPlayOffer.
func PlayOfferKinds(offer string) (kinds MediaKinds, err error) {
	_, media, _, err := parseOffer(offer, sdp.AttrKeyRecvOnly)
	for _, m := range media {
		kinds.add(m.MediaDescription)
	}
	return kinds, err
}

// parseSDP parses an SDP of which marshalSDP reproduces the text.
func parseSDP(text string) (*sdp.SessionDescription, error) {
	if !strings.HasSuffix(text, "\n") {
		text += "\r\n" // pion rejects a last line without an end
	}
	// pion removes one character from the end of a line for each carriage return anywhere in it.
	if strings.Count(text, "\r") != strings.Count(text, "\r\n") {
		return nil, fmt.Errorf("%w: carriage return inside a line", ErrMalformedSDP)
	}
	d := new(sdp.SessionDescription)
	if err := d.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: not parsable", ErrMalformedSDP) // the parser's error contains client data
	}
	for i, m := range d.MediaDescriptions {
		// stripCodecs can leave an m-line in use without any codec: see disable.
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

// lineName identifies an m-line in an error.
func lineName(i int, m *sdp.MediaDescription) string {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	return fmt.Sprintf("m-line %d (%.8s, mid %.32q)", i, m.MediaName.Media, mid)
}

func kindOf(m *sdp.MediaDescription) Kind { return Kind(m.MediaName.Media) }

// takesPart reports whether an m-line is audio or video and neither rejected nor inactive. An offer's
// bundle-only m-line has port 0 and is not rejected (RFC 9143 §6).
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

// directionOf returns the m-line's own direction, else the session's (Firefox writes one there), else the
// default.
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
