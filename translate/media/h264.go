package media

import "slices"

// Types of NAL units (ITU-T H.264 table 7-1, RFC 6184 §5.2).
const (
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
	nalType  = 0x1f
)

// maxPicture is the largest plausible picture side of a parameter set, in pixels: level 6.2 allows less.
const maxPicture = 1 << 15

// h264Size finds a sequence parameter set in the payload: alone, among others, or the beginning of one in
// fragments (RFC 6184 §5.6, §5.7.1, §5.8). WebRTC encoders send one with each key frame.
func h264Size(payload []byte) (w, h int, ok bool) {
	if len(payload) < 2 {
		return 0, 0, false
	}
	switch payload[0] & nalType {
	case nalSPS:
		return spsSize(payload[1:])
	case nalSTAPA:
		r := byteReader{left: payload[1:]}
		for !r.short {
			nal := r.bytes(r.uint16())
			if len(nal) > 0 && nal[0]&nalType == nalSPS {
				return spsSize(nal[1:])
			}
		}
	case nalFUA:
		const start = 0x80
		if payload[1]&start != 0 && payload[1]&nalType == nalSPS {
			return spsSize(payload[2:])
		}
	}
	return 0, 0, false
}

// highProfiles are the profiles with chroma_format_idc and the elements after it.
var highProfiles = []uint32{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}

// spsSize parses a sequence parameter set after its NAL header (ITU-T H.264 §7.3.2.1.1).
func spsSize(sps []byte) (w, h int, ok bool) {
	r := bitReader{data: sps, escaped: true}
	profile := r.bits(8)
	r.bits(16) // constraints, level_idc
	r.ue()     // seq_parameter_set_id
	chroma := uint32(1)
	if slices.Contains(highProfiles, profile) {
		chroma = r.chromaFormat()
	}
	r.ue() // log2_max_frame_num_minus4
	r.pictureOrder()
	r.ue()    // max_num_ref_frames
	r.bits(1) // gaps_in_frame_num_value_allowed_flag
	columns, rows := r.ue()+1, r.ue()+1
	frameOnly := r.bits(1)
	if frameOnly == 0 {
		r.bits(1) // mb_adaptive_frame_field_flag
	}
	r.bits(1) // direct_8x8_inference_flag
	var left, right, top, bottom uint32
	if r.bits(1) != 0 {
		left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
	}
	fields := 2 - int(frameOnly)
	if r.short || columns > maxPicture || rows > maxPicture || max(left, right, top, bottom) > maxPicture {
		return 0, 0, false
	}
	unitX, unitY := cropUnit(chroma)
	w = 16*int(columns) - unitX*int(left+right)
	h = fields * (16*int(rows) - unitY*int(top+bottom))
	if w > maxPicture || h > maxPicture {
		return 0, 0, false
	}
	return sized(w, h)
}

// cropUnit returns the unit of the cropping offsets, by chroma_array_type (table 6-1), per field.
func cropUnit(chroma uint32) (x, y int) {
	switch chroma {
	case 1:
		return 2, 2
	case 2:
		return 2, 1
	}
	return 1, 1
}

// chromaFormat reads the elements that only the high profiles have, and returns chroma_array_type.
func (r *bitReader) chromaFormat() uint32 {
	chroma := r.ue()
	lists, array := 8, chroma
	if chroma == 3 {
		lists = 12
		if r.bits(1) != 0 { // separate_colour_plane_flag
			array = 0
		}
	}
	r.ue()    // bit_depth_luma_minus8
	r.ue()    // bit_depth_chroma_minus8
	r.bits(1) // qpprime_y_zero_transform_bypass_flag
	if r.bits(1) == 0 {
		return array
	}
	for i := range lists {
		size := 16
		if i >= 6 {
			size = 64
		}
		if r.bits(1) != 0 {
			r.scalingList(size)
		}
	}
	return array
}

func (r *bitReader) scalingList(size int) {
	last, next := int32(8), int32(8)
	for range size {
		if next != 0 {
			next = (last + r.se()) & 0xff
		}
		if next != 0 {
			last = next
		}
	}
}

func (r *bitReader) pictureOrder() {
	switch r.ue() { // pic_order_cnt_type
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.bits(1) // delta_pic_order_always_zero_flag
		r.ue()    // offset_for_non_ref_pic
		r.ue()    // offset_for_top_to_bottom_field
		for n := r.ue(); n > 0 && !r.short; n-- {
			r.ue() // offset_for_ref_frame
		}
	}
}
