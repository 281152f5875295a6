package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// OfferFixes are the lines that an edit added to an offer, and that EditAnswer removes from the answer. The
// zero value: none.
type OfferFixes struct {
	unbundled bool                 // the offer had no BUNDLE group with its only m-line in use
	noMid     [maxOfferMLines]bool // m-lines that had no mid
}

// semanticsBundle is the kind of a group of m-lines that share one transport (RFC 9143).
const semanticsBundle = "BUNDLE"

// fixTransport makes an offer one that LiveKit can connect: each m-line has a mid, and those in use are in
// one BUNDLE group, whose first m-line has the credentials of the transport. LiveKit has one transport, and
// rejects every m-line outside the first BUNDLE group of an offer. So an offer without a group, as
// GStreamer's, is possible only with one m-line in use.
func fixTransport(d *sdp.SessionDescription, media []offered) (fixes OfferFixes, err error) {
	lines, fixes, err := addMIDs(d)
	if err != nil {
		return fixes, err
	}
	mids := bundleOf(d, media)
	if mids == nil {
		if err := checkUnbundled(d, media, fixes); err != nil {
			return fixes, err
		}
		mids, fixes.unbundled = []string{midOf(media[0].MediaDescription)}, true
	}
	mids = slices.DeleteFunc(mids, func(mid string) bool { return lines[mid] == nil })
	tag := slices.IndexFunc(mids, func(mid string) bool { return missingCredential(d, lines[mid]) == "" })
	if tag < 0 {
		return fixes, fmt.Errorf("%w: no %s", ErrMalformedSDP, missingCredential(d, lines[mids[0]]))
	}
	mids[0], mids[tag] = mids[tag], mids[0]
	setGroup(d, semanticsBundle+" "+strings.Join(mids, " "))
	return fixes, nil
}

func midOf(m *sdp.MediaDescription) string {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	return mid
}

// addMIDs adds a new mid to each m-line without one, and returns the m-lines by their mids.
func addMIDs(d *sdp.SessionDescription) (lines map[string]*sdp.MediaDescription, fixes OfferFixes, err error) {
	lines = make(map[string]*sdp.MediaDescription, len(d.MediaDescriptions))
	for _, m := range d.MediaDescriptions {
		mid := midOf(m)
		if mid != "" && lines[mid] != nil {
			return nil, fixes, fmt.Errorf("%w: two m-lines with one mid", ErrMalformedSDP)
		}
		lines[mid] = m
	}
	delete(lines, "")
	next := 0
	for i, m := range d.MediaDescriptions {
		if midOf(m) != "" {
			continue
		}
		for lines[strconv.Itoa(next)] != nil {
			next++
		}
		mid := strconv.Itoa(next)
		m.Attributes = append(withoutKey(m.Attributes, sdp.AttrKeyMID), sdp.NewAttribute(sdp.AttrKeyMID, mid))
		lines[mid], fixes.noMid[i] = m, true
	}
	return lines, fixes, nil
}

// bundleOf returns the mids of the BUNDLE group with all m-lines in use, or nil.
func bundleOf(d *sdp.SessionDescription, media []offered) []string {
	for _, a := range d.Attributes {
		group := strings.Fields(a.Value)
		if a.Key != sdp.AttrKeyGroup || len(group) == 0 || group[0] != semanticsBundle {
			continue
		}
		outside := func(m offered) bool { return !slices.Contains(group, midOf(m.MediaDescription)) }
		if !slices.ContainsFunc(media, outside) {
			return group[1:]
		}
	}
	return nil
}

// checkUnbundled rejects offers of several transports.
func checkUnbundled(d *sdp.SessionDescription, media []offered, fixes OfferFixes) error {
	if len(media) == 1 {
		return nil
	}
	for i, m := range d.MediaDescriptions {
		if fixes.noMid[i] && slices.ContainsFunc(media, func(o offered) bool { return o.MediaDescription == m }) {
			return fmt.Errorf("%w: no mid in m-line %d (%.8s)", ErrMalformedSDP, i, m.MediaName.Media)
		}
	}
	return fmt.Errorf("%w: no BUNDLE group has all m-lines in use", ErrMalformedSDP)
}

// missingCredential returns the key of an attribute that the transport of an m-line needs, and that neither
// the m-line nor the session has; "" if there are all.
func missingCredential(d *sdp.SessionDescription, m *sdp.MediaDescription) string {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		_, common := d.Attribute(key)
		if _, own := m.Attribute(key); !common && !own {
			return key
		}
	}
	return ""
}

// setGroup makes a group the first one of an offer: LiveKit reads no other.
func setGroup(d *sdp.SessionDescription, group string) {
	if first, _ := d.Attribute(sdp.AttrKeyGroup); first == group {
		return
	}
	d.Attributes = append(withoutKey(d.Attributes, sdp.AttrKeyGroup), sdp.NewAttribute(sdp.AttrKeyGroup, group))
}

func withoutKey(attrs []sdp.Attribute, key string) []sdp.Attribute {
	return slices.DeleteFunc(attrs, func(a sdp.Attribute) bool { return a.Key == key })
}

// undo removes from an answer what fixTransport added to its offer. LiveKit puts the candidates into the
// first m-line. Without a BUNDLE group they count for that one only, so the m-line in use gets them as well.
func (f OfferFixes) undo(d *sdp.SessionDescription) {
	for i, m := range d.MediaDescriptions[:min(len(d.MediaDescriptions), maxOfferMLines)] {
		if f.noMid[i] {
			m.Attributes = withoutKey(m.Attributes, sdp.AttrKeyMID)
		}
	}
	if !f.unbundled {
		return
	}
	d.Attributes = withoutKey(d.Attributes, sdp.AttrKeyGroup)
	used := slices.IndexFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return takesPart(d, m) })
	if used <= 0 {
		return
	}
	for _, a := range d.MediaDescriptions[0].Attributes {
		if a.IsICECandidate() || a.Key == sdp.AttrKeyEndOfCandidates {
			d.MediaDescriptions[used].Attributes = append(d.MediaDescriptions[used].Attributes, a)
		}
	}
}

// fixTracks leaves one track in each m-line of a publisher and rejects offers without any: LiveKit takes
// several SSRCs in one m-line for an offer of the old Plan B and fails, and it ignores the packets of an
// m-line without SSRC.
func fixTracks(media []offered) error {
	tracks := 0
	used := make(map[uint32]bool, len(media))
	for _, m := range media {
		ssrc, ok := keepFirstTrack(m.MediaDescription)
		if ok && used[ssrc] {
			return fmt.Errorf("%w: two m-lines with one SSRC", ErrMalformedSDP)
		}
		if _, simulcast := m.Attribute("rid"); ok || simulcast {
			tracks++
		}
		used[ssrc] = ok
	}
	if tracks == 0 {
		return fmt.Errorf("%w: no SSRC", ErrMalformedSDP)
	}
	return nil
}

// keepFirstTrack removes the SSRCs of all tracks but the first of an m-line, and returns the first one's.
// Those that only repeat or protect its packets stay.
func keepFirstTrack(m *sdp.MediaDescription) (first uint32, ok bool) {
	base := make(map[uint32]uint32) // by the SSRC of a repair flow
	for _, a := range m.Attributes {
		if from, repair, ok := repairOf(a); ok {
			base[repair] = from
		}
	}
	more := false
	for _, a := range m.Attributes {
		ssrc, isSSRC := ssrcOf(a)
		if _, repairs := base[ssrc]; !isSSRC || repairs {
			continue
		}
		more = more || ok && ssrc != first
		if !ok {
			first, ok = ssrc, true
		}
	}
	if !more {
		return first, ok
	}
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		if a.Key == sdp.AttrKeySSRCGroup {
			from, _, ok := repairOf(a)
			return !ok || from != first
		}
		ssrc, isSSRC := ssrcOf(a)
		from, repairs := base[ssrc]
		return isSSRC && ssrc != first && !(repairs && from == first)
	})
	return first, ok
}

// ssrcOf parses <ssrc> <attribute>:<value>.
func ssrcOf(a sdp.Attribute) (ssrc uint32, ok bool) {
	if a.Key != sdp.AttrKeySSRC {
		return 0, false
	}
	text, _, _ := strings.Cut(a.Value, " ")
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

// repairOf parses FID <ssrc> <ssrc of its retransmissions> and FEC-FR <ssrc> <ssrc of its error correction>.
func repairOf(a sdp.Attribute) (base, repair uint32, ok bool) {
	semantics, ssrcs, _ := strings.Cut(a.Value, " ")
	if a.Key != sdp.AttrKeySSRCGroup ||
		semantics != sdp.SemanticTokenFlowIdentification && semantics != sdp.SemanticTokenForwardErrorCorrectionFramework {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(ssrcs, " ")
	b, err1 := strconv.ParseUint(first, 10, 32)
	r, err2 := strconv.ParseUint(second, 10, 32)
	return uint32(b), uint32(r), err1 == nil && err2 == nil
}
