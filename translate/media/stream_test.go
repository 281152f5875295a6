package media

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp"
)

// sent is an RTP packet of a test.
type sent struct {
	sequence  uint16
	timestamp uint32
	payload   int // bytes
	padding   byte
}

func (p sent) bytes(t testing.TB) []byte {
	t.Helper()
	packet := rtp.Packet{
		Header: rtp.Header{
			Version: 2, SequenceNumber: p.sequence, Timestamp: p.timestamp, PayloadType: 96, SSRC: 7,
			Padding: p.padding > 0, CSRC: []uint32{1, 2},
		},
		Payload: bytes.Repeat([]byte{0xab}, p.payload), PaddingSize: p.padding,
	}
	if err := packet.SetExtension(3, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	b, err := packet.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// count returns the totals of the packets.
func count(t testing.TB, s *Stream, packets ...sent) (payload, frames int) {
	t.Helper()
	for _, p := range packets {
		a, err := s.Arrive(p.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		payload += len(a.Payload)
		if a.Begins {
			frames++
		}
	}
	return payload, frames
}

func TestStreamCountsPayloadAndFrames(t *testing.T) {
	for name, tt := range map[string]struct {
		packets         []sent
		payload, frames int
	}{
		"one packet to a frame": {[]sent{{1, 0, 100, 0}, {2, 3000, 50, 0}, {3, 6000, 1, 0}}, 151, 3},
		"several":               {[]sent{{1, 10, 100, 0}, {2, 10, 100, 0}, {3, 20, 30, 0}, {4, 20, 1, 0}}, 231, 2},
		"padded":                {[]sent{{1, 10, 100, 20}, {2, 20, 7, 255}}, 107, 2},
		"padding only":          {[]sent{{1, 10, 100, 0}, {2, 10, 0, 255}, {3, 15, 0, 100}, {4, 20, 5, 0}}, 105, 2},
		"empty":                 {[]sent{{1, 10, 100, 0}, {2, 15, 0, 0}}, 100, 1},
		"first packet lost":     {[]sent{{1, 10, 100, 0}, {3, 20, 100, 0}, {4, 20, 100, 0}}, 300, 2},
		"late within a frame":   {[]sent{{1, 10, 1, 0}, {3, 20, 1, 0}, {2, 10, 1, 0}, {4, 20, 1, 0}}, 4, 2},
		"late frame":            {[]sent{{1, 10, 1, 0}, {3, 30, 1, 0}, {2, 20, 1, 0}, {4, 30, 1, 0}, {5, 20, 1, 0}}, 5, 3},
		"timestamps wrap around": {
			[]sent{{1, 1<<32 - 3000, 1, 0}, {2, 0, 1, 0}, {3, 0, 1, 0}, {4, 3000, 1, 0}}, 4, 3,
		},
		"timestamps begin anew": {[]sent{{1, 1 << 31, 1, 0}, {2, 5, 1, 0}, {3, 5, 1, 0}, {4, 8, 1, 0}}, 4, 3},
	} {
		t.Run(name, func(t *testing.T) {
			payload, frames := count(t, &Stream{}, tt.packets...)
			if payload != tt.payload || frames != tt.frames {
				t.Errorf("%d bytes in %d frames, want %d in %d", payload, frames, tt.payload, tt.frames)
			}
		})
	}
}

func TestStreamIgnoresPaddingSentAsPayload(t *testing.T) {
	padding := make([]byte, 255)
	padding[254] = 255
	media := bytes.Clone(padding)
	media[7] = 1
	for name, tt := range map[string]struct {
		payload []byte
		padding byte
		want    int
	}{
		"padding":             {padding, 255, 0},
		"not padded":          {padding, 0, 255},
		"something among it":  {media, 255, 255},
		"of another length":   {padding[:200], 255, 200},
		"one byte of payload": {[]byte{2}, 4, 1},
	} {
		packet := rtp.Packet{Header: rtp.Header{Version: 2, Padding: tt.padding > 0}, Payload: tt.payload, PaddingSize: tt.padding}
		b, err := packet.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var s Stream
		a, err := s.Arrive(b)
		if err != nil || len(a.Payload) != tt.want || a.Begins != (tt.want > 0) {
			t.Errorf("%s: %d bytes, begins %v, %v, want %d", name, len(a.Payload), a.Begins, err, tt.want)
		}
	}
}

func TestStreamCountsManyFrames(t *testing.T) {
	var s Stream
	frames := 0
	for i := range 10 * recentFrames {
		_, n := count(t, &s, sent{uint16(2 * i), uint32(i), 1, 0}, sent{uint16(2*i + 1), uint32(i), 1, 0})
		frames += n
	}
	if want := 10 * recentFrames; frames != want {
		t.Errorf("%d frames, want %d", frames, want)
	}
}

func TestStreamRejectsOtherPackets(t *testing.T) {
	var s Stream
	count(t, &s, sent{1, 0, 10, 0})
	whole := sent{2, 0, 10, 0}.bytes(t)
	for _, packet := range [][]byte{nil, {0x80}, whole[:11], whole[:19], append([]byte{0xa0}, whole[1:]...)} {
		if a, err := s.Arrive(packet); err == nil {
			t.Errorf("%x counts %d bytes", packet, len(a.Payload))
		}
	}
	count(t, &s, sent{2, 0, 10, 0})
	if lost := s.TakeLost() + s.TakeLost(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

// runs returns the sequence numbers from first on, without those left out.
func runs(first uint16, n int, without ...uint16) []uint16 {
	var list []uint16
	for i := range n {
		if s := first + uint16(i); !slices.Contains(without, s) {
			list = append(list, s)
		}
	}
	return list
}

func TestLostPacketsAreCountedOnce(t *testing.T) {
	const end = 1<<16 - 1
	late := func(list []uint16, numbers ...uint16) []uint16 { return append(list, numbers...) }
	for name, tt := range map[string]struct {
		seconds [][]uint16 // the arrivals of each second
		lost    []int      // the losses found at the end of each
	}{
		"none":                       {[][]uint16{runs(10, 100), runs(110, 100), {}}, []int{0, 0, 0}},
		"one":                        {[][]uint16{runs(10, 100, 50), runs(110, 100), {}}, []int{0, 1, 0}},
		"several":                    {[][]uint16{runs(10, 100, 50, 51, 60), runs(110, 100, 111), {}}, []int{0, 3, 1}},
		"late in its second":         {[][]uint16{late(runs(10, 100, 50), 50), runs(110, 100), {}}, []int{0, 0, 0}},
		"late in the next":           {[][]uint16{runs(10, 100, 50), late(runs(110, 100), 50), {}}, []int{0, 0, 0}},
		"later still":                {[][]uint16{runs(10, 100, 50), runs(110, 100), {50}, {}}, []int{0, 1, 0, 0}},
		"twice":                      {[][]uint16{late(runs(10, 100), 50, 50, 109), {}, {}}, []int{0, 0, 0}},
		"before the first":           {[][]uint16{late(runs(10, 100), 9, 8), {}, {}}, []int{0, 0, 0}},
		"before the first of all":    {[][]uint16{late(runs(0, 100), end, end-1), {}, {}}, []int{0, 0, 0}},
		"at the wrap-around":         {[][]uint16{runs(end-50, 100, end, 0), runs(49, 10), {}}, []int{0, 2, 0}},
		"late at the wrap-around":    {[][]uint16{late(runs(end-50, 100, end, 0), 0, end), runs(49, 10), {}}, []int{0, 0, 0}},
		"none at the wrap-around":    {[][]uint16{runs(end-50, 100), runs(49, 10), {}}, []int{0, 0, 0}},
		"a second without":           {[][]uint16{runs(10, 10), {}, runs(30, 10), {}, {}}, []int{0, 0, 0, 10, 0}},
		"more than are remembered":   {[][]uint16{{10}, {10 + 2*window}, {}}, []int{0, window, window - 1}},
		"nothing":                    {[][]uint16{{}, {}}, []int{0, 0}},
		"round and round, with gaps": {rounds(20, 5000), losses(20)},
	} {
		t.Run(name, func(t *testing.T) {
			var g gaps
			var got []int
			for _, second := range tt.seconds {
				for _, n := range second {
					g.arrive(n)
				}
				got = append(got, g.takeLost())
			}
			if !slices.Equal(got, tt.lost) {
				t.Errorf("lost %v, want %v", got, tt.lost)
			}
		})
	}
}

// rounds returns seconds of n numbers each, shuffled in fives; each second lacks its third number.
func rounds(seconds, n int) [][]uint16 {
	random := rand.New(rand.NewPCG(1, 2))
	var all [][]uint16
	for i := range seconds {
		list := runs(uint16(i*n), n)
		list = slices.Delete(list, 2, 3)
		for at := 5; at+5 <= len(list); at += 5 {
			five := list[at : at+5]
			random.Shuffle(5, func(a, b int) { five[a], five[b] = five[b], five[a] })
		}
		all = append(all, list)
	}
	return all
}

func losses(seconds int) []int {
	lost := slices.Repeat([]int{1}, seconds)
	lost[0] = 0
	return lost
}

func FuzzStream(f *testing.F) {
	f.Add(sent{1, 0, 10, 3}.bytes(f), sent{9, 3000, 0, 20}.bytes(f))
	f.Fuzz(func(t *testing.T, one, other []byte) {
		var s Stream
		for _, packet := range [][]byte{one, other, one} {
			a, err := s.Arrive(packet)
			if err != nil && (a.Begins || a.Payload != nil) {
				t.Errorf("%+v with an error", a)
			}
			if len(a.Payload) > len(packet) {
				t.Errorf("%d bytes of %d", len(a.Payload), len(packet))
			}
		}
		if lost := s.TakeLost() + s.TakeLost(); lost < 0 || lost > 2*(1<<15) {
			t.Errorf("%d lost", lost)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	var s Stream
	packet := sent{1, 0, 1042, 0}.bytes(b)
	for i := 0; b.Loop(); i++ {
		packet[2], packet[3] = byte(i>>8), byte(i)
		packet[7] = byte(i / 4)
		if _, err := s.Arrive(packet); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
}
