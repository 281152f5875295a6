package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// videoOrientation is the header extension by which a sender leaves turning the picture to the receiver.
const videoOrientation = "urn:3gpp:video-orientation"

// PublishEdit is what of a publisher's offer goes to LiveKit.
type PublishEdit struct {
	// Codecs are what the application allows; rtx goes with its codec.
	Codecs CodecSet
	// KeepVideoOrientation is the client's cvoExtension. Without it the extension is taken out, so that mobile
	// senders turn the picture themselves (protocol.md §4.3).
	KeepVideoOrientation bool
}

// EditPublishOffer makes a publisher's offer ready for LiveKit and tells which kinds of media it has. Matching the
// payload types of a browser's offer is a fifth of LiveKit's CPU under publish load (design.md §8), so only the allowed
// codecs stay, with one payload type of H264, VP9 and AV1: packetization-mode 1 and constrained baseline, else baseline, if
// there is one, and profile 0. They stay in the client's order. An m-line that has no allowed codec keeps all of its own, and
// LiveKit decides; one that has none that LiveKit knows becomes inactive.
//
// sendrecv becomes sendonly. m-lines that are rejected, inactive or neither audio nor video stay as they are, because the
// answer must have as many in the same order. The errors are ErrMalformedSDP, ErrNoMedia, ErrDirection, and ErrNoCommonCodecs
// if LiveKit knows no codec of any m-line.
func EditPublishOffer(offer string, e PublishEdit) (edited string, kinds MediaKinds, err error) {
	d, media, err := parseOffer(offer, sdp.AttrKeySendOnly)
	if err != nil {
		return "", MediaKinds{}, err
	}
	for _, m := range media {
		kinds.add(m.MediaDescription)
		m.edit(publishFormats(m.formats, kindOf(m.MediaDescription), e.Codecs))
	}
	if !e.KeepVideoOrientation {
		d.Attributes = withoutExtension(d.Attributes, videoOrientation)
		for _, m := range d.MediaDescriptions {
			m.Attributes = withoutExtension(m.Attributes, videoOrientation)
		}
	}
	edited, err = marshalSDP(d)
	return edited, kinds, err
}

// PlayEdit is what a player can be sent: the codecs of the published tracks as LiveKit names them, without audio/ or
// video/ in front. "" = there is no such track.
type PlayEdit struct{ AudioCodec, VideoCodec string }

// EditPlayOffer makes a player's offer ready for LiveKit and tells which kinds of media can be played: those for which
// the stream has a track and the offer the track's codec. Only tracks of these kinds may be named to LiveKit, which waits
// in vain for a track that cannot be bound (design.md §1).
//
// A video m-line keeps the codec of the track and its rtx, an audio m-line opus and red as well: LiveKit wraps opus in
// red, or takes it out, by itself. An m-line without a common codec keeps all of its own, one without a track those that
// browsers have at least; either is answered without a track. An m-line without any that LiveKit knows becomes inactive.
//
// Of H264 all payload types with packetization-mode 1 stay, whatever the profile, and if there are none all others.
// LiveKit drops those whose profile it does not know if it knows any, and then sends the one whose fmtp line is exactly the
// publisher's, else the first that is left (pion matchRemoteCodec, livekit-server DownTrack.Bind); it never
// refuses over the profile. So one that can be sent always stays, and with it the publisher's own profile if the player
// has it, while a stream in packetization-mode 1 is not sent as mode 0. VP9 and AV1: profile 0, which is what publishers
// send, if offered, else all.
//
// sendrecv becomes recvonly; the other m-lines stay as in EditPublishOffer. The errors are ErrMalformedSDP, ErrNoMedia,
// ErrDirection, and ErrNoCommonCodecs if nothing can be played.
func EditPlayOffer(offer string, e PlayEdit) (edited string, kinds MediaKinds, err error) {
	d, media, err := parseOffer(offer, sdp.AttrKeyRecvOnly)
	if err != nil {
		return "", MediaKinds{}, err
	}
	for _, m := range media {
		keep, common := playFormats(m.formats, kindOf(m.MediaDescription), e)
		if common {
			kinds.add(m.MediaDescription)
		}
		m.edit(keep)
	}
	if kinds.None() {
		return "", kinds, ErrNoCommonCodecs
	}
	edited, err = marshalSDP(d)
	return edited, kinds, err
}

// offered is an m-line that takes part, with its formats: reading them is the dearest part of an edit.
type offered struct {
	*sdp.MediaDescription
	formats []format
}

// parseOffer parses an offer and lists the m-lines that take part, all of which then have the wanted direction. Those in which
// stripCodecs has left no codec that LiveKit knows do not take part any more.
func parseOffer(offer, direction string) (*sdp.SessionDescription, []offered, error) {
	d, err := parseSDP(offer)
	if err != nil {
		return nil, nil, err
	}
	var media []offered
	disabled := false
	for i, m := range d.MediaDescriptions {
		if !takesPart(d, m) {
			continue
		}
		if has := directionOf(d, m); has != direction && has != sdp.AttrKeySendRecv {
			return nil, nil, fmt.Errorf("%w: %s is %s", ErrDirection, lineName(i, m), has)
		}
		formats := formatsOf(m)
		if !hasKnownCodec(kindOf(m), formats) {
			disable(d, m)
			disabled = true
			continue
		}
		setDirection(m, direction)
		media = append(media, offered{m, formats})
	}
	switch {
	case len(media) == 0 && disabled:
		return nil, nil, ErrNoCommonCodecs
	case len(media) == 0:
		return nil, nil, ErrNoMedia
	}
	return d, media, checkTransport(d, media)
}

func hasKnownCodec(kind Kind, formats []format) bool {
	return slices.ContainsFunc(formats, func(f format) bool {
		_, known := lookupCodec(kind, f.name)
		return known && f.refs == nil
	})
}

// disable makes an m-line inactive and puts a codec that LiveKit knows in place of its own: without one LiveKit refuses the whole
// offer of a player, and takes port 0 for no rejection. The answer's m-line is inactive, too.
func disable(d *sdp.SessionDescription, m *sdp.MediaDescription) {
	setDirection(m, sdp.AttrKeyInactive)
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { _, ofFormat := formatOf(a); return ofFormat })
	if kindOf(m) == Audio {
		m.MediaName.Formats = []string{"0"} // PCMU, which needs no rtpmap (RFC 3551 §6)
		return
	}
	pt := freePT(d)
	m.MediaName.Formats = []string{pt}
	m.Attributes = append(m.Attributes, sdp.NewAttribute("rtpmap", pt+" "+nameVP8+"/90000"))
}

// freePT is a dynamic payload type that no m-line uses: bundled m-lines must not share one.
func freePT(d *sdp.SessionDescription) string {
	for pt := 96; pt < 127; pt++ {
		text := strconv.Itoa(pt)
		if !slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return slices.Contains(m.MediaName.Formats, text) }) {
			return text
		}
	}
	return "127"
}

// checkTransport refuses what LiveKit would answer with 503 and a participant left behind: an offer without ICE credentials or
// fingerprint, or with two m-lines of one mid. Bundled m-lines share what one of them has.
func checkTransport(d *sdp.SessionDescription, media []offered) error {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		_, common := d.Attribute(key)
		if !common && !slices.ContainsFunc(media, func(m offered) bool { _, own := m.Attribute(key); return own }) {
			return fmt.Errorf("%w: no %s", ErrMalformedSDP, key)
		}
	}
	mids := make(map[string]bool, len(media))
	for _, m := range media {
		mid, ok := m.Attribute(sdp.AttrKeyMID)
		if ok && mids[mid] {
			return fmt.Errorf("%w: two m-lines with one mid", ErrMalformedSDP)
		}
		mids[mid] = true
	}
	return nil
}

// edit trims the m-line to these payload types, or if there is none to all that are of use.
func (m offered) edit(keep ptSet) {
	if keep.empty() {
		keep = allOf(m.formats)
	}
	trim(m.MediaDescription, keep)
	restoreFeedback(m.MediaDescription, m.formats, keep)
}

// publishFormats chooses what of an m-line a publisher may use: of the allowed codecs all payload types, or the best
// one where they differ in rank.
func publishFormats(formats []format, kind Kind, allowed CodecSet) ptSet {
	keep := ptSet{}
	best := map[string]format{}
	for _, f := range formats {
		c, ok := allowed.find(kind, f.name)
		if !ok || f.refs != nil {
			continue
		}
		if c.rank == nil {
			keep[f.pt] = true
			continue
		}
		if b, found := best[c.name]; !found || c.rank(f.params()) < c.rank(b.params()) {
			best[c.name] = f
		}
	}
	for _, f := range best {
		keep[f.pt] = true
	}
	return withRefs(formats, keep, allowed.has(Audio, nameRED))
}

// playFormats chooses what of an m-line a player needs, and tells whether the codec of the stream's track is there.
func playFormats(formats []format, kind Kind, e PlayEdit) (keep ptSet, common bool) {
	keep = ptSet{}
	track := e.VideoCodec
	if kind == Audio {
		track = e.AudioCodec
		keep = codecFormats(formats, kind, nameOpus)
		if strings.EqualFold(track, nameRED) {
			track = nameOpus // red is opus wrapped
		}
	}
	if track == "" {
		if kind == Video {
			keep = codecFormats(formats, kind, nameVP8)
		}
		return withRefs(formats, keep, true), false
	}
	ofTrack := codecFormats(formats, kind, track)
	if _, known := lookupCodec(kind, track); !known || ofTrack.empty() {
		return nil, false
	}
	for pt := range ofTrack {
		keep[pt] = true
	}
	return withRefs(formats, keep, true), true
}

// codecFormats are the payload types of a codec that are good enough for a player, or if there is none all of them.
func codecFormats(formats []format, kind Kind, name string) ptSet {
	all, good := ptSet{}, ptSet{}
	c, known := lookupCodec(kind, name)
	for _, f := range formats {
		if f.refs != nil || !strings.EqualFold(f.name, name) {
			continue
		}
		all[f.pt] = true
		if known && c.rank != nil && c.rank(f.params()) <= c.playRank {
			good[f.pt] = true
		}
	}
	if good.empty() {
		return all
	}
	return good
}

// withoutExtension removes the extmap lines of a header extension.
func withoutExtension(attrs []sdp.Attribute, uri string) []sdp.Attribute {
	return slices.DeleteFunc(attrs, func(a sdp.Attribute) bool {
		fields := strings.Fields(a.Value) // id[/direction] URI [attributes]
		return a.Key == sdp.AttrKeyExtMap && len(fields) > 1 && fields[1] == uri
	})
}
