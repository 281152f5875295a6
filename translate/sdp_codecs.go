package translate

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrCodecs is wrapped by the errors about lists of codecs.
var ErrCodecs = errors.New("codecs")

// Codec names that need more than their row in the table.
const (
	nameOpus = "opus"
	nameRED  = "red"
	nameRTX  = "rtx"
	nameVP8  = "VP8"
)

// codec is a codec that LiveKit takes.
type codec struct {
	kind Kind
	name string
	// rank orders the payload types that an offer has for the codec, the best first, by their fmtp parameters.
	// nil: they are all alike.
	rank func(params map[string]string) int
	// playRank is the last rank that a player is offered to LiveKit with, if it has one as good.
	playRank int
}

// knownCodecs are the codecs of livekit-server 1.13 without rtx, which goes with its codec. The place in the table is
// the bit in a CodecSet.
var knownCodecs = [...]codec{
	{kind: Audio, name: nameOpus},
	{kind: Audio, name: nameRED},
	{kind: Audio, name: "PCMU"},
	{kind: Audio, name: "PCMA"},
	{kind: Video, name: nameVP8},
	{kind: Video, name: "H264", rank: rankH264, playRank: h264OtherProfile},
	{kind: Video, name: "VP9", rank: rankProfile("profile-id")},
	{kind: Video, name: "AV1", rank: rankProfile("profile")},
	{kind: Video, name: "H265"},
}

// Ranks of an H264 payload type.
const (
	h264ConstrainedBaseline = iota // what every browser and phone decodes
	h264Baseline
	h264OtherProfile // packetization-mode 1 up to here
	h264SingleNAL
)

// rankH264 looks at packetization-mode (0 if absent) and the profile in profile-level-id (RFC 6184 §8.1): profile_idc
// 0x42 is baseline, and constrained baseline if constraint_set1_flag is set.
func rankH264(params map[string]string) int {
	if params["packetization-mode"] != "1" {
		return h264SingleNAL
	}
	id, err := hex.DecodeString(params["profile-level-id"])
	if err != nil || len(id) != 3 || id[0] != 0x42 {
		return h264OtherProfile
	}
	if id[1]&0x40 != 0 {
		return h264ConstrainedBaseline
	}
	return h264Baseline
}

// rankProfile prefers profile 0, which is meant, too, where the parameter is absent (RFC 9628 §6.1 for VP9, the
// AV1 RTP specification §7.2.1). It is the profile of cameras and the only one every decoder has.
func rankProfile(param string) func(map[string]string) int {
	return func(params map[string]string) int {
		if p, ok := params[param]; ok && p != "0" {
			return 1
		}
		return 0
	}
}

// allCodecs is the set of all known codecs.
const allCodecs = 1<<len(knownCodecs) - 1

// lookupCodec finds the codec of an encoding name, which SDP compares without regard to case.
func lookupCodec(kind Kind, name string) (codec, bool) { return CodecSet{allCodecs}.find(kind, name) }

// CodecSet is a set of codecs that an application allows publishers. The zero set allows nothing, and as an m-line is
// never trimmed to nothing, offers are then not trimmed at all.
type CodecSet struct{ bits uint16 }

// DefaultCodecs are opus, red, VP8 and H264 (design.md §8).
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

// ParseCodecs makes the set of these names, without regard to case: opus, red, PCMU, PCMA, VP8, H264, VP9, AV1, H265.
// rtx is not named, it goes with its codec. Errors wrap ErrCodecs: a name that LiveKit has no codec for, and red
// without opus, which it only wraps.
func ParseCodecs(names []string) (CodecSet, error) {
	var s CodecSet
next:
	for _, name := range names {
		for i, c := range knownCodecs {
			if strings.EqualFold(c.name, name) {
				s.bits |= 1 << i
				continue next
			}
		}
		return CodecSet{}, fmt.Errorf("%w: unknown codec %q", ErrCodecs, name)
	}
	if s.has(Audio, nameRED) && !s.has(Audio, nameOpus) {
		return CodecSet{}, fmt.Errorf("%w: red needs opus", ErrCodecs)
	}
	return s, nil
}

// Names lists the codecs in the set.
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

// find gives the codec of an encoding name, if it is in the set.
func (s CodecSet) find(kind Kind, name string) (codec, bool) {
	for i, c := range knownCodecs {
		if s.bits&(1<<i) != 0 && c.kind == kind && strings.EqualFold(c.name, name) {
			return c, true
		}
	}
	return codec{}, false
}

func (s CodecSet) has(kind Kind, name string) bool {
	_, ok := s.find(kind, name)
	return ok
}
