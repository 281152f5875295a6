package translate

import (
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Header extensions that clients offer.
const (
	// midExtension names the m-line of a packet. Clients that offer it make their tracks of m-lines; older ones
	// make them of the SSRCs in an answer.
	midExtension = "urn:ietf:params:rtp-hdrext:sdes:mid"
	// sendTimeExtension is offered by all browsers. Pion and GStreamer, which need SSRCs, do not offer it.
	sendTimeExtension = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
)

// canFollow reports whether a client shows whatever track it gets in an m-line, without another answer. It
// must find the m-line by the payload type alone: where the MID extension is agreed on, Chrome ignores
// packets without it, and LiveKit sends none with it.
func canFollow(media []offered) bool {
	kinds, used, isBrowser := MediaKinds{}, ptSet{}, false
	for _, m := range media {
		if kinds.Has(kindOf(m.MediaDescription)) || !hasExtension(m.Attributes, midExtension) {
			return false
		}
		kinds.add(m.MediaDescription)
		for _, f := range m.formats {
			if used.has(f.pt) {
				return false
			}
			used.add(f.pt)
		}
		isBrowser = isBrowser || hasExtension(m.Attributes, sendTimeExtension)
	}
	return isBrowser
}

// follow prepares an m-line for tracks that change, and returns the payload types to keep: without rtx, since
// clients ignore an rtx whose SSRC was not announced. LiveKit then repeats lost packets as they were.
func (m offered) follow(keep ptSet) ptSet {
	m.Attributes = withoutExtension(m.Attributes, midExtension)
	for _, f := range m.formats {
		if strings.EqualFold(f.name, nameRTX) {
			keep.remove(f.pt)
		}
	}
	return keep
}

// removeSSRCs removes the SSRCs from an answer's m-line: the client takes any.
func removeSSRCs(m *sdp.MediaDescription) {
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeySSRC || a.Key == sdp.AttrKeySSRCGroup
	})
}
