package translate

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/sdp/v3"
)

var update = flag.Bool("update", false, "rewrite testdata/golden")

func readSDP(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkGolden compares got with testdata/golden, line by line; go test -update rewrites it.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := readSDP(t, filepath.Join("golden", name))
	if diff := cmp.Diff(strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// mline holds the parts of an m-line that tests compare.
type mline struct{ Media, Mid, Direction, Formats string }

func mlines(t testing.TB, text string) []mline {
	t.Helper()
	d, err := parseSDP(text)
	if err != nil {
		t.Fatalf("parse again: %v", err)
	}
	var out []mline
	for _, m := range d.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		out = append(out, mline{m.MediaName.Media, mid, directionOf(d, m), strings.Join(m.MediaName.Formats, " ")})
	}
	return out
}

// formatsOfText returns the payload types of each m-line.
func formatsOfText(t testing.TB, text string) []string {
	t.Helper()
	var out []string
	for _, m := range mlines(t, text) {
		out = append(out, m.Formats)
	}
	return out
}

// offerText builds an offer of sections, each of lines. Their m-lines share one transport.
func offerText(sections ...string) string {
	const session = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=ice-ufrag:u\na=ice-pwd:p\na=fingerprint:sha-256 00\n"
	group := "a=group:BUNDLE"
	for _, m := range regexp.MustCompile("a=mid:(.*)").FindAllStringSubmatch(strings.Join(sections, ""), -1) {
		group += " " + m[1]
	}
	return strings.ReplaceAll(session+group+"\n"+strings.Join(sections, ""), "\n", "\r\n")
}

const (
	opusSection = "m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=mid:a\na=rtpmap:111 opus/48000/2\na=ssrc:1 cname:c\n"
	vp8Section  = "m=video 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack\na=ssrc:2 cname:c\n"
)

func TestOfferKindsOmitUnusedMedia(t *testing.T) {
	both, audio := MediaKinds{Audio: true, Video: true}, MediaKinds{Audio: true}
	tests := []struct {
		name  string
		offer string
		want  MediaKinds
		err   error
	}{
		{"both", offerText(opusSection, vp8Section), both, nil},
		{"audio only", offerText(opusSection), audio, nil},
		{"rejected video", offerText(opusSection, strings.Replace(vp8Section, "video 9", "video 0", 1)), audio, nil},
		{"inactive video", offerText(opusSection, vp8Section+"a=inactive\n"), audio, nil},
		{"bundle-only video", offerText(opusSection, strings.Replace(vp8Section, "video 9", "video 0", 1)+"a=bundle-only\n"), both, nil},
		{"no m-line", offerText(), MediaKinds{}, ErrNoMedia},
		{"all inactive", offerText(opusSection + "a=inactive\n"), MediaKinds{}, ErrNoMedia},
		{"data only", offerText("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:d\n"), MediaKinds{}, ErrNoMedia},
		{"empty", "", MediaKinds{}, ErrNoMedia},
		{"no SDP", "hello", MediaKinds{}, ErrMalformedSDP},
		{"m-line without format", offerText("m=audio 9 UDP/TLS/RTP/SAVPF\n"), MediaKinds{}, ErrNoCommonCodecs},
		{"rejected m-line without format", offerText("m=audio 0 UDP/TLS/RTP/SAVPF\n"), MediaKinds{}, ErrMalformedSDP},
		{"stray carriage return", offerText(strings.Replace(opusSection, "opus", "op\rus", 1)), MediaKinds{}, ErrMalformedSDP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := PlayOfferKinds(tt.offer)
			if !errors.Is(err, tt.err) || got != tt.want {
				t.Errorf("OfferKinds = %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestErrorOfMalformedSDPOmitsText(t *testing.T) {
	_, err := editPublishOffer("v=1\r\no=s3cret\r\n", PublishEdit{})
	if !errors.Is(err, ErrMalformedSDP) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("err = %v", err)
	}
}

func TestLineEndsBecomeCRLF(t *testing.T) {
	crlf := offerText(opusSection + "a=sendonly\n")
	lf := strings.ReplaceAll(crlf, "\r\n", "\n")
	for name, offer := range map[string]string{"CRLF": crlf, "LF": lf, "last line open": strings.TrimSuffix(crlf, "\r\n")} {
		got, err := editPublishOffer(offer, PublishEdit{Codecs: DefaultCodecs()})
		if err != nil || got.SDP != crlf {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(crlf, got.SDP))
		}
	}
}

// checkEdit checks the invariants of every edit: as many m-lines in the same order with the same mids, no new
// payload type unless the m-line became inactive, and CRLF at all line ends.
func checkEdit(t testing.TB, before, after string) {
	t.Helper()
	if !strings.HasSuffix(after, "\r\n") || strings.Count(after, "\n") != strings.Count(after, "\r\n") {
		t.Fatalf("line ends: %q", after)
	}
	was, is := mlines(t, before), mlines(t, after)
	if len(was) != len(is) {
		t.Fatalf("%d m-lines, had %d", len(is), len(was))
	}
	for i := range is {
		if is[i].Media != was[i].Media || is[i].Mid != was[i].Mid && was[i].Mid != "" {
			t.Errorf("m-line %d is %+v, was %+v", i, is[i], was[i])
		}
		had := strings.Fields(was[i].Formats)
		for _, f := range strings.Fields(is[i].Formats) {
			if !slices.Contains(had, f) && is[i].Direction != sdp.AttrKeyInactive {
				t.Errorf("m-line %d: new payload type %s", i, f)
			}
		}
	}
}

// checkTrimmed checks that no m-line that takes part in an edited offer has dangling references, unless it
// had nothing usable.
func checkTrimmed(t testing.TB, offer, direction string) {
	t.Helper()
	d, err := parseSDP(offer)
	if err != nil {
		t.Fatalf("parse again: %v", err)
	}
	for i, m := range d.MediaDescriptions {
		if !takesPart(d, m) {
			continue
		}
		if got := directionOf(d, m); got != direction {
			t.Errorf("%s is %s", lineName(i, m), got)
		}
		formats := formatsOf(m)
		if len(formats) == 0 {
			continue
		}
		if len(formats) != len(m.MediaName.Formats) {
			t.Errorf("%s: formats %v, usable: %v", lineName(i, m), m.MediaName.Formats, formats)
		}
		kept := allOf(formats)
		for _, a := range m.Attributes {
			text, ofFormat := formatOf(a)
			if pt, ok := parsePT(text); ofFormat && text != "*" && !(ok && kept.has(pt)) {
				t.Errorf("%s: left over a=%s:%s", lineName(i, m), a.Key, a.Value)
			}
		}
	}
}
