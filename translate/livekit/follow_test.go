package livekit

import (
	"slices"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"
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

// Tracks come and go while LiveKit answers: mid_to_track_id then lacks tracks of the answer, or has some
// that LiveKit never sends. The offer is repeated until the answer itself has none, or all.
func TestPlayerFollowsByTheAnswersThemselves(t *testing.T) {
	answers := []struct {
		mapped map[string]string
		sent   []string
	}{
		{map[string]string{"0": "TR_old"}, []string{"TR_old"}},
		{nil, []string{"TR_old"}},                                       // it left after the answer was made
		{map[string]string{"0": "TR_1"}, nil},                           // not bound
		{map[string]string{"0": "TR_1", "1": "TR_2"}, []string{"TR_1"}}, // the other came after the answer was made
		{map[string]string{"0": "TR_1", "1": "TR_2"}, []string{"TR_1", "TR_2"}},
	}
	s, got := newStandIn(t), []string{}
	s.steps = func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
		if m.GetOffer() == nil {
			got = append(got, "subscribe")
			return s.usual(m)
		}
		got = append(got, "offer")
		next := answered(sending(answers[0].sent...))
		next.GetAnswer().MidToTrackId = answers[0].mapped
		answers = answers[1:]
		return []*lkproto.SignalResponse{next}
	}
	err := s.sfu(t, PlayAuto, Deps{}).Follow(deadline(t, patience), translate.Following{
		Room: "r", Identity: "me", SID: "PA_me", SDP: standInOffer, Publisher: "pub", Tracks: []translate.Track{{SID: "TR_1"}, {SID: "TR_2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantClose(t)
	if want := []string{"offer", "offer", "offer", "subscribe", "offer", "offer"}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
}
