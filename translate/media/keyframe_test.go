package media

import (
	"bytes"
	"encoding/hex"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// The first bytes of frames that libvpx, x264, x265, libaom and SVT-AV1 encoded of a test picture. VP9
// profiles 0 and 2 have 4:2:0 chroma, with 8 and more bits; 1 and 3 have others.
var encoded = []struct {
	name, codec, frame string
	w, h               int
}{
	{"vp8", mimeVP8, "909c009d012a800268010047088585888584880202e01041", 640, 360},
	{"vp8 odd", mimeVP8, "7087019d012a0105d1020007088585888584880203bbf1af", 1281, 721},
	{"vp8 inter", mimeVP8, "310c000e10ac001886ff5a8495fda1fe7f916422bf5000cc", 0, 0},
	{"vp9 profile 0", mimeVP9, "824983420027f016760a38241c184a1005587fd1fa3e8fe7", 640, 360},
	{"vp9 profile 0 odd", mimeVP9, "824983420050002d060838241c184a1803f87fd5f9bf37f1", 1281, 721},
	{"vp9 profile 1 yuv", mimeVP9, "a249834200050002d0c107048383094200e97fd1fa3e8fef", 641, 361},
	{"vp9 profile 1 rgb", mimeVP9, "a2498342e0280016860638241c184a1007607fd9fa3e8be7", 641, 361},
	{"vp9 profile 2", mimeVP9, "924983420013f80b3b061c120e0c2c0802b07fd1fa3e8be7", 640, 360},
	{"vp9 profile 3", mimeVP9, "b124c1a140014000b43051c120e0c2e08031407fcdfa3e8b", 641, 361},
	{"vp9 inter", mimeVP9, "86004092f2214004001a60fa2dcd90ad0efc35594a000000", 0, 0},
	{"vp9 inter profile 3", mimeVP9, "b30020494e4e28008003c060fa0fcdc13f6d29df66afe968", 0, 0},
	{"h264 baseline", mimeH264, "6742c01ed900a03db011000003000100000300320f162e48", 640, 480},
	{"h264 main", mimeH264, "674d401feca02802dd80880000030008000003019078c18cb0", 1280, 720},
	{"h264 high cropped below", mimeH264, "67640028acd940780227e5c044000003000400000300c83c60c658", 1920, 1080},
	{"h264 high cropped", mimeH264, "6764001eacd940a42fe224c044000003000400000300c83c58b658", 642, 362},
	{"h264 4:2:2 cropped", mimeH264, "677a001ebcd940a42fe2223011000003000100000300320f162d96", 642, 361},
	{"h264 4:4:4 cropped", mimeH264, "67f4001e919b281485fc211180880000030008000003019078b16cb0", 641, 361},
	{"h264 grey cropped", mimeH264, "6764001ef3650290bf84223016c80000030008000003019078b16cb0", 641, 361},
	{"h264 interlaced", mimeH264, "6764001eacd940b424d8088000000300800000190f8a14cb", 720, 576},
	{"h264 interlaced cropped", mimeH264, "67640028acd94078044fde0220000003002000000643e2c5b2c0", 1920, 1080},
	{"h264 smallest", mimeH264, "6764000aacd95ec044000003000400000300c83c489658", 16, 16},
	{"h264 picture set", mimeH264, "68ebe3cb22c0", 0, 0},
	{"h264 slice", mimeH264, "658884003ffef4f9b8f9d7c0", 0, 0},
	{"h265", mimeH265, "42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321", 640, 360},
	{"h265 cropped", mimeH265, "42010101600000030090000003000003003fa005120171c9265959a4932bc05a020000030002000003003210", 642, 362},
	{"h265 4:2:2 cropped", mimeH265, "4201010408000003009d0800000300003fb005120171c91196566924cafff0b480b4968080000003008000000c84", 642, 361},
	{"h265 4:4:4 cropped", mimeH265, "4201010408000003009e0800000300003f9000a2402e38888cb2b3492657ff8b480b44b4040000030004000003006420", 641, 361},
	{"h265 slice", mimeH265, "2601af1d80c1", 0, 0},
	{"av1 libaom", mimeAV1, "12000a0b0000000cc4ff6736be401032a01a1400a40010d86ecaef693d20a81e", 640, 360},
	{"av1 libaom 4:4:4", mimeAV1, "12000a0b2000000cc5016836be408032bf45100090001453478aae0aeb820aeb", 641, 361},
	{"av1 svt", mimeAV1, "12000a0b0000000cc4ff673efe401032f52d1400a33824dd446c8b53ecdcf96e", 640, 360},
	{"av1 inter", mimeAV1, "120032a01a1400a40010d86ecaef693d20a81e", 0, 0},
}

func TestKeyFrameSizeIsReadFromPayloadsOfPion(t *testing.T) {
	payloaders := map[string]map[string]func() rtp.Payloader{
		mimeVP8: {
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
		mimeVP9: {
			"flexible": func() rtp.Payloader { return &codecs.VP9Payloader{FlexibleMode: true} },
			"grouped":  func() rtp.Payloader { return &codecs.VP9Payloader{} },
		},
		mimeH264: {"single": func() rtp.Payloader { return &codecs.H264Payloader{} }},
		mimeH265: {"single": func() rtp.Payloader { return &codecs.H265Payloader{SkipAggregation: true} }},
		mimeAV1:  {"first OBU": func() rtp.Payloader { return &codecs.AV1Payloader{} }},
	}
	for _, tt := range encoded {
		for kind, payloader := range payloaders[tt.codec] {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				frame := unhex(t, tt.frame)
				if tt.codec == mimeH264 { // Annex B; a picture parameter set and a slice follow
					frame = append([]byte{0, 0, 0, 1}, frame...)
					frame = append(frame, 0, 0, 0, 1, 0x68, 0xeb, 0xe3, 0xcb, 0, 0, 0, 1, 0x65, 0x88, 0x84)
				}
				if tt.codec == mimeH265 { // between a video and a picture parameter set
					frame = append(unhex(t, "00000001 40010c01ffff 00000001"), frame...)
					frame = append(frame, unhex(t, "00000001 4401c172b46240")...)
				}
				if tt.codec == mimeAV1 { // the last OBU is complete
					frame = completed(frame)
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
		if w, h, ok := (&Sizes{}).KeyFrame(codec, payload); ok {
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
		{"vp8, everything in the descriptor", mimeVP8, "90f0 ff01 07 60" + key, 640, 360},
		{"vp8, short picture id", mimeVP8, "9080 01" + key, 640, 360},
		{"vp8, scaled on the other side", mimeVP8, "10 909c009d012a80426881", 640, 360},
		{"vp8, not the first partition", mimeVP8, "11" + key, 0, 0},
		{"vp8, not the first packet", mimeVP8, "00" + key, 0, 0},
		{"vp8, no start code", mimeVP8, "10 909c009d012b80026801", 0, 0},
		{"vp8, empty picture", mimeVP8, "10 909c009d012a00006801", 0, 0},
		{"vp8, cut off", mimeVP8, "10 909c009d012a800268", 0, 0},
		{"vp8, cut off in the descriptor", mimeVP8, "90f0 ff", 0, 0},

		{"h264, among others", mimeH264, "78 0002 09f0 0018 67" + sps + "0004 68ebe3cb", 640, 480},
		{"h264, in fragments", mimeH264, "7c87" + sps, 640, 480},
		{"h264, middle fragment", mimeH264, "7c07" + sps, 0, 0},
		{"h264, fragment of a slice", mimeH264, "7c85" + sps, 0, 0},
		{"h264, lengths that lie", mimeH264, "78 0002 09f0 0118 67" + sps, 0, 0},
		{"h264, empty unit", mimeH264, "78 0000 0018 67" + sps, 640, 480},
		{"h264, cut off", mimeH264, "67 42c01ed900a0", 0, 0},
		{"h264, nothing but a header", mimeH264, "67", 0, 0},

		{"vp9, sizes of three layers", mimeVP9, "aa 8001 00 00 50" + sizes + vp9Key, 1280, 720},
		{"vp9, pictures without sizes", mimeVP9, "8a 01 08" + "03 00 04aa 08aabb" + vp9Key, 640, 360}, // 0, 1 and 2 references
		{"vp9, sizes and pictures", mimeVP9, "8a 01 18" + "028001680100" + "ff", 640, 360},
		{"vp9, topmost layer off", mimeVP9, "8a 01 30" + "02800168 00000000", 640, 360},
		{"vp9, sizes cut off", mimeVP9, "8a 01 30" + "02800168 0500", 0, 0},
		{"vp9, structure without sizes", mimeVP9, "8a 01 00" + vp9Key, 640, 360},
		{"vp9, flexible with layers", mimeVP9, "b8 01 00" + vp9Key, 640, 360},
		{"vp9, not the first packet", mimeVP9, "80 01" + vp9Key, 0, 0},
		{"vp9, predicted", mimeVP9, "c8 01" + vp9Key, 0, 0},
		{"vp9, predicted, flexible", mimeVP9, "d8 01 030506" + vp9Key, 0, 0},
		{"vp9, shown again", mimeVP9, "88 01 88" + vp9Key, 0, 0},
		{"vp9, no sync code", mimeVP9, "88 01 824983430027f01676", 0, 0},
		{"vp9, cut off", mimeVP9, "88 01 8249834200", 0, 0},

		{"empty vp8", mimeVP8, "", 0, 0},
		{"empty vp9", mimeVP9, "", 0, 0},
		{"empty h264", mimeH264, "", 0, 0},
		{"another codec", mimeAV1, "10" + key, 0, 0},
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
			wantSize(t, mimeH264, [][]byte{sps}, tt.w, tt.h)
			if w, _, ok := (&Sizes{}).KeyFrame(mimeH264, sps[:5]); ok {
				t.Errorf("width of half a parameter set = %d", w)
			}
		})
	}
}

func TestHasKeyFrameSizeForFiveCodecs(t *testing.T) {
	for codec, want := range map[string]bool{
		mimeVP8: true, mimeVP9: true, mimeH264: true, "video/vp8": true, mimeAV1: true, mimeH265: true, "video/H266": false, "audio/opus": false, "": false,
	} {
		if got := HasKeyFrameSize(codec); got != want {
			t.Errorf("%q: %v", codec, got)
		}
	}
}

// completed shortens the size of the last OBU to the data that are there.
func completed(frame []byte) []byte {
	at := bytes.IndexByte(frame, 0x32) // an OBU of a frame, whose size has two bytes
	if at < 0 || len(frame) < at+3 {
		return frame
	}
	return slices.Concat(frame[:at+1], []byte{byte(len(frame) - at - 3)}, frame[at+3:])
}

// hostile returns payloads of 1,400 bytes that take the most memory when they are parsed.
func hostile() map[string]struct {
	codec   string
	payload []byte
} {
	// A parameter set of H265 whose first set of reference pictures has 255 in each direction, and whose next
	// sets are predicted from it: a bit for each picture.
	h265Set := func(bytes int) []byte {
		w := &bitWriter{}
		for _, b := range []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0xff, 0xff, 0x03, 0x90, 0xff, 0xff, 0x03, 0xff, 0xff, 0x3f} {
			w.bits(uint32(b), 8)
		}
		for _, v := range []uint32{0, 1, 640, 360} {
			w.ue(v)
		}
		w.bits(0, 1) // conformance_window_flag
		for _, v := range []uint32{0, 0, 4} {
			w.ue(v)
		}
		w.bits(1, 1) // sub_layer_ordering_info_present_flag
		for range 3 + 6 {
			w.ue(0)
		}
		w.bits(0, 4) // no scaling list, amp, sao, pcm
		w.ue(64)     // num_short_term_ref_pic_sets
		w.ue(255)
		w.ue(255)
		for range 2 * 255 {
			w.bits(0b11, 2) // delta_poc_minus1 0, used
		}
		for len(w.out) < bytes {
			w.bits(1, 1) // predicted
			w.bits(0, 1) // delta_rps_sign
			w.ue(0)
			w.bits(1<<32-1, 32)
			for range 15 {
				w.bits(1<<32-1, 32)
			}
		}
		return w.out
	}
	layers := []byte{0x0a, 0xf8}
	for range 8 {
		layers = append(layers, 1, 0, 1, 0)
	}
	layers = append(layers, 255)
	for range 255 {
		layers = append(layers, 3<<2, 1, 2, 3)
	}
	set := func(bytes int) []byte {
		return append([]byte{0x67, 100, 0, 30}, slices.Repeat([]byte{0xff}, bytes-4)...)
	}
	return map[string]struct {
		codec   string
		payload []byte
	}{
		"vp9 structures":      {mimeVP9, layers},
		"h264 scaling lists":  {mimeH264, set(maxParameters)},
		"h264 long":           {mimeH264, set(1400)},
		"h265 reference sets": {mimeH265, h265Set(maxParameters)[:maxParameters]},
		"h265 long":           {mimeH265, h265Set(1400)[:1400]},
		"av1 OBUs":            {mimeAV1, append([]byte{0x08}, slices.Repeat([]byte{2, 0x12, 0}, 400)...)},
		"av1 sequence":        {mimeAV1, append([]byte{0x18, 0x08, 0, 0xf8}, slices.Repeat([]byte{0}, 200)...)},
	}
}

// The payloads of a hostile publisher cost little memory each, whatever they contain.
func TestKeyFrameSizeOfHostilePayloadsAllocatesLittle(t *testing.T) {
	for name, tt := range hostile() {
		t.Run(name, func(t *testing.T) {
			var s Sizes
			s.KeyFrame(tt.codec, tt.payload)
			if n := testing.AllocsPerRun(10, func() { s.KeyFrame(tt.codec, tt.payload) }); n > 100 {
				t.Errorf("%v allocations", n)
			}
			const most = 16 << 10
			if got := allocated(100, func() { s.KeyFrame(tt.codec, tt.payload) }); got > most {
				t.Errorf("%d bytes allocated, want at most %d", got, most)
			}
		})
	}
}

// allocated returns the bytes that a call allocates.
func allocated(calls uint64, call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		call()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / calls
}

// Almost all packets of a stream begin no key frame.
func TestKeyFrameSizeOfOtherPacketsAllocatesNothing(t *testing.T) {
	for _, tt := range []struct{ name, codec, payload string }{
		{"vp8 begins", mimeVP8, "9080 01 310c000e10ac001886ff"},
		{"vp8 continues", mimeVP8, "80 80 01 310c000e10ac001886ff"},
		{"vp9 flexible", mimeVP9, "d8 01 030506 860040"},
		{"h264 slice", mimeH264, "4188840033ff"},
		{"h264 fragment", mimeH264, "7c0588840033ff"},
		{"h265 slice", mimeH265, "0201d0097e"},
		{"av1 continues", mimeAV1, "90 a01a1400a4"},
		{"av1 inter", mimeAV1, "10 3200a01a14"},
	} {
		var s Sizes
		payload := unhex(t, tt.payload)
		if n := testing.AllocsPerRun(10, func() { s.KeyFrame(tt.codec, payload) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func FuzzKeyFrameSize(f *testing.F) {
	for _, tt := range encoded {
		frame, _ := hex.DecodeString(tt.frame)
		f.Add(tt.codec, frame)
		f.Add(tt.codec, append([]byte{0x90, 0x80, 0x01}, frame...))
	}
	for _, tt := range hostile() {
		f.Add(tt.codec, tt.payload)
	}
	f.Fuzz(func(t *testing.T, codec string, payload []byte) {
		var s Sizes
		w, h, ok := s.KeyFrame(codec, payload)
		if ok && (w <= 0 || h <= 0 || w > maxSide || h > maxSide) {
			t.Errorf("size %dx%d", w, h)
		}
		if !ok && (w != 0 || h != 0) {
			t.Errorf("size %dx%d without ok", w, h)
		}
		if ok && !HasKeyFrameSize(codec) {
			t.Errorf("size of %q", codec)
		}
		if w2, h2, ok2 := s.KeyFrame(codec, payload); w2 != w || h2 != h || ok2 != ok {
			t.Errorf("size %dx%d, then %dx%d", w, h, w2, h2)
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
