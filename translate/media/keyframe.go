package media

import (
	"encoding/binary"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
	"github.com/pion/rtp/codecs"
)

// LiveKit's names of the codecs.
const (
	mimeVP8, mimeVP9   = "video/VP8", "video/VP9"
	mimeH264, mimeH265 = "video/H264", "video/H265"
	mimeAV1            = "video/AV1"
)

const (
	// maxParameters bounds the parameter sets and sequence headers that are parsed, in bytes. Encoders write
	// less than 150. A publisher can choose them so that the parsed form is a hundred times as large.
	maxParameters = 256
	// maxSide is the largest plausible side of a picture, in pixels. The levels of the codecs allow less.
	maxSide = 1 << 16
)

// Sizes finds the sizes of pictures in the packets of one RTP stream. It reuses its memory. The zero value is
// ready. It is not safe for concurrent use.
type Sizes struct {
	vp9 codecs.VP9Packet
}

// KeyFrame returns the size in pixels of the picture that begins in an RTP payload. codec is LiveKit's mime
// type, in any case: video/VP8, video/H264, video/VP9, video/AV1 or video/H265. ok is false if no key frame
// begins in the payload, if it is damaged or truncated before the end of the header, and for every other
// codec.
func (s *Sizes) KeyFrame(codec string, payload []byte) (w, h int, ok bool) {
	switch {
	case len(payload) < 2:
	case strings.EqualFold(codec, mimeVP8):
		w, h = vp8Size(payload)
	case strings.EqualFold(codec, mimeH264):
		w, h = h264Size(payload)
	case strings.EqualFold(codec, mimeVP9):
		w, h = s.vp9Size(payload)
	case strings.EqualFold(codec, mimeAV1):
		w, h = av1Size(payload)
	case strings.EqualFold(codec, mimeH265):
		w, h = h265Size(payload)
	}
	if w <= 0 || h <= 0 || w > maxSide || h > maxSide {
		return 0, 0, false
	}
	return w, h, true
}

// HasKeyFrameSize reports whether Sizes supports the codec.
func HasKeyFrameSize(codec string) bool {
	for _, known := range []string{mimeVP8, mimeH264, mimeVP9, mimeAV1, mimeH265} {
		if strings.EqualFold(codec, known) {
			return true
		}
	}
	return false
}

// vp8Size reads the frame header (RFC 6386 §9.1) in the first packet of the first partition.
func vp8Size(payload []byte) (w, h int) {
	var p codecs.VP8Packet
	header, err := p.Unmarshal(payload)
	if err != nil || p.S != 1 || p.PID != 0 || len(header) < 10 {
		return 0, 0
	}
	if header[0]&1 != 0 || [3]byte(header[3:6]) != [3]byte{0x9d, 0x01, 0x2a} {
		return 0, 0
	}
	const sizeBits = 1<<14 - 1 // the two bits above are the scale
	return int(binary.LittleEndian.Uint16(header[6:]) & sizeBits), int(binary.LittleEndian.Uint16(header[8:]) & sizeBits)
}

// vp9Size reads the scalability structure (RFC 9628 §4.2.1): the size of its last layer is that of the whole
// picture. Without a structure the size is in the header of a key frame.
func (s *Sizes) vp9Size(payload []byte) (w, h int) {
	const begin, predicted, structure = 0x08, 0x40, 0x02
	begins := payload[0]&(begin|predicted) == begin
	if !begins && payload[0]&structure == 0 {
		return 0, 0 // nothing of it is parsed
	}
	p := &s.vp9 // its parser appends to what it parsed before
	p.PDiff, p.PGTID, p.PGU = p.PDiff[:0], p.PGTID[:0], p.PGU[:0]
	frame, err := p.Unmarshal(payload)
	if err != nil {
		return 0, 0
	}
	if p.V && p.Y {
		for i := range p.Width {
			if p.Width[i] != 0 && p.Height[i] != 0 {
				w, h = int(p.Width[i]), int(p.Height[i])
			}
		}
	}
	var header vp9.Header
	if w == 0 && begins && header.Unmarshal(frame) == nil {
		return header.Width(), header.Height()
	}
	return w, h
}

// Types of NAL units (RFC 6184 §5.2, RFC 7798 §4.4).
const (
	h264Type, h264STAPA, h264FUA = 0x1f, 24, 28
	h265AP                       = 48
)

// h264Size finds a sequence parameter set in the payload: alone, among others, or in a first fragment (RFC
// 6184 §5.6, §5.7.1, §5.8). WebRTC encoders send one with each key frame.
func h264Size(payload []byte) (w, h int) {
	isSet := func(nal []byte) bool { return h264.NALUType(nal[0]&h264Type) == h264.NALUTypeSPS }
	switch unit := payload[0] & h264Type; {
	case unit == h264STAPA:
		payload = unitOf(payload[1:], isSet)
	case unit == h264FUA && payload[1]&0x80 != 0:
		payload = payload[1:] // the fragment's header has the unit's type
	}
	var sps h264.SPS
	if len(payload) == 0 || !isSet(payload) || len(payload) > maxParameters || sps.Unmarshal(payload) != nil {
		return 0, 0
	}
	// Width and Height of the library do not crop grey pictures or separate colour planes, and wrap around.
	w, h = 16*(int(sps.PicWidthInMbsMinus1)+1), 16*(int(sps.PicHeightInMapUnitsMinus1)+1)
	if crop := sps.FrameCropping; crop != nil {
		unitX, unitY := cropUnit(sps.ChromaFormatIdc)
		w -= unitX * (int(crop.LeftOffset) + int(crop.RightOffset))
		h -= unitY * (int(crop.TopOffset) + int(crop.BottomOffset))
	}
	if !sps.FrameMbsOnlyFlag {
		h *= 2 // the size is that of a field
	}
	return w, h
}

// h265Size finds a sequence parameter set in the payload: alone or among others (RFC 7798 §4.4.1, §4.4.2).
func h265Size(payload []byte) (w, h int) {
	unit := func(nal []byte) h265.NALUType { return h265.NALUType(nal[0] >> 1 & 0x3f) }
	isSet := func(nal []byte) bool { return unit(nal) == h265.NALUType_SPS_NUT }
	if unit(payload) == h265AP {
		payload = unitOf(payload[2:], isSet)
	}
	var sps h265.SPS
	if len(payload) == 0 || !isSet(payload) || len(payload) > maxParameters || sps.Unmarshal(payload) != nil {
		return 0, 0
	}
	w, h = int(sps.PicWidthInLumaSamples), int(sps.PicHeightInLumaSamples)
	if crop := sps.ConformanceWindow; crop != nil { // Width of the library wraps around
		unitX, unitY := cropUnit(sps.ChromaFormatIdc)
		w -= unitX * (int(crop.LeftOffset) + int(crop.RightOffset))
		h -= unitY * (int(crop.TopOffset) + int(crop.BottomOffset))
	}
	return w, h
}

// cropUnit returns the unit of the cropping offsets (ITU-T H.264 and H.265, table 6-1), per field.
func cropUnit(chroma uint32) (x, y int) {
	switch chroma {
	case 1:
		return 2, 2
	case 2:
		return 2, 1
	}
	return 1, 1
}

// unitOf returns the first wanted NAL unit of an aggregation packet, or nil.
func unitOf(units []byte, wanted func(nal []byte) bool) []byte {
	for len(units) >= 2 {
		size := int(binary.BigEndian.Uint16(units))
		units = units[2:]
		if size > len(units) {
			return nil
		}
		if size > 0 && wanted(units[:size]) {
			return units[:size]
		}
		units = units[size:]
	}
	return nil
}

// av1Size reads the sequence header, which is the first OBU of the first packet of a coded video sequence,
// after a temporal delimiter (AV1 RTP §4.4, §5). pion's depacketizer copies all OBUs, so it is not used.
func av1Size(payload []byte) (w, h int) {
	const continued, newSequence, temporalDelimiter = 0x80, 0x08, 2
	if payload[0]&continued != 0 || payload[0]&newSequence == 0 {
		return 0, 0
	}
	obus := payload[0] >> 4 & 3 // 0: each has its size before it; otherwise the last has none
	left := payload[1:]
	for n := byte(1); n <= 2; n++ {
		element := left
		if n != obus {
			var size av1.LEB128
			used, err := size.Unmarshal(left)
			if err != nil || int(size) > len(left)-used {
				return 0, 0
			}
			element, left = left[used:used+int(size)], left[used+int(size):]
		}
		var head av1.OBUHeader
		if head.Unmarshal(element) != nil {
			return 0, 0
		}
		switch head.Type {
		case temporalDelimiter:
		case av1.OBUTypeSequenceHeader:
			var header av1.SequenceHeader
			if len(element) > maxParameters || header.Unmarshal(element) != nil {
				return 0, 0
			}
			return header.Width(), header.Height()
		default:
			return 0, 0
		}
	}
	return 0, 0
}
