package translate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// costlyOffers are offers that hold much of one thing: n formats, attributes, SSRCs or bytes. n up to 64
// keeps each within checkBounds.
var costlyOffers = map[string]func(n int) string{
	"formats": func(n int) string {
		var pts, lines strings.Builder
		for i := range n {
			fmt.Fprintf(&pts, " %d", 64+i)
			fmt.Fprintf(&lines, "a=rtpmap:%d VP8/90000\r\n", 64+i)
		}
		return offerWith("video 9 UDP/TLS/RTP/SAVPF"+pts.String(), lines.String())
	},
	"retransmission formats": func(n int) string {
		var pts, lines strings.Builder
		for i := range n / 2 {
			fmt.Fprintf(&pts, " %d %d", 64+2*i, 65+2*i)
			fmt.Fprintf(&lines, "a=rtpmap:%d H264/90000\r\na=rtpmap:%d rtx/90000\r\na=fmtp:%d apt=%d\r\n", 64+2*i, 65+2*i, 65+2*i, 64+2*i)
		}
		return offerWith("video 9 UDP/TLS/RTP/SAVPF"+pts.String(), lines.String())
	},
	"ranked formats": func(n int) string {
		var pts, lines strings.Builder
		for i := range n {
			fmt.Fprintf(&pts, " %d", 64+i)
			fmt.Fprintf(&lines, "a=rtpmap:%d H264/90000\r\na=fmtp:%d packetization-mode=1;profile-level-id=42e01f\r\n", 64+i, 64+i)
		}
		long := strings.Replace(lines.String(), "\r\na=rtpmap:65", strings.Repeat(";x=1", 180*n)+"\r\na=rtpmap:65", 1)
		return offerWith("video 9 UDP/TLS/RTP/SAVPF"+pts.String(), long)
	},
	"unusable m-lines": func(n int) string {
		var pts, lines strings.Builder
		for i := range n {
			fmt.Fprintf(&pts, " %d", 64+i)
		}
		for i := range 7 {
			fmt.Fprintf(&lines, "m=video 9 UDP/TLS/RTP/SAVPF%s\r\na=mid:%d\r\n", pts.String(), i+1)
		}
		return offerWith("video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000\r\n"+lines.String())
	},
	"feedback": func(n int) string {
		return offerWith("video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000\r\n"+strings.Repeat("a=rtcp-fb:96 nack\r\n", 14*n))
	},
	"tracks": func(n int) string {
		var lines strings.Builder
		for i := range 7 * n {
			fmt.Fprintf(&lines, "a=ssrc:%d cname:x\r\na=ssrc-group:FID %d %d\r\n", 100+2*i, 100+2*i, 101+2*i)
		}
		return offerWith("video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000\r\n"+lines.String())
	},
	"long parameters": func(n int) string {
		return offerWith("video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000\r\na=fmtp:96 "+strings.Repeat("x=1;", 240*n)+"\r\n")
	},
}

// offerWith returns a publisher's offer of one m-line with these lines.
func offerWith(media, lines string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
		"m=" + media + "\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\na=ssrc:1 cname:c\r\n" + lines
}

func edit(offer string) (EditedOffer, error) {
	return EditPublishOffer(offer, PublishEdit{Codecs: DefaultCodecs()})
}

// The edit of an offer allocates in proportion to its size, and what LiveKit is sent is not much larger.
func TestOfferEditCostsInProportion(t *testing.T) {
	for name, offer := range costlyOffers {
		allocs := func(n int) float64 {
			text := offer(n)
			edited, err := edit(text)
			if err != nil {
				t.Fatalf("%s, %d: %v", name, n, err)
			}
			if most := 5 * len(text); len(edited.SDP) > most {
				t.Errorf("%s: %d bytes become %d, want at most %d", name, len(text), len(edited.SDP), most)
			}
			return testing.AllocsPerRun(5, func() { _, _ = edit(text) })
		}
		one, four := allocs(16), allocs(64)
		if four > 4.4*one {
			t.Errorf("%s: %.0f allocations, and %.0f for four times as much", name, one, four)
		}
	}
}

// The parameters of a format can be most of an offer, so they are read once, not for each other format.
func TestParametersAreReadOnceAFormat(t *testing.T) {
	i := slices.IndexFunc(knownCodecs[:], func(c codec) bool { return c.name == "H264" })
	rank, read := knownCodecs[i].rank, 0
	defer func() { knownCodecs[i].rank = rank }()
	knownCodecs[i].rank = func(f format) int {
		read++
		return rank(f)
	}
	const n = 64
	if _, err := edit(costlyOffers["ranked formats"](n)); err != nil || read != n {
		t.Errorf("read %d times, want %d: %v", read, n, err)
	}
}

// processorTime returns what this process has used, with the garbage collector and without other processes.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkWorstOffer reports the cost of the edits of costly offers, also in relation to the validation of
// as many bytes of JSON (÷json).
func BenchmarkWorstOffer(b *testing.B) {
	for name, offer := range costlyOffers {
		b.Run(name, func(b *testing.B) {
			text := offer(64)
			quoted, err := json.Marshal(text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			begun := processorTime(b)
			for b.Loop() {
				if _, err := edit(text); err != nil {
					b.Fatal(err)
				}
			}
			own := float64(processorTime(b)-begun) / float64(b.N)
			n := 1 + 8<<20/len(text) // often enough for the clock
			begun = processorTime(b)
			for range n {
				json.Valid(quoted)
			}
			b.ReportMetric(own/1e3, "cpu-µs/op")
			b.ReportMetric(own*float64(n)/float64(processorTime(b)-begun), "÷json")
		})
	}
}
