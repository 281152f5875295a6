package source

import (
	"strconv"
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
	t.Parallel()
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
	testOverUDP(t, port)
}

// testOverUDP reads a camera that has UDP, and one that has not.
func testOverUDP(t *testing.T, port string) {
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/cam", "/tcp"} {
		relay := rig.StartRTSPRelay(t, number)
		s := start1(t, "rtsp://admin:secret@127.0.0.1:"+strconv.Itoa(relay.Port)+path, overUDP)
		s.await(pull.Running)
		s.frames(50, 50)
		s.stop()
		up, down := relay.Traffic()
		if udp := down.Passed > 0; udp != (path == "/cam") || udp && up.Passed == 0 {
			t.Errorf("%s: %d datagrams of the camera, %d of the worker", path, down.Passed, up.Passed)
		}
		if s.room.keys == 0 || s.room.reorders > 0 {
			t.Errorf("%s: %d key frames, %d frames out of order", path, s.room.keys, s.room.reorders)
		}
	}
}
