package media

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	vp8  = "video/VP8"
	vp9  = "video/VP9"
	h264 = "video/H264"
)

// The first bytes of frames that libvpx and x264 encoded of a test picture. VP9 profiles 0 and 2 have 4:2:0
// chroma, with 8 and more bits; 1 and 3 have others.
var encoded = []struct {
	name, codec, frame string
	w, h               int
}{
	{"vp8", vp8, "909c009d012a800268010047088585888584880202e01041", 640, 360},
	{"vp8 odd", vp8, "7087019d012a0105d1020007088585888584880203bbf1af", 1281, 721},
	{"vp8 inter", vp8, "310c000e10ac001886ff5a8495fda1fe7f916422bf5000cc", 0, 0},
	{"vp9 profile 0", vp9, "824983420027f016760a38241c184a1005587fd1fa3e8fe7", 640, 360},
	{"vp9 profile 0 odd", vp9, "824983420050002d060838241c184a1803f87fd5f9bf37f1", 1281, 721},
	{"vp9 profile 1 yuv", vp9, "a249834200050002d0c107048383094200e97fd1fa3e8fef", 641, 361},
	{"vp9 profile 1 rgb", vp9, "a2498342e0280016860638241c184a1007607fd9fa3e8be7", 641, 361},
	{"vp9 profile 2", vp9, "924983420013f80b3b061c120e0c2c0802b07fd1fa3e8be7", 640, 360},
	{"vp9 profile 3", vp9, "b124c1a140014000b43051c120e0c2e08031407fcdfa3e8b", 641, 361},
	{"vp9 inter", vp9, "86004092f2214004001a60fa2dcd90ad0efc35594a000000", 0, 0},
	{"vp9 inter profile 3", vp9, "b30020494e4e28008003c060fa0fcdc13f6d29df66afe968", 0, 0},
	{"h264 baseline", h264, "6742c01ed900a03db011000003000100000300320f162e48", 640, 480},
	{"h264 main", h264, "674d401feca02802dd80880000030008000003019078c18cb0", 1280, 720},
	{"h264 high cropped below", h264, "67640028acd940780227e5c044000003000400000300c83c60c658", 1920, 1080},
	{"h264 high cropped", h264, "6764001eacd940a42fe224c044000003000400000300c83c58b658", 642, 362},
	{"h264 4:2:2 cropped", h264, "677a001ebcd940a42fe2223011000003000100000300320f162d96", 642, 361},
	{"h264 4:4:4 cropped", h264, "67f4001e919b281485fc211180880000030008000003019078b16cb0", 641, 361},
	{"h264 grey cropped", h264, "6764001ef3650290bf84223016c80000030008000003019078b16cb0", 641, 361},
	{"h264 interlaced", h264, "6764001eacd940b424d8088000000300800000190f8a14cb", 720, 576},
	{"h264 interlaced cropped", h264, "67640028acd94078044fde0220000003002000000643e2c5b2c0", 1920, 1080},
	{"h264 smallest", h264, "6764000aacd95ec044000003000400000300c83c489658", 16, 16},
	{"h264 picture set", h264, "68ebe3cb22c0", 0, 0},
	{"h264 slice", h264, "658884003ffef4f9b8f9d7c0", 0, 0},
}

func TestKeyFrameSizeIsReadFromPayloadsOfPion(t *testing.T) {
	payloaders := map[string]map[string]func() rtp.Payloader{
		vp8: {
			"bare":       func() rtp.Payloader { return &codecs.VP8Payloader{} },
			"picture id": func() rtp.Payloader { return &codecs.VP8Payloader{EnablePictureID: true} },
			"long picture id": func() rtp.Payloader {
				p := &codecs.VP8Payloader{EnablePictureID: true}
				for range 200 {
					p.Payload(1200, []byte{0})
				}
				return p
			},
		},
		vp9: {
			"flexible": func() rtp.Payloader { return &codecs.VP9Payloader{FlexibleMode: true} },
			"grouped":  func() rtp.Payloader { return &codecs.VP9Payloader{} },
		},
		h264: {"single": func() rtp.Payloader { return &codecs.H264Payloader{} }},
	}
	for _, tt := range encoded {
		for kind, payloader := range payloaders[tt.codec] {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				frame := unhex(t, tt.frame)
				if tt.codec == h264 { // Annex B; a picture parameter set and a slice follow
					frame = append([]byte{0, 0, 0, 1}, frame...)
					frame = append(frame, 0, 0, 0, 1, 0x68, 0xeb, 0xe3, 0xcb, 0, 0, 0, 1, 0x65, 0x88, 0x84)
				}
				payloads := payloader().Payload(1200, frame)
				if len(payloads) == 0 {
					t.Fatal("no payloads")
				}
				wantSize(t, strings.ToLower(tt.codec), payloads, tt.w, tt.h)
			})
		}
	}
}

// wantSize requires the size in exactly one payload, or in none if it is zero.
func wantSize(t *testing.T, codec string, payloads [][]byte, width, height int) {
	t.Helper()
	found := 0
	for _, payload := range payloads {
		if w, h, ok := KeyFrameSize(codec, payload); ok {
			found++
			if w != width || h != height {
				t.Errorf("size is %dx%d, want %dx%d", w, h, width, height)
			}
		}
	}
	if want := min(width, 1); found != want {
		t.Errorf("%d of %d payloads have a size, want %d", found, len(payloads), want)
	}
}

// The payloads are of forms that pion does not produce but others do.
func TestKeyFrameSizeIsReadFromOtherPayloadForms(t *testing.T) {
	const (
		sps    = "42c01ed900a03db011000003000100000300320f162e48" // 640x480, without its header
		key    = "909c009d012a80026801"                           // VP8, 640x360
		vp9Key = "824983420027f016760a38241c18"                   // 640x360
		sizes  = "014000b4028001680500 02d0"                      // 320x180, 640x360, 1280x720
	)
	for _, tt := range []struct {
		name, codec, payload string
		w, h                 int
	}{
		{"vp8, everything in the descriptor", vp8, "90f0 ff01 07 60" + key, 640, 360},
		{"vp8, short picture id", vp8, "9080 01" + key, 640, 360},
		{"vp8, scaled on the other side", vp8, "10 909c009d012a80426881", 640, 360},
		{"vp8, not the first partition", vp8, "11" + key, 0, 0},
		{"vp8, not the first packet", vp8, "00" + key, 0, 0},
		{"vp8, no start code", vp8, "10 909c009d012b80026801", 0, 0},
		{"vp8, empty picture", vp8, "10 909c009d012a00006801", 0, 0},
		{"vp8, cut off", vp8, "10 909c009d012a800268", 0, 0},
		{"vp8, cut off in the descriptor", vp8, "90f0 ff", 0, 0},

		{"h264, among others", h264, "78 0002 09f0 0018 67" + sps + "0004 68ebe3cb", 640, 480},
		{"h264, in fragments", h264, "7c87" + sps, 640, 480},
		{"h264, middle fragment", h264, "7c07" + sps, 0, 0},
		{"h264, fragment of a slice", h264, "7c85" + sps, 0, 0},
		{"h264, lengths that lie", h264, "78 0002 09f0 0118 67" + sps, 0, 0},
		{"h264, empty unit", h264, "78 0000 0018 67" + sps, 640, 480},
		{"h264, cut off", h264, "67 42c01ed900a0", 0, 0},
		{"h264, nothing but a header", h264, "67", 0, 0},

		{"vp9, sizes of three layers", vp9, "aa 8001 00 00 50" + sizes + vp9Key, 1280, 720},
		{"vp9, pictures without sizes", vp9, "8a 01 08" + "03 00 04aa 08aabb" + vp9Key, 640, 360}, // 0, 1 and 2 references
		{"vp9, sizes and pictures", vp9, "8a 01 18" + "028001680100" + "ff", 640, 360},
		{"vp9, topmost layer off", vp9, "8a 01 30" + "02800168 00000000", 640, 360},
		{"vp9, sizes cut off", vp9, "8a 01 30" + "02800168 0500", 0, 0},
		{"vp9, structure without sizes", vp9, "8a 01 00" + vp9Key, 640, 360},
		{"vp9, flexible with layers", vp9, "b8 01 00" + vp9Key, 640, 360},
		{"vp9, not the first packet", vp9, "80 01" + vp9Key, 0, 0},
		{"vp9, predicted", vp9, "c8 01" + vp9Key, 0, 0},
		{"vp9, predicted, flexible", vp9, "d8 01 030506" + vp9Key, 0, 0},
		{"vp9, shown again", vp9, "88 01 88" + vp9Key, 0, 0},
		{"vp9, no sync code", vp9, "88 01 824983430027f01676", 0, 0},
		{"vp9, cut off", vp9, "88 01 8249834200", 0, 0},

		{"empty vp8", vp8, "", 0, 0},
		{"empty vp9", vp9, "", 0, 0},
		{"empty h264", h264, "", 0, 0},
		{"another codec", "video/AV1", "10" + key, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantSize(t, tt.codec, [][]byte{unhex(t, tt.payload)}, tt.w, tt.h)
		})
	}
}

// The parameter sets have elements that x264 does not write: scaling lists, other picture orders, fields that
// are not whole frames.
func TestKeyFrameSizeIsReadFromRareParameterSets(t *testing.T) {
	size := func(w *bitWriter, frameOnly uint32) {
		w.ue(1)      // max_num_ref_frames
		w.bits(0, 1) // gaps_in_frame_num_value_allowed_flag
		w.ue(20 - 1) // 320 pixels
		w.ue(12 - 1) // 192 pixels, or twice that of two fields
		w.bits(frameOnly, 1)
		if frameOnly == 0 {
			w.bits(1, 1) // mb_adaptive_frame_field_flag
		}
		w.bits(1, 1) // direct_8x8_inference_flag
		w.bits(1, 1) // cropped
		for _, offset := range []uint32{1, 2, 3, 1} {
			w.ue(offset)
		}
		w.bits(0, 1) // no VUI
	}
	head := func(profile uint32) *bitWriter {
		w := &bitWriter{}
		w.bits(profile, 8)
		w.bits(31, 16)
		w.ue(0) // seq_parameter_set_id
		return w
	}
	plain := func(w *bitWriter) {
		w.ue(0) // log2_max_frame_num_minus4
		w.ue(2) // pic_order_cnt_type
	}
	high := func(profile, chroma uint32, planes bool, lists ...[]int32) *bitWriter {
		w := head(profile)
		w.ue(chroma)
		if chroma == 3 {
			w.flag(planes)
		}
		w.ue(0)
		w.ue(0)
		w.bits(0, 1)
		w.flag(len(lists) > 0)
		for _, list := range lists {
			w.flag(list != nil)
			for _, delta := range list {
				w.se(delta)
			}
		}
		return w
	}
	flat, stop := make([]int32, 16), []int32{-8} // an empty list is the default one
	flat64 := make([]int32, 64)

	for name, tt := range map[string]struct {
		sps  func() *bitWriter
		w, h int
	}{
		"order 1": {func() *bitWriter {
			w := head(66)
			w.ue(0)
			w.ue(1)
			w.bits(1, 1)
			w.se(-5)
			w.se(7)
			w.ue(3)
			for _, offset := range []int32{1, -2, 300} {
				w.se(offset)
			}
			size(w, 1)
			return w
		}, 320 - 2*3, 192 - 2*4},
		"order 0, fields": {func() *bitWriter {
			w := head(77)
			w.ue(4)
			w.ue(0)
			w.ue(6)
			size(w, 0)
			return w
		}, 320 - 2*3, 2 * (192 - 2*4)},
		"scaling lists 4:2:0": {func() *bitWriter {
			w := high(100, 1, false, flat, nil, stop, flat, nil, nil, flat64, stop)
			plain(w)
			size(w, 1)
			return w
		}, 320 - 2*3, 192 - 2*4},
		"scaling lists 4:4:4": {func() *bitWriter {
			w := high(244, 3, false, flat, nil, nil, nil, nil, nil, flat64, nil, stop, nil, nil, flat64)
			plain(w)
			size(w, 1)
			return w
		}, 320 - 3, 192 - 4},
		"4:4:4 in planes": {func() *bitWriter {
			w := high(244, 3, true)
			plain(w)
			size(w, 1)
			return w
		}, 320 - 3, 192 - 4},
		"cropped to nothing": {func() *bitWriter {
			w := head(66)
			plain(w)
			w.ue(1)
			w.bits(0, 1)
			w.ue(0)
			w.ue(0)
			w.bits(0b111, 3)
			for _, offset := range []uint32{4, 4, 0, 0} {
				w.ue(offset)
			}
			return w
		}, 0, 0},
		"too large": {func() *bitWriter {
			w := head(66)
			plain(w)
			w.ue(1)
			w.bits(0, 1)
			w.ue(1<<32 - 2)
			w.ue(0)
			w.bits(0b110, 3)
			return w
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sps := append([]byte{0x67}, tt.sps().escaped()...)
			wantSize(t, h264, [][]byte{sps}, tt.w, tt.h)
			if w, _, ok := KeyFrameSize(h264, sps[:5]); ok {
				t.Errorf("width of half a parameter set = %d", w)
			}
		})
	}
}

func TestHasKeyFrameSizeForThreeCodecs(t *testing.T) {
	for codec, want := range map[string]bool{
		vp8: true, vp9: true, h264: true, "video/vp8": true, "video/AV1": false, "video/H265": false, "audio/opus": false, "": false,
	} {
		if got := HasKeyFrameSize(codec); got != want {
			t.Errorf("%q: %v", codec, got)
		}
	}
}

func FuzzKeyFrameSize(f *testing.F) {
	for _, tt := range encoded {
		frame, _ := hex.DecodeString(tt.frame)
		f.Add(tt.codec, frame)
		f.Add(tt.codec, append([]byte{0x90, 0x80, 0x01}, frame...))
	}
	f.Fuzz(func(t *testing.T, codec string, payload []byte) {
		w, h, ok := KeyFrameSize(codec, payload)
		if ok && (w <= 0 || h <= 0 || w > 1<<16 || h > 1<<16) {
			t.Errorf("size %dx%d", w, h)
		}
		if !ok && (w != 0 || h != 0) {
			t.Errorf("size %dx%d without ok", w, h)
		}
		if ok && !HasKeyFrameSize(codec) {
			t.Errorf("size of %q", codec)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bitWriter writes parameter sets.
type bitWriter struct {
	out []byte
	n   int // bits
}

func (w *bitWriter) bits(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.n%8 == 0 {
			w.out = append(w.out, 0)
		}
		w.out[w.n/8] |= byte(v>>n&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) flag(set bool) {
	if set {
		w.bits(1, 1)
	} else {
		w.bits(0, 1)
	}
}

func (w *bitWriter) ue(v uint32) {
	length := 0
	for uint64(v+1)>>length > 1 {
		length++
	}
	w.bits(0, length)
	w.bits(v+1, length+1)
}

func (w *bitWriter) se(v int32) {
	if v > 0 {
		w.ue(uint32(2*v - 1))
	} else {
		w.ue(uint32(-2 * v))
	}
}

// escaped ends the unit and breaks up what looks like a start code (ITU-T H.264 §7.4.1.1).
func (w *bitWriter) escaped() []byte {
	w.bits(1, 1)
	var out []byte
	zeros := 0
	for _, b := range w.out {
		if zeros == 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	return out
}
