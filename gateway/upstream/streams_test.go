package upstream

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// statusFrame is a server's message about a stream.
func statusFrame(id, status string) []byte {
	return frame(opText, true, 0, statusMessage(id, status))
}

func statusMessage(id, status string) []byte {
	return fmt.Appendf(nil, `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"name":"s","status":%q,"published":true}]}`, id, status)
}

// countedStreams returns a streams with its scanner, and what it counts.
func countedStreams() (*scanner, *streams, map[string]float64) {
	counted := make(map[string]float64)
	frames := new(scanner)
	s := &streams{frames: frames, count: func(kind string, delta float64) { counted[kind] += delta }}
	frames.onPayload = s.payload
	return frames, s, counted
}

func scan(frames *scanner, stream []byte, piece int) {
	for chunk := range slices.Chunk(stream, piece) {
		for len(chunk) > 0 {
			n, _, _ := frames.next(chunk)
			chunk = chunk[n:]
		}
	}
}

func TestStreamsAreCountedByTheirServersMessages(t *testing.T) {
	part := statusMessage("in-fragments", "PLAYING")
	long := strings.Repeat("x", 40_000)
	sent := slices.Concat(
		frame(opText, true, 0, []byte(`{"message":"getUserData","data":[{"x":"`+long+`"}]}`)),
		statusFrame("pub", "PENDING"), statusFrame("pub", "PUBLISHING"), statusFrame("pub", "PUBLISHING"),
		statusFrame("play", "PLAYING"), statusFrame("play", "PAUSED"), statusFrame("play2", "PLAYING"), statusFrame("play2", "STOPPED"),
		frame(opText, false, 0, part[:7]), frame(9, true, 0, []byte("ping")), frame(0, false, 0, nil), frame(0, true, 0, part[7:]),
		statusFrame("play2", "FAILED"), statusFrame("unknown", "UNPUBLISHED"),
		// Not counted: media, another message, what is none, a long id, a long message, nesting, a masked one.
		frame(2, true, 0, statusMessage("binary", "PLAYING")),
		frame(opText, true, 0, []byte(`{"message":"notifyStreamStatusEvents","data":[{"mediaSessionId":"other","status":"PLAYING"}]}`)),
		frame(opText, true, 0, statusMessage("cut", "PLAYING")[:60]), frame(opText, true, 0, statusStart), frame(opText, true, 0, nil),
		statusFrame(strings.Repeat("i", maxStreamID+1), "PLAYING"),
		frame(opText, true, 0, []byte(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"long","status":"PLAYING","info":"`+long+`"}]}`)),
		frame(opText, true, 0, []byte(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"deep","status":"PLAYING","x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}]}`)),
		frame(opText, true, 5, statusMessage("masked", "PLAYING")),
	)
	for _, piece := range []int{1, 7, 512, len(sent)} {
		frames, s, counted := countedStreams()
		scan(frames, sent, piece)
		if want := map[string]float64{kindPublish: 1, kindPlay: 2}; !maps.Equal(counted, want) || s.text != nil {
			t.Errorf("pieces of %d: counted %v, want %v; %d bytes are kept", piece, counted, want, len(s.text))
		}
		s.end()
		if counted[kindPublish] != 0 || counted[kindPlay] != 0 || len(s.up) != 0 {
			t.Errorf("after the end: %v", counted)
		}
	}
}

func TestStreamsOfALinkAreBounded(t *testing.T) {
	frames, s, counted := countedStreams()
	for i := range 2 * maxStreams {
		scan(frames, statusFrame(fmt.Sprint("id", i), "PLAYING"), 1<<20)
	}
	scan(frames, statusFrame("id0", "PUBLISHING"), 1<<20) // the same id again
	if len(s.up) != maxStreams || counted[kindPlay]+counted[kindPublish] != maxStreams {
		t.Errorf("%d streams, counted %v", len(s.up), counted)
	}
}
