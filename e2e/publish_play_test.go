package e2e

import (
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

func TestPlayerReceivesPublishedMedia(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	pub := rig.Connect(t, s.Gateway.URL, "defaultApp")
	peer := rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240})
	st := pub.Publish("pub-1", "test", peer)
	if st.AudioCodec != "opus" || st.VideoCodec != "VP8" {
		t.Errorf("codecs %q %q", st.AudioCodec, st.VideoCodec)
	}

	viewer := rig.Connect(t, s.Gateway.URL, "defaultApp")
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	viewer.Play("play-1", "test", screen)
	for _, kind := range []translate.Kind{translate.Audio, translate.Video} {
		rig.Eventually(t, 20*time.Second, "packets of "+string(kind), func() bool { return screen.Packets(kind) > 10 })
	}
	tracks := screen.Tracks()
	if len(tracks) != 2 || tracks[0].StreamID != tracks[1].StreamID {
		t.Errorf("tracks %+v are not in one stream", tracks)
	}

	pub.Unpublish("pub-1", "test")
	pub.WantStatus("pub-1", "UNPUBLISHED", "Stopped by publisher stop")
	viewer.WantStatus("play-1", "FAILED", "Stopped by publisher stop")
}
