package media

import (
	"encoding/binary"
	"strings"
)

// KeyFrameSize returns the size in pixels of the picture that begins in an RTP payload. codec is LiveKit's
// mime type, in any case: video/VP8, video/H264 or video/VP9. ok is false if no key frame begins in the
// payload, if it is damaged or truncated before the size, and for every other codec.
func KeyFrameSize(codec string, payload []byte) (w, h int, ok bool) {
	switch {
	case strings.EqualFold(codec, "video/VP8"):
		return vp8Size(payload)
	case strings.EqualFold(codec, "video/H264"):
		return h264Size(payload)
	case strings.EqualFold(codec, "video/VP9"):
		return vp9Size(payload)
	}
	return 0, 0, false
}

// HasKeyFrameSize reports whether KeyFrameSize supports the codec.
func HasKeyFrameSize(codec string) bool {
	for _, known := range []string{"video/VP8", "video/H264", "video/VP9"} {
		if strings.EqualFold(codec, known) {
			return true
		}
	}
	return false
}

// vp8Size reads the payload descriptor (RFC 7741 §4.2) and the frame header after it (RFC 6386 §9.1).
func vp8Size(payload []byte) (w, h int, ok bool) {
	r := byteReader{left: payload}
	first := r.byte()
	if first&0x10 == 0 || first&0x07 != 0 {
		return 0, 0, false // not the first packet of the first partition
	}
	if first&0x80 != 0 {
		extension := r.byte()
		if extension&0x80 != 0 {
			r.pictureID()
		}
		if extension&0x40 != 0 {
			r.byte() // TL0PICIDX
		}
		if extension&0x30 != 0 {
			r.byte() // TID and KEYIDX
		}
	}
	header := r.bytes(10)
	if header == nil || header[0]&1 != 0 || [3]byte(header[3:6]) != [3]byte{0x9d, 0x01, 0x2a} {
		return 0, 0, false
	}
	const sizeBits = 1<<14 - 1 // the two bits above are the scale
	w = int(binary.LittleEndian.Uint16(header[6:]) & sizeBits)
	h = int(binary.LittleEndian.Uint16(header[8:]) & sizeBits)
	return sized(w, h)
}

// sized rejects an empty picture.
func sized(w, h int) (int, int, bool) {
	if w <= 0 || h <= 0 {
		return 0, 0, false
	}
	return w, h, true
}

// byteReader reads bytes. After the end of the data it returns zeros and sets short.
type byteReader struct {
	left  []byte
	short bool
}

func (r *byteReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *byteReader) uint16() int {
	if b := r.bytes(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

// bytes returns the next n bytes, or nil if there are fewer.
func (r *byteReader) bytes(n int) []byte {
	if len(r.left) < n {
		r.left, r.short = nil, true
		return nil
	}
	b := r.left[:n]
	r.left = r.left[n:]
	return b
}

// pictureID skips a picture id of 7 or 15 bits, as in VP8 and VP9.
func (r *byteReader) pictureID() {
	if r.byte()&0x80 != 0 {
		r.byte()
	}
}
