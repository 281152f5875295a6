package translate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// videoOrientation is the header extension by which a sender leaves the rotation of the picture to the
// receiver.
const videoOrientation = "urn:3gpp:video-orientation"

// PublishEdit describes the changes of a publisher's offer.
type PublishEdit struct {
	// Codecs are the codecs that the application allows; rtx accompanies its codec.
	Codecs CodecSet
	// KeepVideoOrientation is the client's cvoExtension. Without it the extension is removed, so that mobile
	// senders rotate the picture themselves.
	KeepVideoOrientation bool
}

// EditedOffer is an offer that LiveKit can serve.
type EditedOffer struct {
	SDP   string
	Kinds MediaKinds // of a publisher: those offered; of a player: those that can be played
	Fixes OfferFixes // for AnswerEdit
	// Follow says that the player can follow its source to another publisher: see PlayEdit.
	Follow bool
}

// CheckedOffer is a publisher's offer that LiveKit can serve after the edit.
type CheckedOffer struct {
	d     *sdp.SessionDescription
	media []offered
	fixes OfferFixes
}

// CheckPublishOffer checks a publisher's offer against the bounds and for whatever LiveKit is known to fail
// at, so that nothing is done for a faulty offer. The errors are ErrMalformedSDP; ErrNoMedia; ErrDirection if
// all m-lines only receive; and ErrNoCommonCodecs if LiveKit supports no codec of any m-line.
func CheckPublishOffer(offer string) (*CheckedOffer, error) {
	d, media, fixes, err := parseOffer(offer, sdp.AttrKeySendOnly)
	if err == nil {
		err = fixTracks(media)
	}
	return &CheckedOffer{d, media, fixes}, err
}

// Edit adapts the offer for LiveKit. It must be called once. Matching the payload types of a browser's offer
// takes a fifth of LiveKit's CPU under publish load. So only the allowed codecs stay, with one payload type
// each of VP8, H264 (packetization-mode 1; constrained baseline, else baseline if offered), VP9 and AV1
// (profile 0). They stay in the client's order. An m-line without an allowed codec is unchanged, and LiveKit
// decides. An m-line without a codec that LiveKit supports becomes inactive.
//
// sendrecv becomes sendonly. No m-line is removed, because the answer must have as many in the same order:
// those that only receive, or are rejected, become inactive.
func (o *CheckedOffer) Edit(e PublishEdit) (edited EditedOffer, err error) {
	edited.Fixes = o.fixes
	for _, m := range o.media {
		edited.Kinds.add(m.MediaDescription)
		m.edit(publishFormats(m.formats, e.Codecs))
	}
	if !e.KeepVideoOrientation {
		o.d.Attributes = withoutExtension(o.d.Attributes, videoOrientation)
		for _, m := range o.d.MediaDescriptions {
			m.Attributes = withoutExtension(m.Attributes, videoOrientation)
		}
	}
	edited.SDP, err = marshalSDP(o.d)
	return edited, err
}

// PlayEdit names the codecs of the published tracks in LiveKit's terms, without the prefix audio/ or video/.
// "" = no such track.
type PlayEdit struct {
	AudioCodec, VideoCodec string
	// Follow prepares the offer for tracks of other publishers, later and without another answer, if the client
	// can do with that.
	Follow bool
}

// EditPlayOffer adapts a player's offer for LiveKit. Kinds of media that can be played are those for which
// the stream has a track and the offer has the track's codec. Only tracks of these kinds must be named to
// LiveKit, because it waits for every named track until it is bound.
//
// A video m-line keeps the codec of the track and its rtx; an audio m-line keeps opus and red as well,
// because LiveKit adds and removes red itself. An m-line without a common codec keeps all its codecs; one
// without a track keeps those that every browser supports. Both are answered without a track. An m-line
// without a codec that LiveKit supports becomes inactive.
//
// For H264 all payload types with packetization-mode 1 stay, whatever the profile; if there are none, all
// others. If LiveKit knows the profile of any, it drops those of unknown profile. Then it sends the one whose
// fmtp line equals the publisher's, else the first one left (pion matchRemoteCodec, livekit-server
// DownTrack.Bind). It never rejects because of the profile. So a payload type that can be sent always stays,
// with it the publisher's own profile if the player has it, and a stream in packetization-mode 1 is not sent
// as mode 0. VP9 and AV1: profile 0, which publishers send, if offered, else all. VP8: the first.
//
// sendrecv becomes recvonly; the other m-lines are treated as in CheckedOffer.Edit. The errors are
// ErrMalformedSDP, ErrNoMedia, ErrDirection, and ErrNoCommonCodecs if nothing can be played.
func EditPlayOffer(offer string, e PlayEdit) (edited EditedOffer, err error) {
	d, media, fixes, err := parseOffer(offer, sdp.AttrKeyRecvOnly)
	if err != nil {
		return EditedOffer{}, err
	}
	edited.Fixes, edited.Follow = fixes, e.Follow && canFollow(media)
	for _, m := range media {
		keep, common := playFormats(m.formats, kindOf(m.MediaDescription), e)
		if common {
			edited.Kinds.add(m.MediaDescription)
		}
		if edited.Follow {
			keep = m.follow(keep)
		}
		m.edit(keep)
	}
	if edited.Kinds.none() {
		return EditedOffer{}, ErrNoCommonCodecs
	}
	edited.SDP, err = marshalSDP(d)
	return edited, err
}

// Bounds of an offer. Browsers offer two m-lines of about 60 payload types and 200 attributes in 10 KB.
// Without bounds, a client's offer could cost more work than its size: several edits look at all m-lines or
// attributes per format.
const (
	maxOfferBytes      = 64 << 10
	maxOfferMLines     = 8
	maxOfferFormats    = 64 // of one m-line
	maxOfferAttributes = 1000
)

// checkBounds rejects offers beyond the bounds, and those with a payload type twice in one m-line. It returns
// the payload types of each m-line.
func checkBounds(d *sdp.SessionDescription) (lines [maxOfferMLines]ptSet, err error) {
	if len(d.MediaDescriptions) > maxOfferMLines {
		return lines, fmt.Errorf("%w: more than %d m-lines", ErrMalformedSDP, maxOfferMLines)
	}
	attributes := len(d.Attributes)
	for i, m := range d.MediaDescriptions {
		formats := m.MediaName.Formats
		if len(formats) > maxOfferFormats {
			return lines, fmt.Errorf("%w: %s has more than %d formats", ErrMalformedSDP, lineName(i, m), maxOfferFormats)
		}
		seen := &lines[i]
		for j, format := range formats {
			pt, ok := parsePT(format)
			if ok && seen.has(pt) || !ok && slices.Contains(formats[:j], format) {
				return lines, fmt.Errorf("%w: %s has format %.8q twice", ErrMalformedSDP, lineName(i, m), format)
			}
			if ok {
				seen.add(pt)
			}
		}
		attributes += len(m.Attributes)
	}
	if attributes > maxOfferAttributes {
		return lines, fmt.Errorf("%w: more than %d attributes", ErrMalformedSDP, maxOfferAttributes)
	}
	return lines, nil
}

// removeCandidates removes ICE candidates from an offer. WCS clients send none (docs/wcs-protocol.md#offers),
// and LiveKit would send connectivity checks to every address that a client names.
func removeCandidates(d *sdp.SessionDescription) {
	isCandidate := func(a sdp.Attribute) bool { return a.Key == sdp.AttrKeyCandidate || a.Key == "remote-candidates" }
	d.Attributes = slices.DeleteFunc(d.Attributes, isCandidate)
	for _, m := range d.MediaDescriptions {
		m.Attributes = slices.DeleteFunc(m.Attributes, isCandidate)
	}
}

// offered is an m-line that takes part, with its formats: parsing them is the most expensive part of an edit.
type offered struct {
	*sdp.MediaDescription
	formats []format
}

// parseOffer parses an offer and returns the m-lines that take part; each has the requested direction
// afterwards. Every other audio or video m-line is inactive afterwards: those of another direction, as the
// Android SDK offers them, and those in which stripCodecs left no codec that LiveKit supports.
func parseOffer(offer, direction string) (d *sdp.SessionDescription, media []offered, fixes OfferFixes, err error) {
	if len(offer) > maxOfferBytes {
		return nil, nil, fixes, fmt.Errorf("%w: more than %d bytes", ErrMalformedSDP, maxOfferBytes)
	}
	if d, err = parseSDP(offer); err != nil {
		return nil, nil, fixes, err
	}
	lines, err := checkBounds(d)
	if err != nil {
		return nil, nil, fixes, err
	}
	removeCandidates(d)
	if media, err = inUse(d, direction, lines); err != nil {
		return nil, nil, fixes, err
	}
	fixes, err = fixTransport(d, media)
	return d, media, fixes, err
}

// inUse sets the direction of each audio and video m-line and returns those that take part. lines are the
// payload types of each m-line. The error says why there is none.
func inUse(d *sdp.SessionDescription, direction string, lines [maxOfferMLines]ptSet) (media []offered, err error) {
	err = ErrNoMedia
	for i, m := range d.MediaDescriptions {
		if kind := kindOf(m); kind != Audio && kind != Video {
			if m.MediaName.Media != "application" { // LiveKit leaves any other out of its answer
				return nil, fmt.Errorf("%w: %s is neither audio, video nor data", ErrMalformedSDP, lineName(i, m))
			}
			continue
		}
		formats := formatsOf(m)
		known := hasKnownCodec(formats)
		switch has := directionOf(d, m); {
		case !takesPart(d, m):
		case has != direction && has != sdp.AttrKeySendRecv:
			if errors.Is(err, ErrNoMedia) {
				err = fmt.Errorf("%w: %s is %s", ErrDirection, lineName(i, m), has)
			}
		case !known:
			err = ErrNoCommonCodecs
		default:
			setDirection(m, direction)
			media = append(media, offered{m, formats})
			continue
		}
		// A format that LiveKit does not know makes it reject the whole offer, also in an inactive m-line.
		if known {
			setDirection(m, sdp.AttrKeyInactive)
			lines[i] = allOf(formats)
			trim(m, lines[i])
		} else {
			lines[i] = ptSet{}
			lines[i] = disable(m, lines)
		}
	}
	if len(media) == 0 {
		return nil, err
	}
	return media, nil
}

func hasKnownCodec(formats []format) bool {
	return slices.ContainsFunc(formats, func(f format) bool { return f.codec != nil && f.refs == nil })
}

// disable makes an m-line inactive and replaces its codecs by one that LiveKit supports: without one LiveKit
// rejects a player's whole offer, and it does not treat port 0 as a rejection. The answer's m-line is
// inactive as well. used are the payload types of the other m-lines; the one that m has now is returned.
func disable(m *sdp.MediaDescription, used [maxOfferMLines]ptSet) (own ptSet) {
	setDirection(m, sdp.AttrKeyInactive)
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { _, ofFormat := formatOf(a); return ofFormat })
	if kindOf(m) == Audio {
		m.MediaName.Formats = []string{"0"} // PCMU, which needs no rtpmap (RFC 3551 §6)
		own.add(0)
		return own
	}
	// Bundled m-lines must not share a dynamic payload type.
	pt := uint8(96)
	for pt < 127 && slices.ContainsFunc(used[:], func(line ptSet) bool { return line.has(pt) }) {
		pt++
	}
	own.add(pt)
	text := strconv.Itoa(int(pt))
	m.MediaName.Formats = []string{text}
	m.Attributes = append(m.Attributes, sdp.NewAttribute("rtpmap", text+" "+nameVP8+"/90000"))
	return own
}

// edit trims the m-line to these payload types, or to all usable ones if there are none.
func (m offered) edit(keep ptSet) {
	if keep.empty() {
		keep = allOf(m.formats)
	}
	trim(m.MediaDescription, keep)
	restoreFeedback(m.MediaDescription, m.formats, keep)
}

// publishFormats selects the payload types of an m-line that a publisher can use: all of the allowed codecs,
// or the best one of a codec with ranks.
func publishFormats(formats []format, allowed CodecSet) ptSet {
	type ranked struct {
		pt   uint8
		rank int
	}
	keep := ptSet{}
	best := map[*codec]ranked{}
	for _, f := range formats {
		c := f.codec
		if f.refs != nil || !allowed.has(c) {
			continue
		}
		if c.rank == nil && !c.alike {
			keep.add(f.pt)
			continue
		}
		rank := 0
		if !c.alike {
			rank = c.rank(f)
		}
		if b, found := best[c]; !found || rank < b.rank {
			best[c] = ranked{f.pt, rank}
		}
	}
	for _, b := range best {
		keep.add(b.pt)
	}
	return withRefs(formats, keep, allowed.has(lookupCodec(Audio, nameRED)))
}

// playFormats selects the payload types of an m-line that a player needs, and reports whether they include
// the codec of the track.
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
	if lookupCodec(kind, track) == nil || ofTrack.empty() {
		return ptSet{}, false
	}
	for i := range keep {
		keep[i] |= ofTrack[i]
	}
	return withRefs(formats, keep, true), true
}

// codecFormats returns the payload types of a codec that are good enough for a player, or all if there are
// none.
func codecFormats(formats []format, kind Kind, name string) ptSet {
	all, good := ptSet{}, ptSet{}
	c := lookupCodec(kind, name)
	for _, f := range formats {
		if f.refs != nil || !strings.EqualFold(f.name, name) || c != nil && c.alike && !all.empty() {
			continue
		}
		all.add(f.pt)
		if c != nil && c.rank != nil && c.rank(f) <= c.playRank {
			good.add(f.pt)
		}
	}
	if good.empty() {
		return all
	}
	return good
}

// withoutExtension removes the extmap lines of a header extension.
func withoutExtension(attrs []sdp.Attribute, uri string) []sdp.Attribute {
	return slices.DeleteFunc(attrs, isExtension(uri))
}

func hasExtension(attrs []sdp.Attribute, uri string) bool {
	return slices.ContainsFunc(attrs, isExtension(uri))
}

// isExtension returns a function that reports whether a line is the extmap of a header extension.
func isExtension(uri string) func(sdp.Attribute) bool {
	return func(a sdp.Attribute) bool {
		if a.Key != sdp.AttrKeyExtMap {
			return false
		}
		fields := strings.Fields(a.Value) // id[/direction] URI [attributes]
		return len(fields) > 1 && fields[1] == uri
	}
}
