package livekit

import (
	"os"
	"path/filepath"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// testBrowserOffers plays with the recorded offers of browsers. Their peers are gone: only the answers are
// checked.
func testBrowserOffers(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	owner := s.ask(t, pub)
	for _, name := range []string{"chrome70-play-av.sdp", "firefox-play-av.sdp"} {
		recorded, err := os.ReadFile(filepath.Join("..", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		offer, err := translate.EditPlayOffer(string(recorded), translate.PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(offer.SDP) >= len(recorded) {
			t.Errorf("%s: %d bytes, edited %d", name, len(recorded), len(offer.SDP))
		}
		_, answer := s.started(t, pub, offer.SDP)
		edited, notes, err := translate.EditAnswer(answer.SDP, translate.AnswerEdit{Fixes: offer.Fixes, CommonStream: "s", Kinds: offer.Kinds})
		if err != nil {
			t.Fatalf("%s: %v; answer:\n%s", name, err, answer.SDP)
		}
		audio, video := trackOf(owner, translate.Audio).SID, trackOf(owner, translate.Video).SID
		if both := (translate.MediaKinds{Audio: true, Video: true}); notes.Kinds != both || notes.AudioTrack != audio || notes.VideoTrack != video {
			t.Errorf("%s: %+v, want tracks %s and %s; answer:\n%s", name, notes, audio, video, edited)
		}
	}
}
