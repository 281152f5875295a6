package rig

import "wcsgateway/internal/wcsclient"

// The key frames that peers send: real ones that a decoder shows as an even grey, made for any size so
// that nothing has to be recorded and stored.

const macroblock = 16 // pixels

func macroblocks(width, height int) int {
	return blocks(width) * blocks(height)
}

func blocks(pixels int) int { return (pixels + macroblock - 1) / macroblock }

// VP8Frame returns a VP8 key frame.
func VP8Frame(width, height int) []byte { return wcsclient.VP8Frame(width, height) }

// h264Frame makes an H264 key frame in constrained baseline, as Annex B: parameter sets and one slice of
// Intra_16x16 macroblocks without coefficients (ITU-T H.264 §7.3). Width and height must be even.
func h264Frame(width, height int) []byte {
	var frame []byte
	for _, nal := range [][]byte{h264SPS(width, height), h264PPS(), h264Slice(macroblocks(width, height))} {
		frame = append(append(frame, 0, 0, 0, 1), nal...)
	}
	return frame
}

func h264SPS(width, height int) []byte {
	var w bitWriter
	w.bits(66, 8)   // profile_idc: baseline
	w.bits(0xc0, 8) // constraint_set0 and 1: constrained
	w.bits(31, 8)   // level_idc 3.1
	w.ue(0)         // seq_parameter_set_id
	w.ue(0)         // log2_max_frame_num_minus4
	w.ue(2)         // pic_order_cnt_type: output order is decoding order
	w.ue(1)         // max_num_ref_frames
	w.bits(0, 1)    // gaps_in_frame_num_value_allowed_flag
	w.ue(uint32(blocks(width)) - 1)
	w.ue(uint32(blocks(height)) - 1)
	w.bits(0b11, 2) // frame_mbs_only_flag, direct_8x8_inference_flag
	w.bits(1, 1)    // frame_cropping_flag; the offsets count in two pixels
	w.ue(0)
	w.ue(uint32(blocks(width)*macroblock-width) / 2)
	w.ue(0)
	w.ue(uint32(blocks(height)*macroblock-height) / 2)
	w.bits(0, 1) // vui_parameters_present_flag
	return w.nal(0x67)
}

func h264PPS() []byte {
	var w bitWriter
	w.ue(0)      // pic_parameter_set_id
	w.ue(0)      // seq_parameter_set_id
	w.bits(0, 2) // entropy_coding_mode_flag: CAVLC; bottom_field_pic_order_in_frame_present_flag
	w.ue(0)      // num_slice_groups_minus1
	w.ue(0)      // num_ref_idx_l0_default_active_minus1
	w.ue(0)      // num_ref_idx_l1_default_active_minus1
	w.bits(0, 3) // weighted_pred_flag, weighted_bipred_idc
	w.ue(0)      // pic_init_qp_minus26
	w.ue(0)      // pic_init_qs_minus26
	w.ue(0)      // chroma_qp_index_offset
	w.bits(0, 3) // deblocking_filter_control, constrained_intra_pred, redundant_pic_cnt
	return w.nal(0x68)
}

func h264Slice(mbs int) []byte {
	var w bitWriter
	w.ue(0)      // first_mb_in_slice
	w.ue(7)      // slice_type: all slices of the picture are I
	w.ue(0)      // pic_parameter_set_id
	w.bits(0, 4) // frame_num
	w.ue(0)      // idr_pic_id
	w.bits(0, 2) // no_output_of_prior_pics_flag, long_term_reference_flag
	w.ue(0)      // slice_qp_delta
	for range mbs {
		w.ue(3) // mb_type I_16x16_2_0_0: prediction DC, nothing coded
		w.ue(0) // intra_chroma_pred_mode: DC
		w.ue(0) // mb_qp_delta
		w.ue(0) // coeff_token of the DC levels: none
	}
	return w.nal(0x65)
}

// bitWriter writes the bits of a NAL unit.
type bitWriter struct {
	out  []byte
	free int // bits not yet used of the last byte
}

func (w *bitWriter) bits(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.out = append(w.out, 0)
			w.free = 8
		}
		w.free--
		w.out[len(w.out)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an unsigned Exp-Golomb number.
func (w *bitWriter) ue(v uint32) {
	length := 0
	for (v+1)>>length > 1 {
		length++
	}
	w.bits(0, length)
	w.bits(v+1, length+1)
}

// nal ends the unit, puts its header in front and breaks up what looks like a start code (§7.4.1.1).
func (w *bitWriter) nal(header byte) []byte {
	w.bits(1, 1)
	nal := []byte{header}
	zeros := 0
	for _, b := range w.out {
		if zeros == 2 && b <= 3 {
			nal = append(nal, 3)
			zeros = 0
		}
		nal = append(nal, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return nal
}
