package translate

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func answer(t testing.TB, text string, e AnswerEdit) (string, AnswerNotes) {
	t.Helper()
	edited, notes, err := EditAnswer(text, e)
	if err != nil {
		t.Fatalf("EditAnswer: %v", err)
	}
	checkEdit(t, text, edited)
	return edited, notes
}

// lines returns the lines that contain a text.
func lines(sdp, with string) []string {
	var out []string
	for line := range strings.Lines(sdp) {
		if strings.Contains(line, with) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestEditedAnswerEqualsGolden(t *testing.T) {
	both := MediaKinds{Audio: true, Video: true}
	tests := []struct {
		golden, answer string
		edit           AnswerEdit
		notes          AnswerNotes
		candidates     string // those that the client gets
	}{
		{"answer-publish-limits.sdp", "publish-av.sdp", AnswerEdit{MinBitrate: 300, MaxBitrate: 1500}, AnswerNotes{Kinds: both}, "host udp loopback, host tcp loopback"},
		{"answer-publish-tcp.sdp", "publish-av.sdp", AnswerEdit{TCPOnly: true}, AnswerNotes{Kinds: both}, "host tcp loopback"},
		{"answer-play.sdp", "play-VP8.sdp", AnswerEdit{CommonStream: "wcs", Kinds: both, TCPOnly: true},
			AnswerNotes{Kinds: both, AudioTrack: "TR_AMcMMFP8GV7v7B", VideoTrack: "TR_VCftUeeEyhTHp8"}, "host tcp loopback"},
		{"answer-play-no-video.sdp", "play-no-video-track.sdp", AnswerEdit{CommonStream: "wcs"},
			AnswerNotes{Kinds: MediaKinds{Audio: true}, AudioTrack: "TR_AM6fWewWxVNkjj"}, "host udp loopback, host tcp loopback"},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			got, notes := answer(t, readSDP(t, "answers/"+tt.answer), tt.edit)
			checkGolden(t, tt.golden, got)
			if got := notes.Candidates.String(); got != tt.candidates {
				t.Errorf("candidates %q, want %q", got, tt.candidates)
			}
			notes.Candidates = 0
			if notes != tt.notes {
				t.Errorf("notes %+v, want %+v", notes, tt.notes)
			}
		})
	}
}

func TestAnswerWithoutEditsIsUnchanged(t *testing.T) {
	paths, err := filepath.Glob("testdata/answers/*.sdp")
	if err != nil || len(paths) == 0 {
		t.Fatal("no answers", err)
	}
	for _, path := range paths {
		text := readSDP(t, "answers/"+filepath.Base(path))
		if got, _ := answer(t, text, AnswerEdit{}); got != text {
			t.Errorf("%s changed:\n%s", path, cmp.Diff(text, got))
		}
	}
}

// All tracks are in one stream and keep their ids; nothing else changes.
func TestCommonStreamHoldsAllTracks(t *testing.T) {
	for _, name := range []string{"play-VP8.sdp", "play-H264.sdp", "play-audio.sdp"} {
		before := readSDP(t, "answers/"+name)
		after, _ := answer(t, before, AnswerEdit{CommonStream: "common"})
		was, is := strings.Split(before, "\r\n"), strings.Split(after, "\r\n")
		changed := 0
		for i, line := range was {
			_, rest, _ := strings.Cut(line, "PA_")
			stream, track, _ := strings.Cut("PA_"+rest, " ")
			if want := strings.Replace(line, stream, "common", 1); rest != "" && is[i] != want {
				t.Errorf("%s: %s became %s, want %s", name, line, is[i], want)
			} else if rest == "" && is[i] != line {
				t.Errorf("%s: %s became %s", name, line, is[i])
			}
			if rest != "" {
				changed++
			}
			if track != "" && !strings.HasSuffix(is[i], " "+track) {
				t.Errorf("%s: %s lost its track: %s", name, line, is[i])
			}
		}
		if changed < 4 {
			t.Errorf("%s: only %d lines name a stream", name, changed)
		}
	}
}

func TestCommonStreamReplacesEveryMsidForm(t *testing.T) {
	text := offerText(opusSection + "a=msid:one track\na=ssrc:1 msid:one track\na=ssrc:1 mslabel:one\na=ssrc:1 label:track\na=sendonly\n")
	for stream, want := range map[string]string{
		"s-1":                       "s-1",
		"a b\r\na=evil":             "a_b__a_evil",
		strings.Repeat("x", 80):     strings.Repeat("x", 64),
		"Überwachung/cam 1":         "_berwachung_cam_1",
		"90e14ad0-fdb2:11e8{bce2}~": "90e14ad0-fdb2_11e8{bce2}~",
	} {
		got, _ := answer(t, text, AnswerEdit{CommonStream: stream})
		wanted := []string{"a=msid:" + want + " track", "a=ssrc:1 cname:" + want, "a=ssrc:1 msid:" + want + " track",
			"a=ssrc:1 mslabel:" + want, "a=ssrc:1 label:track"}
		if diff := cmp.Diff(wanted, append(lines(got, "a=msid:"), lines(got, "a=ssrc:")...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", stream, diff)
		}
	}
	bare := offerText(opusSection + "a=msid:one\na=sendonly\n")
	if got, _ := answer(t, bare, AnswerEdit{CommonStream: "s"}); len(lines(got, "a=msid:s")) != 1 {
		t.Errorf("msid without track:\n%s", got)
	}
}

// LiveKit answers sendonly even for m-lines on which it sends nothing.
func TestUnusedSectionsOfPlayerBecomeInactive(t *testing.T) {
	const stream = "s"
	audio := MediaKinds{Audio: true}
	tests := []struct {
		name, answer string
		edit         AnswerEdit
		want         []string
	}{
		{"no track", "play-no-video-track.sdp", AnswerEdit{CommonStream: stream}, []string{"sendonly", "inactive"}},
		{"no common codec", "play-no-common-video.sdp", AnswerEdit{CommonStream: stream, Kinds: audio}, []string{"sendonly", "inactive"}},
		{"both used", "play-VP8.sdp", AnswerEdit{CommonStream: stream, Kinds: MediaKinds{true, true}}, []string{"sendonly", "sendonly"}},
		{"video used", "play-VP8.sdp", AnswerEdit{CommonStream: stream, Kinds: MediaKinds{Video: true}}, []string{"inactive", "sendonly"}},
		{"publisher", "publish-av.sdp", AnswerEdit{Kinds: audio}, []string{"recvonly", "recvonly"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, notes := answer(t, readSDP(t, "answers/"+tt.answer), tt.edit)
			var directions []string
			for _, m := range mlines(t, got) {
				directions = append(directions, m.Direction)
			}
			if diff := cmp.Diff(tt.want, directions); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := (MediaKinds{tt.want[0] != "inactive", tt.want[1] != "inactive"}); notes.Kinds != want {
				t.Errorf("kinds %+v, want %+v", notes.Kinds, want)
			}
		})
	}
}

func TestTCPOnlyRemovesUDPCandidates(t *testing.T) {
	text := readSDP(t, "answers/play-VP8.sdp")
	got, notes := answer(t, text, AnswerEdit{TCPOnly: true})
	if udp, tcp := lines(got, " udp "), lines(got, " tcp "); len(udp) != 0 || len(tcp) != 2 || notes.NoTCPCandidate {
		t.Errorf("candidates udp %v, tcp %v; notes %+v", udp, tcp, notes)
	}
	var udpOnly strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, " tcp ") {
			udpOnly.WriteString(line)
		}
	}
	got, notes = answer(t, udpOnly.String(), AnswerEdit{TCPOnly: true})
	if got != udpOnly.String() || !notes.NoTCPCandidate {
		t.Errorf("without TCP candidate: notes %+v\n%s", notes, cmp.Diff(udpOnly.String(), got))
	}
}

func TestBitrateLimitsAreWrittenPerCodec(t *testing.T) {
	text := readSDP(t, "answers/publish-av.sdp")
	tests := []struct {
		min, max int
		b        []string
		vp8      string
		h264     string
	}{
		{0, 0, nil, "", ""},
		{-1, -5, nil, "", ""},
		{300, 0, nil, "x-google-min-bitrate=300", ";x-google-min-bitrate=300"},
		{0, 900, []string{"b=AS:900", "b=TIAS:900000"}, "x-google-max-bitrate=900", ";x-google-max-bitrate=900"},
		{300, 900, []string{"b=AS:900", "b=TIAS:900000"}, "x-google-min-bitrate=300;x-google-max-bitrate=900",
			";x-google-min-bitrate=300;x-google-max-bitrate=900"},
	}
	for _, tt := range tests {
		got, _ := answer(t, text, AnswerEdit{MinBitrate: tt.min, MaxBitrate: tt.max})
		want := append(lines(text, "a=fmtp:"), tt.b...)
		for i := range want {
			if strings.HasPrefix(want[i], "a=fmtp:108 ") {
				want[i] += tt.h264
			}
		}
		if tt.vp8 != "" {
			want = append(want, "a=fmtp:96 "+tt.vp8)
			if !strings.Contains(got, "a=rtpmap:96 VP8/90000\r\na=fmtp:96 "+tt.vp8+"\r\n") {
				t.Errorf("no fmtp line right behind VP8's rtpmap:\n%s", got)
			}
		}
		sorted := cmpopts.SortSlices(strings.Compare)
		if diff := cmp.Diff(want, append(lines(got, "a=fmtp:"), lines(got, "b=")...), sorted); diff != "" {
			t.Errorf("%d..%d (-want +got):\n%s", tt.min, tt.max, diff)
		}
		audio, _, _ := strings.Cut(got, "m=video")
		if len(lines(audio, "b="))+len(lines(audio, "x-google")) > 0 {
			t.Errorf("audio is limited:\n%s", audio)
		}
		if again, _ := answer(t, got, AnswerEdit{MinBitrate: tt.min, MaxBitrate: tt.max}); again != got {
			t.Errorf("the second edit changed the text:\n%s", cmp.Diff(got, again))
		}
	}
}

// The SDK inserts its rate limit into the line after the rtpmap of H264 or VP8, and fails if that is another
// rtpmap. These answers are LiveKit's to offers that CheckedOffer.Edit produced from testdata's.
func TestPublisherAnswerHasLineForSDKRateLimit(t *testing.T) {
	paths, err := filepath.Glob("testdata/answers/publish-*.sdp")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, path := range paths {
		got, _ := answer(t, readSDP(t, "answers/"+filepath.Base(path)), AnswerEdit{})
		all := strings.Split(got, "\r\n")
		for i, line := range all {
			if !strings.HasPrefix(line, "a=rtpmap:") || !strings.Contains(line, " VP8/") && !strings.Contains(line, " H264/") {
				continue
			}
			checked++
			if strings.HasPrefix(all[i+1], "a=rtpmap:") {
				t.Errorf("%s: %s is followed by %s", path, line, all[i+1])
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d rtpmap lines were checked", checked)
	}
}

func TestAnswerKindsOmitRejectedMedia(t *testing.T) {
	rejected := offerText(opusSection+"a=recvonly\n", strings.Replace(vp8Section, "video 9", "video 0", 1))
	_, notes := answer(t, rejected, AnswerEdit{MaxBitrate: 100})
	if (notes.Kinds != MediaKinds{Audio: true}) {
		t.Errorf("kinds %+v, want audio only", notes.Kinds)
	}
	for _, text := range []string{"x", "", "v=0\r\n", offerText()} {
		if _, _, err := EditAnswer(text, AnswerEdit{}); !errors.Is(err, ErrMalformedSDP) {
			t.Errorf("%q: err = %v, want %v", text, err, ErrMalformedSDP)
		}
	}
}
