package e2e

import (
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// joinNative joins a room with LiveKit's own SDK.
func joinNative(t *testing.T, room, identity string, cb *lksdk.RoomCallback) *lksdk.Room {
	t.Helper()
	r, err := lksdk.ConnectToRoom(stage.LiveKit.URL, lksdk.ConnectInfo{
		APIKey: stage.LiveKit.Key, APISecret: stage.LiveKit.Secret, RoomName: room, ParticipantIdentity: identity,
	}, cb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return r
}

// publishNative publishes audio and video with LiveKit's own SDK until the test ends.
func publishNative(t *testing.T, room, identity string) *lksdk.Room {
	t.Helper()
	r := joinNative(t, room, identity, nil)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for _, kind := range []struct {
		mime  string
		every time.Duration
		data  []byte
	}{
		{webrtc.MimeTypeOpus, 20 * time.Millisecond, []byte{0xf8, 0xff, 0xfe}},
		{webrtc.MimeTypeVP8, 40 * time.Millisecond, rig.VP8Frame(320, 240)},
	} {
		track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: kind.mime})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: identity + kind.mime}); err != nil {
			t.Fatal(err)
		}
		go func() {
			tick := time.NewTicker(kind.every)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_ = track.WriteSample(media.Sample{Data: kind.data, Duration: kind.every}, nil) // not bound yet, or closed
				}
			}
		}()
	}
	return r
}

var nativeTests = map[string]func(*testing.T){
	"a native participant sees what a legacy client publishes": func(t *testing.T) {
		got := make(chan string, 10)
		joinNative(t, "native.see", "nat", &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
			OnTrackSubscribed: func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
				if _, _, err := track.ReadRTP(); err == nil {
					got <- track.Kind().String()
				}
			},
		}})
		c := rig.Connect(t, stage.Gateway.URL, "native")
		c.Publish("see-pub", "see", rig.NewPublisher(t, rig.PeerOptions{}))
		kinds := map[string]bool{}
		for len(kinds) < 2 {
			select {
			case k := <-got:
				kinds[k] = true
			case <-time.After(30 * time.Second):
				t.Fatalf("native participant got %v", kinds)
			}
		}
	},
	"a legacy client plays what a native participant publishes": func(t *testing.T) {
		native := publishNative(t, "native.show", "nat")
		c := rig.Connect(t, stage.Gateway.URL, "native")
		rig.Eventually(t, 20*time.Second, "availableStream true", func() bool {
			c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "show"})
			var a struct{ Status string }
			c.Await("availableStream").Arg(t, 0, &a)
			return a.Status == "true" && len(stage.LiveKit.Participants(t, "native.show")[0].GetTracks()) == 2
		})
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		if s := c.Play("show-play", "show", screen); s.AudioCodec != "opus" || s.VideoCodec != "VP8" {
			t.Errorf("PLAYING %+v", s)
		}
		wantMedia(t, screen, translate.Audio, translate.Video)
		c.Send("publishStream", rig.StreamRequest("show-pub", "show", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
		c.WantStatus("show-pub", "FAILED", "Stream name is already in use")
		native.Disconnect()
		c.WantStatus("show-play", "FAILED", "Stopped by publisher stop")
	},
	"an application that does not share its rooms does not see native participants": func(t *testing.T) {
		publishNative(t, "wcs.hidden", "nat")
		c := connect(t)
		c.Send("playStream", rig.StreamRequest("hidden-play", "hidden", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
		c.WantStatus("hidden-play", "FAILED", "Session does not exist")
	},
}
