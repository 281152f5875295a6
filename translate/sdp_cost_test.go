package translate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/worst"
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
	"formats with variants": func(n int) string {
		var pts, lines strings.Builder
		for i := range n {
			fmt.Fprintf(&pts, " %d", 64+i)
			fmt.Fprintf(&lines, "a=rtpmap:%d H265/90000\r\n", 64+i)
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
	return editPublishOffer(offer, PublishEdit{Codecs: DefaultCodecs()})
}

func editPublishOffer(offer string, e PublishEdit) (EditedOffer, error) {
	checked, err := CheckPublishOffer(offer)
	if err != nil {
		return EditedOffer{}, err
	}
	return checked.Edit(e)
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
			if most := 2*len(text) + 2000; len(edited.SDP) > most {
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

// BenchmarkWorstOffer measures the edits of costly offers of publishers and players.
func BenchmarkWorstOffer(b *testing.B) {
	for name, offer := range costlyOffers {
		b.Run(name+", publish", func(b *testing.B) {
			text := offer(64)
			worst.Measure(b, []byte(text), func() error {
				_, err := edit(text)
				return err
			})
		})
		b.Run(name+", play", func(b *testing.B) {
			text, codec := strings.ReplaceAll(offer(64), "a=sendonly", "a=recvonly"), nameVP8
			for _, other := range []string{"H264", "H265"} {
				if strings.Contains(text, other) {
					codec = other
				}
			}
			worst.Measure(b, []byte(text), func() error {
				_, err := EditPlayOffer(text, PlayEdit{VideoCodec: codec})
				return err
			})
		})
	}
}

// costlyAnswers are answers that hold much of one thing. LiveKit answers with at most what it was offered,
// and adds its candidates.
var costlyAnswers = map[string]string{
	"formats":         answerWith(costlyOffers["formats"](64)),
	"ranked formats":  answerWith(costlyOffers["ranked formats"](64)),
	"feedback":        answerWith(costlyOffers["feedback"](64)),
	"tracks":          answerWith(costlyOffers["tracks"](64)),
	"long parameters": answerWith(costlyOffers["long parameters"](64)),
	"candidates": answerWith(offerWith("video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000\r\n"+
		strings.Repeat("a=candidate:1 1 udp 1 192.0.2.1 7882 typ host\r\na=candidate:2 1 tcp 1 192.0.2.1 7881 typ host tcptype passive\r\n", 400))),
}

// answerWith returns LiveKit's answer to an offer that it takes as it is.
func answerWith(offer string) string { return strings.ReplaceAll(offer, "a=sendonly", "a=recvonly") }

// BenchmarkWorstAnswer measures the edits of costly answers with everything that an edit can do.
func BenchmarkWorstAnswer(b *testing.B) {
	for name, answer := range costlyAnswers {
		b.Run(name, func(b *testing.B) {
			worst.Measure(b, []byte(answer), func() error {
				_, _, err := EditAnswer(answer, AnswerEdit{CommonStream: "s", TCPOnly: true, MinBitrate: 100, MaxBitrate: 1000})
				return err
			})
		})
	}
}
