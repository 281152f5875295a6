package translate

import (
	"strings"
	"testing"
)

// Offers of browsers that make their tracks of m-lines let a player follow its source; older ones do not, nor
// those of pion, which needs SSRCs.
func TestPlayersOfBrowsersFollow(t *testing.T) {
	chrome := readSDP(t, "chrome156-play-av.sdp")
	twoVideos := strings.Replace(chrome, "BUNDLE 0 1", "BUNDLE 0 1 2", 1) + strings.Replace(chrome[strings.Index(chrome, "m=video"):], "a=mid:1", "a=mid:2", 1)
	for name, tt := range map[string]struct {
		offer string
		want  bool
	}{
		"Chrome":             {chrome, true},
		"Firefox":            {readSDP(t, "firefox-play-av.sdp"), true},
		"Chrome, audio":      {readSDP(t, "chrome156-play-audio.sdp"), true},
		"Chrome, video":      {readSDP(t, "chrome156-play-video.sdp"), true},
		"one without MID":    {strings.Replace(chrome, midExtension, "urn:other", 1), false},
		"without MID":        {strings.ReplaceAll(chrome, midExtension, "urn:other"), false},
		"without send times": {strings.ReplaceAll(chrome, sendTimeExtension, "urn:other"), false},
		"two of a kind":      {twoVideos, false},
		"a shared format":    {strings.Replace(strings.Replace(chrome, "SAVPF 111 ", "SAVPF 111 96 ", 1), "a=rtpmap:111", "a=rtpmap:96 opus/48000\r\na=rtpmap:111", 1), false},
	} {
		for _, follow := range []bool{true, false} {
			got, err := EditPlayOffer(tt.offer, PlayEdit{AudioCodec: "opus", VideoCodec: "VP8", Follow: follow})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got.Follow != (tt.want && follow) {
				t.Errorf("%s: follow is %t", name, got.Follow)
			}
			if got.Follow == (strings.Contains(got.SDP, midExtension) || strings.Contains(got.SDP, " rtx/")) {
				t.Errorf("%s: follow %t, offer\n%s", name, got.Follow, got.SDP)
			}
		}
	}
}

func TestAnswerOfPlayerThatFollowsHasNoSSRC(t *testing.T) {
	text := readSDP(t, "answers/play-VP8.sdp")
	got, notes := answer(t, text, AnswerEdit{CommonStream: "wcs", Follow: true})
	if !strings.Contains(text, "a=ssrc") || strings.Contains(got, "a=ssrc") {
		t.Errorf("answer\n%s", got)
	}
	if want := (MediaKinds{Audio: true, Video: true}); notes.Kinds != want || notes.AudioTrack == "" || notes.VideoTrack == "" {
		t.Errorf("notes %+v", notes)
	}
}
