package translate

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrCodecs is wrapped by the errors about lists of codecs.
var ErrCodecs = errors.New("codecs")

// Names of codecs with special treatment.
const (
	nameOpus = "opus"
	nameRED  = "red"
	nameRTX  = "rtx"
	nameVP8  = "VP8"
)

// codec is a codec that LiveKit supports.
type codec struct {
	kind  Kind
	name  string
	clock uint32 // rate in Hz; LiveKit ignores a format of another one
	// alike: the payload types of the codec have no parameters that matter, so that one is enough.
	alike bool
	// rank orders the payload types of the codec in an offer by their fmtp parameters, the best first. nil:
	// all stay.
	rank func(format) int
	// playRank is the highest rank that is offered to LiveKit for a player, if the player has a payload type
	// of at most that rank.
	playRank int
}

// knownCodecs are the codecs of livekit-server 1.13 except rtx, which accompanies its codec. The index in the
// table is the bit in a CodecSet.
var knownCodecs = [...]codec{
	{kind: Audio, name: nameOpus, clock: 48000},
	{kind: Audio, name: nameRED, clock: 48000},
	{kind: Audio, name: "PCMU", clock: 8000},
	{kind: Audio, name: "PCMA", clock: 8000},
	{kind: Video, name: nameVP8, clock: 90000, alike: true},
	{kind: Video, name: "H264", clock: 90000, rank: rankH264, playRank: h264OtherProfile},
	{kind: Video, name: "VP9", clock: 90000, rank: rankProfile("profile-id")},
	{kind: Video, name: "AV1", clock: 90000, rank: rankProfile("profile")},
	{kind: Video, name: "H265", clock: 90000},
}

// Ranks of an H264 payload type.
const (
	h264ConstrainedBaseline = iota // every browser and phone decodes it
	h264Baseline
	h264OtherProfile // packetization-mode 1 up to here
	h264SingleNAL
)

// rankH264 evaluates packetization-mode (0 if absent) and the profile in profile-level-id (RFC 6184 §8.1):
// profile_idc 0x42 is baseline, and constrained baseline if constraint_set1_flag is set.
func rankH264(f format) int {
	if mode, _ := f.param("packetization-mode"); mode != "1" {
		return h264SingleNAL
	}
	profile, _ := f.param("profile-level-id")
	id, err := hex.DecodeString(profile)
	if err != nil || len(id) != 3 || id[0] != 0x42 {
		return h264OtherProfile
	}
	if id[1]&0x40 != 0 {
		return h264ConstrainedBaseline
	}
	return h264Baseline
}

// rankProfile prefers profile 0, which is also the default if the parameter is absent (RFC 9628 §6.1 for VP9,
// the AV1 RTP specification §7.2.1). Cameras send it, and every decoder supports it.
func rankProfile(param string) func(format) int {
	return func(f format) int {
		if p, ok := f.param(param); ok && p != "0" {
			return 1
		}
		return 0
	}
}

// lookupCodec finds the codec of an encoding name, ignoring case. It returns nil if there is none.
func lookupCodec(kind Kind, name string) *codec {
	for i := range knownCodecs {
		if c := &knownCodecs[i]; c.kind == kind && strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

// CodecSet is a set of codecs that an application allows publishers. The zero set allows none; as an m-line
// is never trimmed to nothing, offers are then not trimmed at all.
type CodecSet struct{ bits uint16 }

// DefaultCodecs returns opus, red, VP8 and H264, which all browsers have.
func DefaultCodecs() CodecSet {
	var s CodecSet
	for i, c := range knownCodecs {
		switch c.name {
		case nameOpus, nameRED, nameVP8, "H264":
			s.bits |= 1 << i
		}
	}
	return s
}

// ParseCodecs returns the set of these names, ignoring case: opus, red, PCMU, PCMA, VP8, H264, VP9, AV1,
// H265. rtx must not be named; it accompanies its codec. Errors wrap ErrCodecs: a name of no LiveKit codec,
// or red without opus, which it only wraps.
func ParseCodecs(names []string) (CodecSet, error) {
	var s CodecSet
	for _, name := range names {
		i := slices.IndexFunc(knownCodecs[:], func(c codec) bool { return strings.EqualFold(c.name, name) })
		if i < 0 {
			return CodecSet{}, fmt.Errorf("%w: unknown codec %q", ErrCodecs, name)
		}
		s.bits |= 1 << i
	}
	if s.has(lookupCodec(Audio, nameRED)) && !s.has(lookupCodec(Audio, nameOpus)) {
		return CodecSet{}, fmt.Errorf("%w: red needs opus", ErrCodecs)
	}
	return s, nil
}

// Names returns the codecs in the set.
func (s CodecSet) Names() []string {
	var names []string
	for i, c := range knownCodecs {
		if s.bits&(1<<i) != 0 {
			names = append(names, c.name)
		}
	}
	return names
}

func (s CodecSet) String() string { return strings.Join(s.Names(), ",") }

// has reports whether a codec is in the set.
func (s CodecSet) has(c *codec) bool {
	for i := range knownCodecs {
		if c == &knownCodecs[i] {
			return s.bits&(1<<i) != 0
		}
	}
	return false
}
