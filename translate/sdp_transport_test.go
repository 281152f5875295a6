package translate

import (
	"errors"
	"strings"
	"testing"
)

// withoutLines removes the lines that begin with one of these.
func withoutLines(sdp string, beginnings ...string) string {
	var out strings.Builder
next:
	for line := range strings.Lines(sdp) {
		for _, b := range beginnings {
			if strings.HasPrefix(line, b) {
				continue next
			}
		}
		out.WriteString(line)
	}
	return out.String()
}

// The Android SDK offers to receive the kind of media that it does not send.
func TestLinesOfWrongDirectionBecomeInactive(t *testing.T) {
	audio := MediaKinds{Audio: true}
	got, kinds := publish(t, offerText(opusSection+"a=sendrecv\n", vp8Section+"a=recvonly\n"), PublishEdit{Codecs: DefaultCodecs()})
	if want := offerText(opusSection+"a=sendonly\n", vp8Section+"a=inactive\n"); got != want || kinds != audio {
		t.Errorf("publish: %+v\n%s", kinds, got)
	}
	got, kinds = play(t, offerText(opusSection+"a=recvonly\n", vp8Section+"a=sendonly\n"), PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
	if want := offerText(opusSection+"a=recvonly\n", vp8Section+"a=inactive\n"); got != want || kinds != audio {
		t.Errorf("play: %+v\n%s", kinds, got)
	}
	if _, err := editPublishOffer(offerText(opusSection+"a=recvonly\n", vp8Section+"a=recvonly\n"), PublishEdit{}); !errors.Is(err, ErrDirection) {
		t.Errorf("a publisher that only receives: %v", err)
	}
}

// An offer of one m-line needs neither mid nor group. LiveKit does; the answer has neither.
func TestOffersWithoutGroupAreServed(t *testing.T) {
	audio, video := opusSection+"a=sendonly\n", vp8Section+"a=sendonly\n"
	inactive := "m=video 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\na=rtpmap:96 VP8/90000\na=recvonly\n"
	const candidates = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\na=end-of-candidates\n"
	for name, tt := range map[string]struct{ offer, edited, answer, want string }{
		"no group": {
			offer: withoutLines(offerText(audio), "a=group"), edited: "a=group:BUNDLE a\r\n",
			answer: offerText(opusSection + candidates), want: withoutLines(offerText(opusSection+candidates), "a=group"),
		},
		"no mid": {
			offer: withoutLines(offerText(video), "a=group", "a=mid"), edited: "a=mid:0\r\n",
			answer: offerText(strings.Replace(vp8Section, "mid:v", "mid:0", 1)), want: withoutLines(offerText(vp8Section), "a=group", "a=mid"),
		},
		"second m-line": {
			offer: withoutLines(offerText(inactive, audio), "a=group"), edited: "a=group:BUNDLE a\r\n",
			answer: offerText(strings.Replace(inactive, "video 9", "video 0", 1)+candidates, opusSection),
			want:   withoutLines(offerText(strings.Replace(inactive, "video 9", "video 0", 1)+candidates, opusSection+candidates), "a=group"),
		},
		"mid of its own of one of two": {
			offer: withoutLines(offerText(strings.Replace(inactive, "mid:v", "mid:0", 1), strings.Replace(audio, "a=mid:a\n", "", 1)), "a=group"), edited: "a=group:BUNDLE 1\r\n",
			answer: offerText(strings.NewReplacer("mid:v", "mid:0", "video 9", "video 0").Replace(inactive), strings.Replace(opusSection, "mid:a", "mid:1", 1)),
			want: withoutLines(offerText(strings.NewReplacer("mid:v", "mid:0", "video 9", "video 0").Replace(inactive),
				strings.Replace(opusSection, "a=mid:a\n", "", 1)), "a=group"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			edited, err := editPublishOffer(tt.offer, PublishEdit{Codecs: DefaultCodecs()})
			if err != nil || !strings.Contains(edited.SDP, tt.edited) {
				t.Fatalf("%v\n%s", err, edited.SDP)
			}
			got, _, err := EditAnswer(tt.answer, AnswerEdit{Fixes: edited.Fixes})
			if err != nil || got != tt.want {
				t.Errorf("%v, answer\n%s\nwant\n%s", err, got, tt.want)
			}
		})
	}
}

// LiveKit reads the first group only, and takes the credentials from the group's first m-line.
func TestGroupIsRepaired(t *testing.T) {
	offer := offerText(opusSection+"a=sendonly\n", vp8Section+"a=sendonly\n")
	ownTransport := withoutLines(offerText(opusSection+"a=sendonly\n", vp8Section+"a=ice-ufrag:v\na=ice-pwd:v\na=fingerprint:sha-256 01\na=sendonly\n"),
		"a=ice-ufrag:u", "a=ice-pwd:p", "a=fingerprint:sha-256 00")
	for name, tt := range map[string][2]string{
		"absent mid":              {strings.Replace(offer, "BUNDLE a v", "BUNDLE x a v", 1), "a v"},
		"another kind first":      {strings.Replace(offer, "a=group:", "a=group:LS x\r\na=group:", 1), "a v"},
		"second group":            {strings.Replace(offer, "a=group:", "a=group:BUNDLE a\r\na=group:", 1), "a v"},
		"credentials of a second": {ownTransport, "v a"},
	} {
		got, kinds := publish(t, tt[0], PublishEdit{Codecs: DefaultCodecs()})
		if groups := lines(got, "a=group"); len(groups) != 1 || groups[0] != "a=group:BUNDLE "+tt[1] || (kinds != MediaKinds{true, true}) {
			t.Errorf("%s: groups %q, kinds %+v", name, groups, kinds)
		}
	}
}

// LiveKit takes several tracks in one m-line for an offer of Plan B, which it fails at.
func TestFirstTrackOfLineIsKept(t *testing.T) {
	section := strings.Replace(vp8Section, "a=ssrc:2 cname:c\n", "", 1) + "a=sendonly\n"
	const kept = "a=ssrc-group:FID 10 11\na=ssrc-group:FEC-FR 10 12\na=ssrc:10 cname:c\na=ssrc:11 cname:c\na=ssrc:12 cname:c\n"
	simulcast := "a=ssrc-group:SIM 10 20\n" + kept + "a=ssrc-group:FID 20 21\na=ssrc:20 cname:c\na=ssrc:21 cname:c\na=ssrc:30 msid:s t\n"
	for name, ssrcs := range map[string]string{"one": kept, "more": simulcast} {
		got, _ := publish(t, offerText(section+ssrcs), PublishEdit{Codecs: DefaultCodecs()})
		if want := offerText(section + kept); got != want {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// LiveKit answers these with 503, or so that the client waits without success. Each is named as the client's
// fault.
func TestOffersThatCannotConnectAreRejected(t *testing.T) {
	whole := offerText(opusSection+"a=sendonly\n", vp8Section+"a=sendonly\n")
	const text = "m=text 9 UDP/TLS/RTP/SAVPF 99\nc=IN IP4 0.0.0.0\na=mid:t\na=rtpmap:99 t140/1000\n"
	for name, tt := range map[string]struct {
		offer, want string
		played      bool // a player's offer is rejected as well
	}{
		"no ICE user":                      {withoutLines(whole, "a=ice-ufrag"), "no ice-ufrag", true},
		"no ICE password":                  {withoutLines(whole, "a=ice-pwd"), "no ice-pwd", true},
		"no fingerprint":                   {withoutLines(whole, "a=fingerprint"), "no fingerprint", true},
		"one mid twice":                    {strings.Replace(whole, "a=mid:v", "a=mid:a", 1), "two m-lines with one mid", true},
		"no mid in two m-lines":            {withoutLines(whole, "a=mid", "a=group"), "no mid in m-line 0 (audio)", true},
		"two m-lines without a group":      {withoutLines(whole, "a=group"), "no BUNDLE group has all m-lines in use", true},
		"one of two outside the group":     {strings.Replace(whole, "BUNDLE a v", "BUNDLE a", 1), "no BUNDLE group has all m-lines in use", true},
		"m-line of text":                   {offerText(opusSection+"a=sendonly\n", text), `m-line 1 (text, mid "t") is neither audio, video nor data`, true},
		"no SSRC":                          {withoutLines(whole, "a=ssrc"), "no SSRC", false},
		"one SSRC in two m-lines":          {strings.Replace(whole, "a=ssrc:2", "a=ssrc:1", 1), "two m-lines with one SSRC", false},
		"supported codec of another clock": {strings.NewReplacer("opus/48000", "opus/8000", "VP8/90000", "VP8/8000").Replace(whole), ErrNoCommonCodecs.Error(), true},
	} {
		_, err := editPublishOffer(tt.offer, PublishEdit{Codecs: DefaultCodecs()})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrMalformedSDP) && !errors.Is(err, ErrNoCommonCodecs) {
			t.Errorf("%s: publish: %v, want %s", name, err, tt.want)
		}
		_, err = EditPlayOffer(strings.ReplaceAll(tt.offer, "a=sendonly", "a=recvonly"), PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
		if played := err != nil && strings.Contains(err.Error(), tt.want); played != tt.played {
			t.Errorf("%s: play: %v", name, err)
		}
	}
}

// Without this error the client would wait for ICE until its timeout.
func TestAnswerThatRejectsAllMediaIsAnError(t *testing.T) {
	rejected := strings.NewReplacer("video 9", "video 0", "audio 9", "audio 0").Replace(offerText(opusSection, vp8Section))
	for name, text := range map[string]string{"rejected": rejected, "inactive": offerText(opusSection + "a=inactive\n")} {
		if _, _, err := EditAnswer(text, AnswerEdit{}); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	one := strings.Replace(offerText(opusSection, vp8Section), "video 9", "video 0", 1)
	if _, notes, err := EditAnswer(one, AnswerEdit{}); err != nil || notes.Kinds != (MediaKinds{Audio: true}) {
		t.Errorf("one rejected: %+v, %v", notes, err)
	}
}
