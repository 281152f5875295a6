package source

import (
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// GStreamer's RTSP server, beside gortsplib's own: other descriptions, Digest, and sender reports from the
// start.
func TestCameraOfGStreamerPlays(t *testing.T) {
	s := newStage(t)
	camera := rig.Start(t, "/usr/bin/python3", "testdata/camera.py") // Debian's interpreter, which finds its modules
	var port string
	rig.Eventually(t, patience, "the camera listens", func() bool {
		select {
		case <-camera.Done():
			t.Fatalf("the camera ended; make setup installs what it needs:\n%s", camera.Output())
		default:
		}
		var ok bool
		port, _, ok = strings.Cut(camera.Output(), "\n")
		return ok
	})
	address := "127.0.0.1:" + port + "/cam"
	start1(t, "rtsp://admin:wrong@"+address, nil).wantFault(pull.Unauthorized)
	start1(t, "rtsp://admin:secret@"+strings.Replace(address, "cam", "none", 1), nil).wantFault(pull.NotFound)
	p := s.run("rtsp://admin:secret@" + address)
	p.await(pull.Running)
	peer := s.play(rig.PeerOptions{Audio: true, Video: true})
	s.flows(peer, translate.Audio, translate.Video)
	select {
	case <-peer.Picture():
	case <-time.After(patience):
		t.Error("no key frame arrives")
	}
}
