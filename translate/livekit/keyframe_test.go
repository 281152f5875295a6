package livekit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// TestKeyFrameReturnsDecodableFrame checks KeyFrame against a real livekit-server.
func TestKeyFrameReturnsDecodableFrame(t *testing.T) {
	s := newStage(t)
	for name, test := range map[string]func(*testing.T, *stage){
		"VP8":                                  func(t *testing.T, s *stage) { testKeyFrame(t, s, webrtc.MimeTypeVP8, "busy.vp8") },
		"H264":                                 func(t *testing.T, s *stage) { testKeyFrame(t, s, webrtc.MimeTypeH264, "bars.h264") },
		"VP9":                                  func(t *testing.T, s *stage) { testKeyFrame(t, s, webrtc.MimeTypeVP9, "bars.vp9") },
		"AV1":                                  func(t *testing.T, s *stage) { testKeyFrame(t, s, webrtc.MimeTypeAV1, "bars.av1") },
		"a key frame is requested":             testKeyFrameAsks,
		"a room without a publisher fails":     testKeyFrameNobody,
		"a publisher without video fails":      testKeyFrameNoVideo,
		"a publisher that sends nothing fails": testKeyFrameNothing,
		"a denied subscription fails":          testKeyFrameDenied,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func (s *stage) keyFrame(t *testing.T, ctx context.Context, publisher translate.Identity) (translate.KeyFrame, error) {
	t.Helper()
	return s.sfu.KeyFrame(ctx, translate.ProbeTarget{
		Room: room(t), Identity: translate.NewIdentity(deployment, translate.RoleSnapshot, podTag), Publisher: publisher,
	})
}

// The result equals the publisher's frame, and the hidden participant has left.
func testKeyFrame(t *testing.T, s *stage, mime, file string) {
	frame, err := os.ReadFile(filepath.Join("..", "..", "gateway", "snapshot", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	pub := s.nativePublisher(t)
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clockRate})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pub.PublishTrack(track, &lksdk.TrackPublicationOptions{Source: lkproto.TrackSource_CAMERA}); err != nil {
		t.Fatal(err)
	}
	show(t, track, frame)
	s.awaitTrack(t)
	got, err := s.keyFrame(t, deadline(t, patience), native)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.EqualFold(got.Mime, mime) || !sameFrame(mime, got.Data, frame) {
		t.Errorf("%s of %d bytes, want the %d bytes of %s", got.Mime, len(got.Data), len(frame), file)
	}
	// Without its request to leave, LiveKit would keep the participant for 15 s.
	rig.Eventually(t, 10*time.Second, "the hidden participant leaves", func() bool {
		list, err := s.sfu.Participants(deadline(t, patience), room(t))
		return err == nil && len(list) == 1
	})
}

// sameFrame ignores permitted differences: the length of H264's start codes and AV1's temporal delimiters.
func sameFrame(mime string, a, b []byte) bool {
	switch mime {
	case webrtc.MimeTypeH264:
		return slices.EqualFunc(nals(a), nals(b), bytes.Equal)
	case webrtc.MimeTypeAV1:
		return bytes.Equal(a, bytes.TrimPrefix(b, []byte{0x12, 0x00}))
	}
	return bytes.Equal(a, b)
}

func nals(stream []byte) (list [][]byte) {
	for _, nal := range bytes.Split(stream, []byte{0, 0, 1}) {
		if nal = bytes.TrimSuffix(nal, []byte{0}); len(nal) > 0 {
			list = append(list, nal)
		}
	}
	return list
}

// show sends a frame repeatedly until the test ends.
func show(t *testing.T, track *lksdk.LocalTrack, frame []byte) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(frameEvery)
		defer tick.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
			}
			if err := track.WriteSample(media.Sample{Data: frame, Duration: frameEvery}, nil); err != nil {
				return // unpublished
			}
		}
	}()
	t.Cleanup(func() { <-done })
}

func (s *stage) awaitTrack(t *testing.T) {
	t.Helper()
	rig.Eventually(t, patience, "track is published", func() bool {
		p, err := s.sfu.Participant(deadline(t, patience), room(t), native)
		return err == nil && len(p.Tracks) > 0
	})
}

// A publisher that sends key frames only on request receives a request.
func testKeyFrameAsks(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	src.onDemand = true
	src.run()
	s.appears(t, src.id)
	asked := src.pictureRequests()
	if _, err := s.keyFrame(t, deadline(t, patience), src.id); err != nil {
		t.Fatal(err)
	}
	if src.pictureRequests() == asked {
		t.Error("the publisher was not asked for a key frame")
	}
}

func testKeyFrameNobody(t *testing.T, s *stage) {
	_, err := s.keyFrame(t, deadline(t, patience), "nobody")
	if translate.KindOf(err) != translate.ErrKindNotFound {
		t.Errorf("error is %v", err)
	}
	if list, err := s.sfu.Participants(deadline(t, patience), room(t)); err != nil || len(list) > 0 {
		t.Errorf("in the room: %v, %v", list, err)
	}
}

func testKeyFrameNoVideo(t *testing.T, s *stage) {
	s.nativePublisher(t)
	_, err := s.keyFrame(t, deadline(t, patience), native)
	if !errors.Is(err, translate.ErrNoVideo) || translate.KindOf(err) != translate.ErrKindRefused {
		t.Errorf("error is %v", err)
	}
}

func testKeyFrameNothing(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	stop := src.run()
	s.appears(t, src.id)
	stop()
	_, err := s.keyFrame(t, deadline(t, 2*time.Second), src.id)
	if translate.KindOf(err) != translate.ErrKindUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	rig.Eventually(t, patience, "whoever waited is gone", func() bool {
		list, err := s.sfu.Participants(deadline(t, patience), room(t))
		return err == nil && len(list) == 1
	})
}

func testKeyFrameDenied(t *testing.T, s *stage) {
	stranger, err := New(Config{URL: s.lk.URL, Key: "stranger", Secret: strings.Repeat("s", 32)}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, err = stranger.KeyFrame(deadline(t, patience), translate.ProbeTarget{Room: room(t), Identity: "x", Publisher: native})
	if translate.KindOf(err) != translate.ErrKindDenied {
		t.Errorf("error is %v", err)
	}
}
