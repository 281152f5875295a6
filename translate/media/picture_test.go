package media

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// vp8Picture returns a VP8 frame of size bytes, of which only the header is valid.
func vp8Picture(key bool, w, h, size int) []byte {
	frame := bytes.Repeat([]byte{0xa5}, size)
	copy(frame, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(w), byte(w >> 8), byte(h), byte(h >> 8)})
	if !key {
		frame[0] |= 1
	}
	for i := 10; i < size; i++ {
		frame[i] = byte(i * 7)
	}
	return frame
}

// packetsOf splits a frame as pion does.
func packetsOf(t testing.TB, frame []byte, first uint16, timestamp uint32) (packets [][]byte) {
	t.Helper()
	payloads := (&codecs.VP8Payloader{}).Payload(100, frame)
	for i, payload := range payloads {
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: first + uint16(i), Timestamp: timestamp, Marker: i == len(payloads)-1},
			Payload: payload,
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	return packets
}

// arrive returns the frames that the packets complete.
func (p *Pictures) arrive(packets ...[]byte) (frames [][]byte) {
	for _, packet := range packets {
		if f := p.Arrive(mimeVP8, packet); f != nil {
			frames = append(frames, f)
		}
	}
	return frames
}

func TestPicturesReassemblesFrames(t *testing.T) {
	key, next := vp8Picture(true, 320, 240, 1000), vp8Picture(true, 640, 480, 500)
	packets := packetsOf(t, key, 65530, 3000) // the sequence numbers wrap around in the middle
	later := packetsOf(t, next, 4, 6000)
	padding := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 5, Timestamp: 3000, Padding: true, PaddingSize: 4}}
	empty, err := padding.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	shuffled := slices.Clone(packets)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, tt := range map[string]struct {
		packets [][]byte
		want    [][]byte
	}{
		"in order":                  {packets, [][]byte{key}},
		"in any order":              {shuffled, [][]byte{key}},
		"twice":                     {slices.Concat(packets[:5], packets), [][]byte{key}},
		"two at a time":             {slices.Concat(packets[:5], later, packets[5:]), [][]byte{next, key}},
		"one packet lost":           {slices.Concat(packets[:5], packets[6:], later), [][]byte{next}},
		"without its beginning":     {packets[1:], nil},
		"without its end":           {packets[:len(packets)-1], nil},
		"a frame between":           {packetsOf(t, vp8Picture(false, 320, 240, 1000), 1, 3000), nil},
		"LiveKit's last":            {packetsOf(t, vp8Picture(true, 8, 8, 60), 1, 3000), nil},
		"with padding":              {slices.Concat([][]byte{empty}, packets), [][]byte{key}},
		"no RTP":                    {slices.Concat([][]byte{nil, {1, 2, 3}}, packets), [][]byte{key}},
		"older ones are forgotten":  {slices.Concat(packets[:1], many(t), packets[1:]), nil},
		"nothing":                   {nil, nil},
		"the same picture is again": {slices.Concat(packets, packetsOf(t, key, 100, 9000)), [][]byte{key, key}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Pictures
			got := p.arrive(tt.packets...)
			if !slices.EqualFunc(got, tt.want, bytes.Equal) {
				t.Errorf("got %d frames, want %d, or their content differs", len(got), len(tt.want))
			}
			if len(p.frames) > openFrames {
				t.Errorf("%d frames kept", len(p.frames))
			}
		})
	}
}

// many returns the beginnings of other frames.
func many(t *testing.T) (packets [][]byte) {
	for i := range openFrames {
		packets = append(packets, packetsOf(t, vp8Picture(true, 320, 240, 500), uint16(1000*i), uint32(100000+i))[0])
	}
	return packets
}

func TestHasPicturesForVideoCodecsOnly(t *testing.T) {
	for codec, want := range map[string]bool{"video/vp8": true, mimeH264: true, mimeVP9: true, "video/av1": true, mimeH265: false, "": false, "audio/opus": false} {
		if HasPictures(codec) != want {
			t.Errorf("%s: %v", codec, !want)
		}
	}
	var p Pictures
	if p.Arrive(mimeH265, packetsOf(t, vp8Picture(true, 320, 240, 100), 1, 1)[0]) != nil || len(p.frames) > 0 {
		t.Error("packets of an unknown codec kept")
	}
}

// A frame does not grow without bound.
func TestPictureIsBounded(t *testing.T) {
	var p Pictures
	payload := make([]byte, 60000)
	for i := range 200 {
		packet := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: 1}, Payload: payload}
		b, err := packet.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.Arrive(mimeVP8, b)
	}
	if n := p.frames[0].bytes; n > maxFrameBytes {
		t.Errorf("%d bytes kept of one frame", n)
	}
}

// FuzzPictures checks arbitrary packets of an untrusted publisher.
func FuzzPictures(f *testing.F) {
	for i, codec := range []string{mimeVP8, mimeH264, mimeVP9, mimeAV1} {
		f.Add(codec, []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, byte(i)}, []byte{0x00, 1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, codec string, first, second []byte) {
		var p Pictures
		for i, payload := range [][]byte{first, second} {
			packet := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: 1, Marker: i == 1}, Payload: payload}
			b, err := packet.Marshal()
			if err != nil {
				t.Fatal(err) // any payload fits into a packet
			}
			if frame := p.Arrive(codec, b); len(frame) > 4*(len(first)+len(second))+64 {
				t.Errorf("%d bytes of %d", len(frame), len(first)+len(second))
			}
		}
	})
}
