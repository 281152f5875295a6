package upstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// frame builds a frame; a mask of 0 means none.
func frame(opcode byte, fin bool, mask uint32, payload []byte) []byte {
	b := []byte{opcode, 0}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n > 65535:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	case n > 125:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = byte(n)
	}
	if mask == 0 {
		return append(b, payload...)
	}
	b[1] |= 0x80
	b = binary.BigEndian.AppendUint32(b, mask)
	key := b[len(b)-4:]
	for i, p := range payload {
		b = append(b, p^key[i%4])
	}
	return b
}

func TestScannerFindsFramesInPiecesOfAnySize(t *testing.T) {
	for _, piece := range []int{1, 2, 3, 7, 512, 4096, 1 << 20} {
		sizes := []int{0, 1, 125, 126, 127}
		if piece >= 512 {
			sizes = append(sizes, 65535, 65536)
		}
		var stream []byte
		var ends []int
		var opcodes []byte
		for _, mask := range []uint32{0, 0x01020304} {
			for _, size := range sizes {
				for _, opcode := range []byte{opText, 2, 9, opClose} {
					stream = append(stream, frame(opcode, true, mask, make([]byte, size))...)
					ends, opcodes = append(ends, len(stream)), append(opcodes, opcode)
				}
			}
		}
		var s scanner
		var gotEnds []int
		var gotOpcodes []byte
		at := 0
		for chunk := range slices.Chunk(stream, piece) {
			for len(chunk) > 0 {
				n, started, ended := s.next(chunk)
				if started {
					gotOpcodes = append(gotOpcodes, s.opcode())
				}
				at, chunk = at+n, chunk[n:]
				if ended {
					gotEnds = append(gotEnds, at)
				}
				if s.between() != ended && len(chunk) > 0 {
					t.Fatalf("pieces of %d: between frames at %d: %v", piece, at, s.between())
				}
			}
		}
		if !slices.Equal(gotEnds, ends) || !bytes.Equal(gotOpcodes, opcodes) {
			t.Errorf("pieces of %d: %d frames, want %d", piece, len(gotEnds), len(ends))
		}
	}
}

func TestScannerShowsEdgesOfTextMessages(t *testing.T) {
	long := `{"message":"publishStream","data":[{"sdp":"` + string(bytes.Repeat([]byte("x"), 9000)) + `"}]}`
	stream := slices.Concat(
		frame(opText, true, 0xdeadbeef, []byte(`{"message":"call","data":[{}]}`)),
		frame(9, true, 1, []byte("ping")),
		frame(2, true, 2, []byte(`{"message":"binary"`)),
		frame(opText, false, 3, []byte(long)), frame(0, true, 4, []byte(`{"message":"continued"`)),
		frame(opText, true, 0, []byte(`{"message":"pong","data":[null]}`)),
		frame(opText, true, 5, []byte(`{}`)),
		frame(opText, true, 6, nil),
		frame(opText, true, 7, []byte(`{"data":[null],"message":"pong"}`)),
		frame(opText, true, 8, []byte(`{"data":[{"sdp":"`+string(bytes.Repeat([]byte("x"), 9001))+`"}],"message":"playStream"}`)),
		frame(opText, true, 9, []byte(`{"data":[{"a":1,"message":"call"}]}`)),
		frame(opText, true, 9, []byte(`{"message":"later","data":[{}],"x":1,"message":"call"}`)),
		frame(opText, true, 9, []byte(`,"message":"`)),
		frame(opText, false, 9, []byte(`{"data":[null],"mess`)), frame(9, true, 1, []byte("ping")), frame(0, false, 0, nil), frame(0, true, 3, []byte(`age":"hangup"}`)),
	)
	want := []string{"call", "publishStream", "pong", "other", "other", "pong", "playStream", "other", "other", "other", "hangup"}
	for _, piece := range []int{1, 5, 64, len(stream)} {
		var got []string
		s := scanner{onText: func(start, end []byte) { got = append(got, nameIn(start, end)) }}
		for chunk := range slices.Chunk(stream, piece) {
			for len(chunk) > 0 {
				n, _, _ := s.next(chunk)
				chunk = chunk[n:]
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pieces of %d: %v, want %v", piece, got, want)
		}
	}
}

func FuzzScannerNeverStops(f *testing.F) {
	f.Add([]byte{0x81, 0xfe, 0, 1, 2, 3, 4, 5, 6}, 3)
	f.Add([]byte{0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		s := scanner{onText: func(_, _ []byte) {}}
		for chunk := range slices.Chunk(stream, 1+piece&0xff) {
			for len(chunk) > 0 {
				n, _, _ := s.next(chunk)
				if n == 0 {
					t.Fatal("no progress")
				}
				chunk = chunk[n:]
			}
		}
	})
}

func TestMessageIsReplacedInFragmentsAndBetweenOtherFrames(t *testing.T) {
	message, by := []byte("the first message"), bytes.Repeat([]byte("x"), 300)
	pong := frame(opText, true, 7, []byte("pong"))
	ping := frame(9, true, 8, []byte("p"))
	rest := append(frame(opText, true, 9, message), 0x81, 0x85, 1) // the same again, and a part of a frame
	for name, sent := range map[string][]byte{
		"whole":      frame(opText, true, 0x01020304, message),
		"fragments":  slices.Concat(frame(opText, false, 5, message[:4]), ping, frame(opContinuation, false, 6, message[4:5]), frame(opContinuation, true, 3, message[5:])),
		"after pong": slices.Concat(pong, ping, frame(opText, true, 0x01020304, message)),
	} {
		if got, want := Replace(slices.Concat(sent, rest), message, by), append(textFrame(by), rest...); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	for _, sent := range [][]byte{nil, pong, frame(opText, true, 1, message)[:20], frame(opText, false, 1, message)} {
		if got := Replace(sent, message, by); got != nil {
			t.Errorf("replaced in %x: %x", sent, got)
		}
	}
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		want := make([]byte, size)
		got := textFrame(want)
		var s scanner
		if n, _, ended := s.next(got); n != len(got) || !ended || !s.masked() || s.opcode() != opText || s.size() != uint64(size) {
			t.Errorf("frame of %d bytes: %x", size, got[:14])
		}
	}
}
