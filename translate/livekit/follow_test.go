package livekit

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// browserOffer is the offer of a player that takes any track, as the gateway sends it to LiveKit.
func browserOffer(t *testing.T, peer *rig.Peer, video string) translate.EditedOffer {
	t.Helper()
	offer, err := translate.EditPlayOffer(peer.Offer(), translate.PlayEdit{AudioCodec: "opus", VideoCodec: video, Follow: true})
	if err != nil || !offer.Follow {
		t.Fatalf("offer for following: %t, %v\n%s", offer.Follow, err, peer.Offer())
	}
	return offer
}

// A player whose publisher leaves receives the tracks of another one, without another answer, more than once.
func testFollow(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{VideoMime: webrtc.MimeTypeH264})
	peer := rig.NewPlayer(t, rig.PeerOptions{Follow: true})
	offer := browserOffer(t, peer, "H264")
	id, answer := s.started(t, pub, offer.SDP)
	sdp, _, err := translate.EditAnswer(answer.SDP, translate.AnswerEdit{Fixes: offer.Fixes, CommonStream: "s", Kinds: offer.Kinds, Follow: true})
	if err != nil || !answer.Follows {
		t.Fatal(answer.Follows, err)
	}
	peer.SetAnswer(sdp)
	s.playerUp(t, peer, id)
	s.flows(t, peer, translate.Audio, translate.Video)
	for range 2 {
		next := publisher()
		s.publish(t, next, rig.PeerOptions{VideoMime: webrtc.MimeTypeH264})
		if err := s.sfu.Remove(deadline(t, patience), room(t), pub); err != nil {
			t.Fatal(err)
		}
		to := translate.Following{
			Room: room(t), Identity: id, MediaID: "media-2", SID: answer.SID, SDP: offer.SDP, Publisher: next, Tracks: s.ask(t, next).Tracks,
		}
		if err := s.sfu.Follow(deadline(t, patience), to); err != nil {
			t.Fatal(err)
		}
		more(t, peer, translate.Audio, 50)
		more(t, peer, translate.Video, 25)
		if p := s.find(t, id); !p.Active || p.SID != answer.SID {
			t.Errorf("player is %+v", p)
		}
		pub = next
	}
}
