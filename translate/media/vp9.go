package media

// Bits of the first byte of a VP9 payload descriptor (RFC 9628 §4.2).
const (
	vp9PictureID = 0x80
	vp9Predicted = 0x40 // predicted from an earlier picture
	vp9Layers    = 0x20
	vp9Flexible  = 0x10
	vp9Begin     = 0x08 // start of a frame
	vp9Structure = 0x02 // the scalability structure follows
)

// vp9Size reads the payload descriptor. Its scalability structure contains the sizes of all spatial layers;
// the last is that of the whole picture. Without a structure the size is in the header of a key frame.
func vp9Size(payload []byte) (w, h int, ok bool) {
	r := byteReader{left: payload}
	first := r.byte()
	if first&vp9PictureID != 0 {
		r.pictureID()
	}
	if first&vp9Layers != 0 {
		r.byte() // TID, U, SID, D
		if first&vp9Flexible == 0 {
			r.byte() // TL0PICIDX
		}
	}
	if first&vp9Flexible != 0 && first&vp9Predicted != 0 {
		for i := 0; i < 3 && r.byte()&1 != 0; i++ { // P_DIFF, and whether another follows
		}
	}
	if first&vp9Structure != 0 {
		w, h = r.vp9Structure()
	}
	if r.short {
		return 0, 0, false
	}
	if w == 0 && first&vp9Begin != 0 && first&vp9Predicted == 0 {
		w, h = vp9FrameSize(r.left)
	}
	return sized(w, h)
}

// vp9Structure returns the size of the topmost layer that has one, or zeros.
func (r *byteReader) vp9Structure() (w, h int) {
	head := r.byte()
	if head&0x10 != 0 {
		for range head>>5 + 1 {
			if lw, lh := r.uint16(), r.uint16(); lw != 0 && lh != 0 {
				w, h = lw, lh
			}
		}
	}
	if head&0x08 != 0 {
		for range r.byte() {
			r.bytes(int(r.byte() >> 2 & 3)) // the references of a picture in the group
		}
	}
	return w, h
}

// vp9FrameSize reads the uncompressed header of a key frame (VP9 bitstream specification §6.2). It returns
// zeros if the frame is not a key frame.
func vp9FrameSize(frame []byte) (w, h int) {
	r := bitReader{data: frame}
	const marker, syncCode, sRGB = 2, 0x498342, 7
	if r.bits(2) != marker {
		return 0, 0
	}
	profile := r.bits(1) | r.bits(1)<<1
	if profile == 3 {
		r.bits(1)
	}
	if r.bits(1) != 0 || r.bits(1) != 0 { // show_existing_frame; frame_type, where 0 is a key frame
		return 0, 0
	}
	r.bits(2) // show_frame, error_resilient_mode
	if r.bits(24) != syncCode {
		return 0, 0
	}
	if profile >= 2 {
		r.bits(1) // ten_or_twelve_bit
	}
	odd := profile == 1 || profile == 3
	switch isRGB := r.bits(3) == sRGB; {
	case isRGB && odd:
		r.bits(1)
	case !isRGB && odd:
		r.bits(4) // color_range, subsampling_x, subsampling_y, reserved
	case !isRGB:
		r.bits(1) // color_range
	}
	w, h = int(r.bits(16))+1, int(r.bits(16))+1
	if r.short {
		return 0, 0
	}
	return w, h
}
