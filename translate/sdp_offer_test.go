package translate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/sdp/v3"
)

func publish(t testing.TB, offer string, e PublishEdit) (string, MediaKinds) {
	t.Helper()
	edited, err := editPublishOffer(offer, e)
	if err != nil {
		t.Fatalf("edit: %v", err)
	}
	checkEdit(t, offer, edited.SDP)
	checkTrimmed(t, edited.SDP, sdp.AttrKeySendOnly)
	return edited.SDP, edited.Kinds
}

func play(t testing.TB, offer string, e PlayEdit) (string, MediaKinds) {
	t.Helper()
	edited, err := EditPlayOffer(offer, e)
	if err != nil {
		t.Fatalf("EditPlayOffer: %v", err)
	}
	checkEdit(t, offer, edited.SDP)
	checkTrimmed(t, edited.SDP, sdp.AttrKeyRecvOnly)
	return edited.SDP, edited.Kinds
}

func mustParseCodecs(t testing.TB, names ...string) CodecSet {
	t.Helper()
	s, err := ParseCodecs(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEditedPublishOfferEqualsGolden(t *testing.T) {
	for _, name := range []string{
		"chrome156-publish-av.sdp", "chrome156-publish-audio.sdp", "chrome156-publish-video.sdp",
		"chrome70-publish-av.sdp", "firefox-publish-av.sdp", "strip/publish-G722.sdp",
	} {
		t.Run(name, func(t *testing.T) {
			got, kinds := publish(t, readSDP(t, name), PublishEdit{Codecs: DefaultCodecs()})
			checkGolden(t, strings.ReplaceAll(name, "/", "-"), got)
			want := MediaKinds{Audio: !strings.Contains(name, "video"), Video: !strings.Contains(name, "audio")}
			if kinds != want {
				t.Errorf("kinds = %+v, want %+v", kinds, want)
			}
		})
	}
}

func TestEditedPlayOfferEqualsGolden(t *testing.T) {
	for _, name := range []string{"chrome156-play-av.sdp", "chrome70-play-av.sdp", "firefox-play-av.sdp"} {
		for _, codec := range []string{"VP8", "H264"} {
			t.Run(name+" "+codec, func(t *testing.T) {
				got, kinds := play(t, readSDP(t, name), PlayEdit{AudioCodec: "opus", VideoCodec: codec})
				checkGolden(t, strings.TrimSuffix(name, ".sdp")+"-"+codec+".sdp", got)
				if (kinds != MediaKinds{Audio: true, Video: true}) {
					t.Errorf("kinds = %+v", kinds)
				}
			})
		}
	}
}

func TestPublishOfferKeepsConfiguredCodecs(t *testing.T) {
	const all = "111 63 9 0 8 13 110 126"
	tests := []struct {
		offer  string
		codecs []string
		want   []string
	}{
		{"chrome156-publish-av.sdp", []string{"opus", "red", "VP8"}, []string{"111 63", "96 97"}},
		{"chrome156-publish-av.sdp", []string{"opus", "VP8"}, []string{"111", "96 97"}},
		{"chrome156-publish-av.sdp", []string{"PCMU", "VP9"}, []string{"0", "98 99"}},
		{"chrome156-publish-av.sdp", []string{"opus", "AV1"}, []string{"111", "45 46"}},
		{"chrome156-publish-av.sdp", []string{"opus", "VP9", "H264"}, []string{"111", "108 109 98 99"}},
		{"chrome156-publish-av.sdp", []string{"VP8"}, []string{all, "96 97"}},
		{"chrome156-publish-av.sdp", nil,
			[]string{all, "96 97 102 103 104 107 108 109 114 115 116 117 39 40 45 46 98 99 100 101 118 119 120"}},
		{"chrome70-publish-av.sdp", []string{"opus", "red", "VP8", "H264"}, []string{"111", "96 97 127 122"}},
		{"firefox-publish-av.sdp", []string{"opus", "red", "VP8", "H264"}, []string{"109", "120 124 126 127"}},
		{"firefox-publish-av.sdp", []string{"opus", "VP9", "AV1"}, []string{"109", "121 125 99 100"}},
	}
	for _, tt := range tests {
		got, _ := publish(t, readSDP(t, tt.offer), PublishEdit{Codecs: mustParseCodecs(t, tt.codecs...)})
		if diff := cmp.Diff(tt.want, formatsOfText(t, got)); diff != "" {
			t.Errorf("%s, allowed %v (-want +got):\n%s", tt.offer, tt.codecs, diff)
		}
	}
}

// The offers in testdata/strip are the results of the client's stripCodecs for the Chrome offers.
func TestStrippedPublishOfferKeepsOtherCodecs(t *testing.T) {
	const audio, video = "111 63", "96 97 108 109"
	tests := []struct {
		stripped string
		want     []string
	}{
		{"AV1", []string{audio, video}},
		{"PCMU", []string{audio, video}},
		{"VP9", []string{audio, video}},
		{"H264", []string{audio, "96 97"}},
		{"VP8", []string{audio, "108 109"}},
		{"rtx", []string{audio, "96 108"}},
		{"red", []string{"111", video}},
		{"H264+VP9+AV1+rtx", []string{audio, "96"}},
		{"G722", []string{audio, "96 108 109"}},       // rtx of VP8 lost its apt
		{"opus", []string{"9 0 8 13 110 126", video}}, // not the remaining RED: it wraps opus
	}
	for _, tt := range tests {
		got, _ := publish(t, readSDP(t, "strip/publish-"+tt.stripped+".sdp"), PublishEdit{Codecs: DefaultCodecs()})
		if diff := cmp.Diff(tt.want, formatsOfText(t, got)); diff != "" {
			t.Errorf("without %s (-want +got):\n%s", tt.stripped, diff)
		}
	}
}

func TestStrippedPlayOfferKeepsOtherCodecs(t *testing.T) {
	const audio, h264 = "111 63", "102 103 108 109 116 117 41 42"
	both, onlyAudio, onlyVideo := MediaKinds{true, true}, MediaKinds{Audio: true}, MediaKinds{Video: true}
	tests := []struct {
		stripped, codec string
		want            []string
		kinds           MediaKinds
	}{
		{"AV1", "VP8", []string{audio, "96 97"}, both},
		{"AV1", "H264", []string{audio, h264}, both},
		{"VP9", "h264", []string{audio, h264}, both},
		{"PCMU", "VP8", []string{audio, "96 97"}, both},
		{"G722", "VP8", []string{audio, "96"}, both},
		{"G722", "VP9", []string{audio, "98"}, both},
		{"rtx", "H264", []string{audio, "102 108 116 41"}, both},
		{"red", "VP8", []string{"111", "96 97"}, both},
		{"opus", "VP8", []string{"9 0 8 13 110 126", "96 97"}, onlyVideo},
		{"H264", "VP8", []string{audio, "96 97"}, both},
		{"H264", "H264", []string{audio, "96 97 98 99 100 101 35 36 37 38 45 46 47 48 118 119 120 49"}, onlyAudio},
		{"H264+VP9+AV1+rtx", "VP9", []string{audio, "96 118 120 49"}, onlyAudio},
		{"VP8", "VP9", []string{audio, "98 99"}, both},
		{"VP8", "AV1", []string{audio, "45 46"}, both},
	}
	for _, tt := range tests {
		offer := readSDP(t, "strip/play-"+tt.stripped+".sdp")
		got, kinds := play(t, offer, PlayEdit{AudioCodec: "opus", VideoCodec: tt.codec})
		if diff := cmp.Diff(tt.want, formatsOfText(t, got)); diff != "" || kinds != tt.kinds {
			t.Errorf("without %s, playing %s: kinds %+v, want %+v (-want +got):\n%s", tt.stripped, tt.codec, kinds, tt.kinds, diff)
		}
	}
}

func TestPlayOfferKeepsCodecsOfTracks(t *testing.T) {
	offer := readSDP(t, "chrome156-play-av.sdp")
	tests := []struct {
		edit  PlayEdit
		want  []string
		kinds MediaKinds
	}{
		{PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"}, []string{"111 63", "96 97"}, MediaKinds{true, true}},
		{PlayEdit{AudioCodec: "red", VideoCodec: "VP8"}, []string{"111 63", "96 97"}, MediaKinds{true, true}},
		{PlayEdit{AudioCodec: "PCMU", VideoCodec: "VP8"}, []string{"111 63 0", "96 97"}, MediaKinds{true, true}},
		{PlayEdit{AudioCodec: "opus", VideoCodec: ""}, []string{"111 63", "96 97"}, MediaKinds{Audio: true}},
		{PlayEdit{AudioCodec: "", VideoCodec: "AV1"}, []string{"111 63", "45 46"}, MediaKinds{Video: true}},
		{PlayEdit{AudioCodec: "opus", VideoCodec: "not known here"}, []string{"111 63", formatsOfText(t, offer)[1]}, MediaKinds{Audio: true}},
		{PlayEdit{AudioCodec: "opus", VideoCodec: "VP8", Follow: true}, []string{"111 63", "96"}, MediaKinds{true, true}},
	}
	for _, tt := range tests {
		got, kinds := play(t, offer, tt.edit)
		if diff := cmp.Diff(tt.want, formatsOfText(t, got)); diff != "" || kinds != tt.kinds {
			t.Errorf("%+v: kinds %+v, want %+v (-want +got):\n%s", tt.edit, kinds, tt.kinds, diff)
		}
	}
}

func TestPlayOfferWithoutCommonCodecsIsRejected(t *testing.T) {
	tests := []struct {
		offer string
		edit  PlayEdit
	}{
		{"strip/play-H264.sdp", PlayEdit{VideoCodec: "H264"}},
		{"strip/play-opus.sdp", PlayEdit{AudioCodec: "opus"}},
		{"strip/play-opus.sdp", PlayEdit{AudioCodec: "red"}},
		{"chrome156-play-video.sdp", PlayEdit{AudioCodec: "opus"}},
		{"chrome156-play-av.sdp", PlayEdit{}},
	}
	for _, tt := range tests {
		if got, err := EditPlayOffer(readSDP(t, tt.offer), tt.edit); !errors.Is(err, ErrNoCommonCodecs) || got != (EditedOffer{}) {
			t.Errorf("%s %+v: %+v, %v; want %v", tt.offer, tt.edit, got, err, ErrNoCommonCodecs)
		}
	}
}

func TestWrongDirectionIsRejected(t *testing.T) {
	editPublish := func(o string) (EditedOffer, error) { return editPublishOffer(o, PublishEdit{}) }
	editPlay := func(o string) (EditedOffer, error) { return EditPlayOffer(o, PlayEdit{AudioCodec: "opus"}) }
	session := func(direction string) string {
		return strings.Replace(offerText(opusSection), "t=0 0\r\n", "t=0 0\r\na="+direction+"\r\n", 1)
	}
	tests := []struct {
		name  string
		edit  func(string) (EditedOffer, error)
		offer string
		want  string // direction afterwards, "" = ErrDirection
	}{
		{"publish sendonly", editPublish, offerText(opusSection + "a=sendonly\n"), "sendonly"},
		{"publish sendrecv", editPublish, offerText(opusSection + "a=sendrecv\n"), "sendonly"},
		{"publish without direction", editPublish, offerText(opusSection), "sendonly"},
		{"publish recvonly", editPublish, offerText(opusSection + "a=recvonly\n"), ""},
		{"publish, session recvonly", editPublish, session("recvonly"), ""},
		{"publish, session sendonly", editPublish, session("sendonly"), "sendonly"},
		{"play recvonly", editPlay, offerText(opusSection + "a=recvonly\n"), "recvonly"},
		{"play sendrecv", editPlay, offerText(opusSection + "a=sendrecv\n"), "recvonly"},
		{"play without direction", editPlay, offerText(opusSection), "recvonly"},
		{"play sendonly", editPlay, offerText(opusSection + "a=sendonly\n"), ""},
		{"play, session sendrecv", editPlay, session("sendrecv"), "recvonly"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.edit(tt.offer)
			if tt.want == "" {
				if !errors.Is(err, ErrDirection) || !strings.Contains(err.Error(), `m-line 0 (audio, mid "a")`) {
					t.Errorf("err = %v, want %v with the m-line's name", err, ErrDirection)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := mlines(t, got.SDP)[0]; m.Direction != tt.want {
				t.Errorf("direction %s, want %s", m.Direction, tt.want)
			}
		})
	}
}

// m-lines that take no part stay, since the answer must have as many, without what LiveKit fails at: a format
// that it does not know, or no direction.
func TestOtherSectionsBecomeInactive(t *testing.T) {
	section := func(mid, formats, end string) string {
		return strings.NewReplacer("mid:v", "mid:"+mid, "SAVPF 96", "SAVPF "+formats).Replace(vp8Section) + end
	}
	data := "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:d\na=sctp-port:5000\n"
	rejected := func(s string) string { return strings.Replace(s, "video 9", "video 0", 1) }
	offer := offerText(rejected(section("r", "96 98", "a=recvonly\n")), opusSection+"a=sendonly\n", data,
		section("i", "96", "a=inactive\n"), rejected(section("u", "96", "")))
	want := offerText(rejected(section("r", "96", "a=inactive\n")), opusSection+"a=sendonly\n", data,
		section("i", "96", "a=inactive\n"), rejected(section("u", "96", "a=inactive\n")))
	got, kinds := publish(t, offer, PublishEdit{Codecs: DefaultCodecs()})
	if diff := cmp.Diff(want, got); diff != "" || (kinds != MediaKinds{Audio: true}) {
		t.Errorf("kinds %+v (-want +got):\n%s", kinds, diff)
	}
}

func TestVideoOrientationIsRemovedUnlessKept(t *testing.T) {
	for _, name := range []string{"chrome156-publish-av.sdp", "chrome70-publish-av.sdp"} {
		offer := readSDP(t, name)
		without, _ := publish(t, offer, PublishEdit{Codecs: DefaultCodecs()})
		with, _ := publish(t, offer, PublishEdit{Codecs: DefaultCodecs(), KeepVideoOrientation: true})
		if strings.Contains(without, videoOrientation) || !strings.Contains(with, videoOrientation) {
			t.Errorf("%s: extension present without cvoExtension: %v, with: %v", name,
				strings.Contains(without, videoOrientation), strings.Contains(with, videoOrientation))
		}
		if n := strings.Count(with, "\n") - strings.Count(without, "\n"); n != 1 {
			t.Errorf("%s: %d lines fewer, want 1", name, n)
		}
	}
	directed := strings.Replace(offerText(opusSection), "t=0 0\r\n", "t=0 0\r\na=extmap:4/sendonly "+videoOrientation+"\r\n", 1)
	if got, _ := publish(t, directed, PublishEdit{}); strings.Contains(got, videoOrientation) {
		t.Errorf("session level extension stays:\n%s", got)
	}
}

// LiveKit takes packetization mode and profile as offered: a player keeps everything that can match.
func TestPlayerKeepsEveryH264ThatCanMatch(t *testing.T) {
	section := func(fmtps ...string) string {
		pts := []string{"97", "98", "99", "100"}[:len(fmtps)]
		s := "m=video 9 UDP/TLS/RTP/SAVPF " + strings.Join(pts, " ") + "\na=mid:v\na=ssrc:1 cname:c\n"
		for i, f := range fmtps {
			s += "a=rtpmap:" + pts[i] + " H264/90000\na=rtcp-fb:" + pts[i] + " nack\n"
			if f != "" {
				s += "a=fmtp:" + pts[i] + " " + f + "\n"
			}
		}
		return s
	}
	const base, constrained, high, single = "packetization-mode=1;profile-level-id=42001f",
		"packetization-mode=1;profile-level-id=42e01f", "packetization-mode=1;profile-level-id=640c1f",
		"packetization-mode=0;profile-level-id=42e01f"
	tests := []struct {
		name, publish, play string
		fmtps               []string
	}{
		{"Chrome", "99", "97 99", []string{base, single, constrained}},
		{"Safari", "98", "97 98", []string{high, constrained, single}},
		{"no constrained baseline", "98", "97 98", []string{high, base}},
		{"high profile only", "97", "97", []string{high, single}},
		{"packetization-mode 0 only", "97", "97 98", []string{single, "profile-level-id=42001f"}},
		{"fmtp lost", "97", "97 98", []string{"", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			offer := offerText(section(tt.fmtps...))
			published, _ := publish(t, offer, PublishEdit{Codecs: DefaultCodecs()})
			played, kinds := play(t, offer, PlayEdit{VideoCodec: "H264"})
			got := [2]string{formatsOfText(t, published)[0], formatsOfText(t, played)[0]}
			if want := [2]string{tt.publish, tt.play}; got != want || !kinds.Video {
				t.Errorf("publish, play = %q, want %q; kinds %+v", got, want, kinds)
			}
		})
	}
}

func TestUnusableFormatsAreDropped(t *testing.T) {
	tests := []struct {
		name, section, want string
	}{
		{"static without rtpmap", "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9 18\na=mid:a\n", "0 8 9"},
		{"dynamic without rtpmap", "m=audio 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:a\na=rtpmap:97 opus/48000/2\na=fmtp:96 x=1\n", "97"},
		{"rtx of itself", "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:v\na=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=97\n", "96"},
		{"rtx of rtx", "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\na=mid:v\na=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\n" +
			"a=rtpmap:98 rtx/90000\na=fmtp:98 apt=97\n", "96 97"},
		{"rtx before its codec", "m=video 9 UDP/TLS/RTP/SAVPF 97 96\na=mid:v\na=rtpmap:97 rtx/90000\na=fmtp:97 rtx-time=3000;apt=96\na=rtpmap:96 VP8/90000\n", "97 96"},
		{"no number", "m=audio 9 UDP/TLS/RTP/SAVPF x 0\na=mid:a\n", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := publish(t, offerText(tt.section+"a=ssrc:1 cname:c\n"), PublishEdit{Codecs: DefaultCodecs()})
			if formats := formatsOfText(t, got)[0]; formats != tt.want {
				t.Errorf("formats %q, want %q", formats, tt.want)
			}
		})
	}
}

// The offer is what stripCodecs leaves when it removes every codec of a kind.
func TestMediaWithoutKnownCodecBecomesInactive(t *testing.T) {
	leftovers := map[string]string{
		"":          "m=video 9 UDP/TLS/RTP/SAVPF \nc=IN IP4 0.0.0.0\na=mid:v\n",
		" with FEC": "m=video 9 UDP/TLS/RTP/SAVPF 49 97\nc=IN IP4 0.0.0.0\na=mid:v\na=rtpmap:49 flexfec-03/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\n",
	}
	for name, section := range leftovers {
		t.Run("video"+name, func(t *testing.T) {
			published, kinds := publish(t, offerText(opusSection, section), PublishEdit{Codecs: DefaultCodecs()})
			played, playKinds := play(t, offerText(opusSection, section), PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
			for _, got := range []string{published, played} {
				if !strings.Contains(got, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n") || !strings.Contains(got, "a=rtpmap:96 VP8/90000\r\n") ||
					strings.Count(got, "a=inactive\r\n") != 1 || strings.Contains(got, "flexfec") {
					t.Errorf("video is not inactive:\n%s", got)
				}
			}
			if want := (MediaKinds{Audio: true}); kinds != want || playKinds != want {
				t.Errorf("kinds %+v and %+v, want %+v", kinds, playKinds, want)
			}
			if _, err := editPublishOffer(offerText(section), PublishEdit{Codecs: DefaultCodecs()}); !errors.Is(err, ErrNoCommonCodecs) {
				t.Errorf("alone: %v", err)
			}
		})
	}
	audio := "m=audio 9 UDP/TLS/RTP/SAVPF 9 126\nc=IN IP4 0.0.0.0\na=mid:a\na=rtpmap:9 G722/8000\na=rtpmap:126 telephone-event/8000\n"
	got, kinds := publish(t, offerText(audio, vp8Section), PublishEdit{Codecs: DefaultCodecs()})
	if kinds != (MediaKinds{Video: true}) || !strings.Contains(got, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n") || strings.Count(got, "a=inactive\r\n") != 1 {
		t.Errorf("audio is not inactive, kinds %+v:\n%s", kinds, got)
	}
}

func TestMissingFeedbackIsRestored(t *testing.T) {
	lines := func(offer string) int { return strings.Count(offer, "a=rtcp-fb:") }
	bare := strings.Replace(vp8Section, "a=rtcp-fb:96 nack\n", "", 1)
	got, _ := publish(t, offerText(bare), PublishEdit{Codecs: DefaultCodecs()})
	want := "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\n" +
		"a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
	if !strings.Contains(got, want) {
		t.Errorf("not restored:\n%s", got)
	}
	for name, section := range map[string]string{
		"its own": vp8Section, "wildcard": bare + "a=rtcp-fb:* nack\n", "audio": opusSection,
	} {
		if got, _ := publish(t, offerText(section), PublishEdit{Codecs: DefaultCodecs()}); lines(got) != strings.Count(section, "a=rtcp-fb:") {
			t.Errorf("%s: rtcp-fb lines changed:\n%s", name, got)
		}
	}
}

func BenchmarkEditPublishOffer(b *testing.B) {
	offer, e := readSDP(b, "chrome156-publish-av.sdp"), PublishEdit{Codecs: DefaultCodecs()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := editPublishOffer(offer, e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckPublishOffer measures the part of the edit that comes before the claim.
func BenchmarkCheckPublishOffer(b *testing.B) {
	offer := readSDP(b, "chrome156-publish-av.sdp")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CheckPublishOffer(offer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEditPlayOffer(b *testing.B) {
	offer, e := readSDP(b, "chrome156-play-av.sdp"), PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EditPlayOffer(offer, e); err != nil {
			b.Fatal(err)
		}
	}
}

// Offers beyond the bounds are rejected before any edit, with the bound in the error.
func TestOffersBeyondBoundsAreRejected(t *testing.T) {
	base := readSDP(t, "chrome156-publish-av.sdp")
	for name, tt := range map[string]struct{ offer, want string }{
		"bytes":      {base + "a=x:" + strings.Repeat("y", maxOfferBytes) + "\r\n", "more than 65536 bytes"},
		"m-lines":    {base + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 1\r\n", maxOfferMLines), "more than 8 m-lines"},
		"formats":    {base + "m=video 9 UDP/TLS/RTP/SAVPF" + numbers(maxOfferFormats+1) + "\r\n", "more than 64 formats"},
		"twice":      {base + "m=video 9 UDP/TLS/RTP/SAVPF 96 97 96\r\n", `format "96" twice`},
		"attributes": {base + strings.Repeat("a=x\r\n", maxOfferAttributes), "more than 1000 attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := editPublishOffer(tt.offer, PublishEdit{Codecs: DefaultCodecs()})
			if !errors.Is(err, ErrMalformedSDP) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("publish: %v, want %q", err, tt.want)
			}
			if _, err := PlayOfferKinds(tt.offer); !errors.Is(err, ErrMalformedSDP) {
				t.Errorf("play: %v", err)
			}
		})
	}
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %d", i)
	}
	return b.String()
}

// LiveKit sends checks to every candidate of an offer, so none must reach it.
func TestCandidatesAreRemovedFromOffers(t *testing.T) {
	const candidates = "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\na=remote-candidates:1 192.0.2.1 5000\r\n"
	inSession := func(offer string) string { return strings.Replace(offer, "m=", candidates+"m=", 1) }
	inMedia := func(offer string) string { return offer + candidates }
	for place, add := range map[string]func(string) string{"session": inSession, "m-line": inMedia} {
		published, _ := publish(t, add(readSDP(t, "chrome156-publish-av.sdp")), PublishEdit{Codecs: DefaultCodecs()})
		played, _ := play(t, add(readSDP(t, "chrome156-play-av.sdp")), PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
		for name, edited := range map[string]string{"published": published, "played": played} {
			if strings.Contains(edited, "192.0.2.1") {
				t.Errorf("%s, candidates in the %s: the edited offer has them:\n%s", name, place, edited)
			}
		}
	}
}
