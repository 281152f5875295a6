package source

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/pull"
)

// stage is a LiveKit with a Runner.
type stage struct {
	t      testing.TB
	lk     *rig.LiveKit
	sfu    *livekit.SFU
	runner *Runner
}

const testRoom = translate.RoomName("wcs-pull.test.1")

func newStage(t testing.TB) *stage {
	t.Helper()
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{})
	sfu, err := livekit.New(livekit.Config{URL: lk.URL, Key: lk.Key, Secret: lk.Secret}, livekit.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	r, err := New(Config{LiveKit: sfu, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Folder: t.TempDir(), Sandbox: sandbox.Available() == nil})
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, lk: lk, sfu: sfu, runner: r}
}

// run runs a pull of a URL until the test ends.
func (s *stage) run(url string) *started {
	return begin(s.t, s.runner, &fakeRoom{}, url, func(j *Job) { j.Room, j.Identity = string(testRoom), "wcs-pull-1-1" })
}

// play starts a player of the pull as a gateway does.
func (s *stage) play(kinds rig.PeerOptions) *rig.Peer {
	s.t.Helper()
	peer := rig.NewPlayer(s.t, kinds)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	answer, err := s.sfu.Play(ctx, translate.PlayOffer{
		Room: testRoom, Identity: translate.NewIdentity("test", translate.RolePlay, translate.NewPodTag()), MediaID: "media",
		Publisher: "wcs-pull-1-1", Offer: func(p translate.Participant) (string, []translate.Track, error) { return peer.Offer(), p.Tracks, nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	peer.SetAnswer(answer.SDP)
	return peer
}

func (s *stage) flows(peer *rig.Peer, kinds ...translate.Kind) {
	s.t.Helper()
	for _, kind := range kinds {
		from := peer.Packets(kind)
		rig.Eventually(s.t, patience, string(kind)+" arrives", func() bool { return peer.Packets(kind) > from+20 })
	}
}

func TestPlayersOfACameraGetMediaAlsoAfterItReturned(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := rig.StartRTSP(t, "admin", "secret")
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	p := s.run(server.URL("cam"))
	p.await(pull.Running)
	got, err := s.sfu.Participant(t.Context(), testRoom, "wcs-pull-1-1")
	if err != nil || len(got.Tracks) != 2 || !got.Identity.Native() {
		t.Fatalf("participant %+v, error %v, want a native one with two tracks", got, err)
	}
	peer := s.play(rig.PeerOptions{Audio: true, Video: true})
	s.flows(peer, translate.Audio, translate.Video)
	for _, track := range peer.Tracks() {
		if want := map[translate.Kind]string{translate.Audio: "audio/PCMU", translate.Video: "video/H264"}[track.Kind]; track.Mime != want {
			t.Errorf("%s is %s, want %s", track.Kind, track.Mime, want)
		}
	}
	server.Stop()
	p.await(pull.Interrupted)
	server.Start()
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	p.await(pull.Running)
	s.flows(peer, translate.Audio, translate.Video)
	if server.Readers() != 2 {
		t.Errorf("%d reads of the camera, want 2", server.Readers())
	}
	p.stop()
	rig.Eventually(t, patience, "the publisher left", func() bool {
		_, err := s.sfu.Participant(t.Context(), testRoom, "wcs-pull-1-1")
		return translate.KindOf(err) == translate.ErrKindNotFound
	})
}

func TestTranscodedAudioOfACameraReachesPlayers(t *testing.T) {
	s := newStage(t)
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraAAC)
	p := s.run(server.URL("cam"))
	p.await(pull.Running)
	s.flows(s.play(rig.PeerOptions{Audio: true, Video: true}), translate.Audio, translate.Video)
}

func TestPullFailsWhenLiveKitIsLost(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264)
	p := s.run(server.URL("cam"))
	p.await(pull.Running)
	s.lk.Kill()
	p.wantFault(pull.Internal)
}

// The first players of a source that has a key frame each minute do not wait for the next.
func TestFirstPlayerGetsAKeyFrameAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	record(t, filepath.Join(s.runner.config.Folder, "film.mp4"), 60, rig.CameraH264, []string{"-g", "1500", "-keyint_min", "1500"}, rig.CameraAAC)
	p := s.run("vod://film.mp4")
	p.await(pull.Running)
	peer := s.play(rig.PeerOptions{Audio: true, Video: true})
	select {
	case <-peer.Picture():
	case <-time.After(patience):
		t.Fatal("no key frame arrives")
	}
	s.flows(peer, translate.Audio, translate.Video)
}
