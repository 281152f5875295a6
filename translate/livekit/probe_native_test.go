package livekit

import (
	"sync"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const native translate.Identity = "native"

// nativePublisher joins the room of the test as a LiveKit app does.
func (s *stage) nativePublisher(t *testing.T) *lksdk.LocalParticipant {
	t.Helper()
	quietSDK()
	room, err := lksdk.ConnectToRoom(s.lk.URL, lksdk.ConnectInfo{
		APIKey: s.lk.Key, APISecret: s.lk.Secret, RoomName: string(room(t)), ParticipantIdentity: string(native),
	}, nil, lksdk.WithLogger(logger.GetDiscardLogger()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(room.Disconnect)
	return room.LocalParticipant
}

// quietSDK disables the SDK's log.
var quietSDK = sync.OnceFunc(func() { lksdk.SetLogger(logger.GetDiscardLogger()) })

func vp8Track(t *testing.T, options ...lksdk.LocalTrackOptions) *lksdk.LocalTrack {
	t.Helper()
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: clockRate}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return track
}

// film sends key frames of a size until the test ends.
func film(t *testing.T, track *lksdk.LocalTrack, width, height int) {
	t.Helper()
	show(t, track, rig.VP8Frame(width, height))
}

func testProbeFollows(t *testing.T, s *stage) {
	pub := s.nativePublisher(t)
	publish := func(width, height int) *lksdk.LocalTrackPublication {
		track := vp8Track(t)
		publication, err := pub.PublishTrack(track, &lksdk.TrackPublicationOptions{Source: lkproto.TrackSource_CAMERA})
		if err != nil {
			t.Fatal(err)
		}
		film(t, track, width, height)
		return publication
	}
	size := func(width, height int) func(translate.VideoFigures) bool {
		return func(v translate.VideoFigures) bool { return v.Rate > 0 && v.Width == width && v.Height == height }
	}
	first := publish(320, 240)
	p := startProbe(t, s.sfu, native)
	p.await("first track", 0, 1, size(320, 240))
	if err := pub.UnpublishTrack(first.SID()); err != nil {
		t.Fatal(err)
	}
	p.await("no track", p.count(), 1, still)
	publish(640, 360)
	p.await("other track", p.count(), 1, size(640, 360))
}

// If a track has several qualities, the probe receives the best, as players do.
func testProbeBest(t *testing.T, s *stage) {
	pub := s.nativePublisher(t)
	layers := []*lkproto.VideoLayer{
		{Quality: lkproto.VideoQuality_LOW, Width: 160, Height: 120},
		{Quality: lkproto.VideoQuality_MEDIUM, Width: 320, Height: 240},
		{Quality: lkproto.VideoQuality_HIGH, Width: 640, Height: 480},
	}
	var tracks []*lksdk.LocalTrack
	for _, layer := range layers {
		tracks = append(tracks, vp8Track(t, lksdk.WithSimulcast("camera", layer)))
	}
	options := &lksdk.TrackPublicationOptions{Source: lkproto.TrackSource_CAMERA}
	if _, err := pub.PublishSimulcastTrack(tracks, options); err != nil {
		t.Fatal(err)
	}
	for i, layer := range layers {
		film(t, tracks[i], int(layer.Width), int(layer.Height))
	}
	p := startProbe(t, s.sfu, native)
	p.await("best quality", 0, 2, func(v translate.VideoFigures) bool { return v.Rate > 0 && v.Width == 640 && v.Height == 480 })
}
