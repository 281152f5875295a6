package livekit

import (
	"strings"
	"testing"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// TestLiveKitSignalsAsDocumented checks against a real livekit-server what plays over signalling rely on
// (docs/livekit-notes.md#players-over-signalling).
func TestLiveKitSignalsAsDocumented(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, test := range map[string]func(*testing.T, *stage){
		"player lives without its connection": testConnectionClosed,
		"player follows":                      testFollow,
		"player ends with an early close":     testConnectionClosedEarly,
		"vanished player closes it":           func(t *testing.T, s *stage) { eachWay(t, s, testPlayerVanished) },
		"player that never comes up leaves":   testPlayerNeverUp,
		"removed player loses its connection": testPlayerRemoved,
		"unusable offers are refused":         func(t *testing.T, s *stage) { eachWay(t, s, testUnusablePlayOffers) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s.by(t, PlaySignal))
		})
	}
}

// nativeTracks publishes sound and a picture as a LiveKit app does.
func nativeTracks(t *testing.T, pub *lksdk.LocalParticipant) (video *lksdk.LocalTrackPublication) {
	t.Helper()
	audio, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pub.PublishTrack(audio, &lksdk.TrackPublicationOptions{Name: "mic"}); err != nil {
		t.Fatal(err)
	}
	picture := vp8Track(t)
	if video, err = pub.PublishTrack(picture, &lksdk.TrackPublicationOptions{Name: "cam"}); err != nil {
		t.Fatal(err)
	}
	show(t, audio, []byte{0xf8, 0xff, 0xfe})
	film(t, picture, 320, 240)
	return video
}

// more waits until n more packets have arrived.
func more(t *testing.T, peer *rig.Peer, kind translate.Kind, n int) {
	t.Helper()
	before := peer.Packets(kind)
	rig.Eventually(t, patience, string(kind)+" goes on", func() bool { return peer.Packets(kind) >= before+n })
}

// After the close frame, LiveKit's attempts to negotiate do not end the participant: it has no connection for
// them.
func testConnectionClosed(t *testing.T, s *stage) {
	pub := s.nativePublisher(t)
	video := nativeTracks(t, pub)
	rig.Eventually(t, patience, "two tracks", func() bool { return len(s.find(t, native).Tracks) == 2 })
	peer, id, _ := s.play(t, native, rig.PeerOptions{})
	s.flows(t, peer, translate.Audio, translate.Video)
	rig.Eventually(t, patience, "connection is closed", func() bool { return s.openConnections() == 0 })
	third := vp8Track(t)
	extra, err := pub.PublishTrack(third, &lksdk.TrackPublicationOptions{Name: "third"})
	if err != nil {
		t.Fatal(err)
	}
	more(t, peer, translate.Video, 25)
	for _, sid := range []string{extra.SID(), video.SID()} {
		if err := pub.UnpublishTrack(sid); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, patience, "track is gone", func() bool { return trackBySID(s.ask(t, native), sid).SID == "" })
	}
	more(t, peer, translate.Audio, 50) // LiveKit negotiates 150 ms after a track has gone
	if p := s.find(t, id); !p.Active {
		t.Errorf("player is %+v", p)
	}
	if log := s.lk.Output(); strings.Contains(log, string(id)) && strings.Contains(log, "negotiation failed") {
		t.Errorf("LiveKit's log has\n%s", log)
	}
}

func trackBySID(p translate.Participant, sid string) translate.Track {
	for _, track := range p.Tracks {
		if track.SID == sid {
			return track
		}
	}
	return translate.Track{}
}

func (s *stage) openConnections() int {
	s.sfu.held.mu.Lock()
	defer s.sfu.held.mu.Unlock()
	return len(s.sfu.held.open)
}

// start plays without a media path.
func (s *stage) start(t *testing.T, pub translate.Identity) (*rig.Peer, translate.Identity, translate.Answer) {
	t.Helper()
	peer, id := rig.NewPlayer(t, rig.PeerOptions{}), player()
	answer, err := s.sfu.Play(deadline(t, patience), s.playOffer(t, id, pub, peer.Offer()))
	if err != nil {
		t.Fatal(err)
	}
	return peer, id, answer
}

func testConnectionClosedEarly(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	_, id, _ := s.start(t, pub)
	s.sfu.PlayerUp(id)
	s.await(t, translate.EventAborted, room(t), id)
}

func testPlayerVanished(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	peer, id, _ := s.play(t, pub, rig.PeerOptions{})
	s.await(t, translate.EventJoined, room(t), id)
	peer.Close()
	if left := s.awaitLong(t, translate.EventLeft, id); left.Reason != translate.EndTimeout {
		t.Errorf("left webhook is %+v", left)
	}
}

func testPlayerNeverUp(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	_, id, _ := s.start(t, pub)
	if aborted := s.awaitLong(t, translate.EventAborted, id); aborted.Reason != translate.EndTimeout {
		t.Errorf("aborted webhook is %+v", aborted)
	}
	rig.Eventually(t, patience, "connection is closed", func() bool { return s.openConnections() == 0 })
}

func testPlayerRemoved(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	_, id, _ := s.start(t, pub)
	if err := s.sfu.Remove(deadline(t, patience), room(t), id); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, patience, "connection is closed", func() bool { return s.openConnections() == 0 })
	if p := s.find(t, id); p.SID != "" {
		t.Errorf("player is left over: %+v", p)
	}
}

func testUnusablePlayOffers(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	offer := rig.NewPlayer(t, rig.PeerOptions{}).Offer()
	for name, sdp := range map[string]string{
		"empty":              "",
		"not SDP":            "hello",
		"no ICE credentials": strings.ReplaceAll(offer, "a=ice-ufrag", "a=x"),
		"no fingerprint":     strings.ReplaceAll(offer, "a=fingerprint", "a=x"),
		"unknown format":     strings.Replace(offer, "m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF 77", 1),
		"no mid":             strings.ReplaceAll(offer, "a=mid", "a=x"),
	} {
		_, err := s.sfu.Play(deadline(t, shortTime), s.playOffer(t, player(), pub, sdp))
		if translate.KindOf(err) != translate.ErrKindRefused {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
