package livekit

import (
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// testMutes checks that the attributes change without the participant's others, that asking about a
// participant does not clear them, that LiveKit's list shows them, and that LiveKit refuses to unmute a
// track.
func testMutes(t *testing.T, s *stage) {
	id := publisher()
	peer, _ := s.publish(t, id, rig.PeerOptions{})
	up(t, peer)
	ctx := deadline(t, 40*time.Second)
	if got := s.measured(t, id, 320, 240).Mutes; got != (translate.Mutes{}) {
		t.Errorf("at first: %+v", got)
	}
	for i, m := range []translate.Mutes{{Audio: true, Changes: 1}, {Audio: true, Video: true, Changes: 2}, {Changes: 4}} {
		if err := s.sfu.SetMutes(ctx, room(t), id, m); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := s.ask(t, id).Mutes; got != m {
				t.Errorf("%d: %+v, want %+v", i, got, m)
			}
		}
		rig.Eventually(t, 40*time.Second, "LiveKit's list shows it", func() bool { return s.find(t, id).Mutes == m })
	}
	video := trackOf(s.ask(t, id), translate.Video)
	if err := s.sfu.MuteTrack(ctx, room(t), id, video.SID, true); err != nil {
		t.Fatal(err)
	}
	if !trackOf(s.ask(t, id), translate.Video).Muted {
		t.Error("not muted")
	}
	wantKind(t, s.sfu.MuteTrack(ctx, room(t), id, video.SID, false), translate.ErrKindRefused)
	wantKind(t, s.sfu.SetMutes(ctx, room(t), "nobody", translate.Mutes{}), translate.ErrKindNotFound)
	if err := s.sfu.SendData(ctx, room(t), []byte(`{}`)); err != nil {
		t.Error(err)
	}
}
