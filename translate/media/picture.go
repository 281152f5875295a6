package media

import (
	"slices"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	// maxFrameBytes is the largest key frame that is assembled.
	maxFrameBytes = 8 << 20
	// openFrames is the number of frames assembled at a time: packets arrive late by less.
	openFrames = 4
	// BlankSide is the larger side of the pictures that LiveKit itself sends when a track ends. They are not
	// the publisher's.
	BlankSide = 8
)

// Pictures assembles key frames from the packets of one RTP stream, which can arrive in any order. It
// requests no retransmission: a frame that lacks a packet is never returned. The zero value is ready. It is
// not safe for concurrent use.
type Pictures struct {
	frames []*openFrame // oldest first
	sizes  Sizes
}

// openFrame collects the packets of one RTP timestamp.
type openFrame struct {
	timestamp     uint32
	payloads      map[uint16][]byte
	bytes         int
	begun, ended  bool
	first, marked uint16 // sequence numbers of the first and the last packet
}

// Arrive takes a packet. It returns the key frame that the packet completes, or nil: frames without the
// beginning of a key frame are dropped. codec is LiveKit's mime type; a codec without HasPictures yields no
// frame.
func (p *Pictures) Arrive(codec string, packet []byte) (frame []byte) {
	var r rtp.Packet
	if !HasPictures(codec) || r.Unmarshal(packet) != nil || len(r.Payload) == 0 || r.Padding && isPadding(r.Payload) {
		return nil
	}
	f := p.frame(r.Timestamp)
	f.add(&r, p.beginsPicture(codec, r.Payload))
	if !f.complete() {
		return nil
	}
	p.drop(f)
	return f.join(codec)
}

// HasPictures reports whether key frames of a codec can be assembled.
func HasPictures(codec string) bool { return newDepacketizer(codec) != nil }

func newDepacketizer(codec string) rtp.Depacketizer {
	switch {
	case strings.EqualFold(codec, mimeVP8):
		return &codecs.VP8Packet{}
	case strings.EqualFold(codec, mimeH264):
		return &codecs.H264Packet{}
	case strings.EqualFold(codec, mimeVP9):
		return &codecs.VP9Packet{}
	case strings.EqualFold(codec, mimeAV1):
		return &codecs.AV1Depacketizer{}
	}
	return nil
}

// frame returns the frame of a timestamp; it creates it if needed.
func (p *Pictures) frame(timestamp uint32) *openFrame {
	for _, f := range p.frames {
		if f.timestamp == timestamp {
			return f
		}
	}
	if len(p.frames) == openFrames {
		p.frames = slices.Delete(p.frames, 0, 1)
	}
	f := &openFrame{timestamp: timestamp, payloads: make(map[uint16][]byte)}
	p.frames = append(p.frames, f)
	return f
}

func (p *Pictures) drop(f *openFrame) {
	p.frames = slices.DeleteFunc(p.frames, func(o *openFrame) bool { return o == f })
}

func (f *openFrame) add(r *rtp.Packet, begins bool) {
	if _, twice := f.payloads[r.SequenceNumber]; twice || f.bytes+len(r.Payload) > maxFrameBytes {
		return
	}
	f.payloads[r.SequenceNumber] = slices.Clone(r.Payload)
	f.bytes += len(r.Payload)
	if begins && (!f.begun || int16(r.SequenceNumber-f.first) < 0) {
		f.begun, f.first = true, r.SequenceNumber
	}
	if r.Marker {
		f.ended, f.marked = true, r.SequenceNumber
	}
}

// beginsPicture reports whether a payload is the first of a key frame.
func (p *Pictures) beginsPicture(codec string, payload []byte) bool {
	if strings.EqualFold(codec, mimeAV1) {
		const newSequence = 0x08 // N of the aggregation header (AV1 RTP §4.4)
		return payload[0]&newSequence != 0
	}
	w, h, ok := p.sizes.KeyFrame(codec, payload)
	return ok && max(w, h) > BlankSide
}

func (f *openFrame) complete() bool {
	if !f.begun || !f.ended {
		return false
	}
	for seq := f.first; ; seq++ {
		if _, here := f.payloads[seq]; !here {
			return false
		}
		if seq == f.marked {
			return true
		}
	}
}

// join returns the assembled frame, or nil if it is damaged.
func (f *openFrame) join(codec string) (frame []byte) {
	d := newDepacketizer(codec)
	for seq := f.first; ; seq++ {
		part, err := d.Unmarshal(f.payloads[seq])
		if err != nil {
			return nil
		}
		frame = append(frame, part...)
		if seq == f.marked {
			return frame
		}
	}
}
