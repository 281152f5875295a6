package pull

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// HLS of nginx, and streams of rtmp and srt, are played by their address. A file of the web server that lists
// local files plays nothing.
func TestStreamsOfServersArePlayedByTheirAddress(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, map[string]string{
		"WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["http://127.0.0.1:*", "rtmp://127.0.0.1:*", "srt://127.0.0.1:*"]}}}`,
	})
	folder := t.TempDir()
	rig.StartPlaylist(t, filepath.Join(folder, "live.m3u8"), 4)
	for name, text := range map[string]string{
		"local.m3u8":  "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
		"concat.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nconcat:/etc/passwd|/etc/hosts\n#EXT-X-ENDLIST\n",
		"text.mp4":    "not a film",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	web := rig.StartWeb(t, folder, user, password)
	feeds := map[string]int{"rtmp": rig.FreePort(t), "srt": rig.FreePort(t)}
	encoders := append(append([]string{}, rig.CameraH264...), rig.CameraAAC...)
	rig.StartFeed(t, "tcp", feeds["rtmp"], append(encoders, "-f", "flv", "-listen", "1", fmt.Sprintf("rtmp://127.0.0.1:%d/live/cam", feeds["rtmp"]))...)
	rig.StartFeed(t, "udp", feeds["srt"], append(encoders, "-f", "mpegts", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&passphrase=%s", feeds["srt"], password))...)

	c := s.connect(0)
	peers := map[string]*rig.Peer{}
	for name, address := range map[string]string{
		"hls":  web + "/live.m3u8?token=hunter3-geheim",
		"rtmp": fmt.Sprintf("rtmp://%s:%s@127.0.0.1:%d/live/cam?token=hunter3-geheim", user, password, feeds["rtmp"]),
		"srt":  fmt.Sprintf("srt://127.0.0.1:%d?passphrase=%s&streamid=hunter3-geheim", feeds["srt"], password),
	} {
		since := time.Now()
		peers[name] = rig.NewPlayer(t, rig.PeerOptions{})
		c.Play(name, address, peers[name])
		<-peers[name].Picture()
		t.Logf("%s: %v from playStream to the first picture", name, time.Since(since))
	}
	for _, peer := range peers {
		s.wantMedia(peer)
	}
	for _, tt := range []struct{ id, name, info string }{
		{"absent", web + "/none.m3u8", "Stream not found"},
		{"wrong", strings.Replace(web, password, "hunter9-falsch", 1) + "/live.m3u8", "Failed to connect to origin stream"},
		{"text", web + "/text.mp4", "No common codecs"},
		{"local", web + "/local.m3u8", "No common codecs"},
		{"concat", web + "/concat.m3u8", "No common codecs"},
		{"refused", fmt.Sprintf("rtmp://127.0.0.1:%d/live/cam", rig.FreePort(t)), "Failed to connect to origin stream"},
		{"decimal", "http://2130706433/live.m3u8", "Bad URI"},
		{"octal", "http://0177.0.0.1/live.m3u8", "Bad URI"},
		{"mapped", "http://[::ffff:10.0.0.1]/live.m3u8", "Restricted access"},
		{"other", "http://127.0.0.2/live.m3u8", "Restricted access"},
		{"file", "file:///etc/passwd", "Session does not exist"},
		{"joined", "concat:/etc/passwd|/etc/hosts", "Session does not exist"},
	} {
		start(c, tt.id, tt.name, rig.NewPlayer(t, rig.PeerOptions{}))
		c.WantStatus(tt.id, "FAILED", tt.info)
	}
	s.wantNoCredentials("hunter3-geheim", "hunter9-falsch")
}

// Players of a camera that is restarted, cut or frozen wait for it, and those of one that returns with
// another codec end.
func TestPlayersWaitForACameraThatReturns(t *testing.T) {
	t.Parallel()
	s := newStage(t, 2, nil)
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	clients, peers := []*rig.Client{s.connect(0), s.connect(1)}, []*rig.Peer{}
	var statuses atomic.Int64
	for i, c := range clients {
		peer := rig.NewPlayer(t, rig.PeerOptions{})
		c.Play(fmt.Sprint("play-", i), s.rtsp.URL("cam"), peer)
		peers = append(peers, peer)
		c.Observe(func(m rig.Message) {
			if m.Name == "notifyStreamStatusEvent" {
				statuses.Add(1)
			}
		})
	}
	flows := func(what string) {
		t.Helper()
		for _, peer := range peers {
			s.wantMedia(peer)
		}
		if n := statuses.Load(); n != 0 {
			t.Errorf("%s: %d status events", what, n)
		}
	}
	flows("start")
	reads := func(n int) {
		t.Helper()
		rig.Eventually(t, patience, fmt.Sprintf("the camera is read the %dth time", n), func() bool { return s.rtsp.Readers() == n })
	}
	s.rtsp.Cut()
	reads(2)
	flows("cut")
	s.rtsp.Stop()
	s.rtsp.Start()
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraG711)
	reads(3)
	flows("restarted")
	s.rtsp.Freeze(true)
	reads(4)
	s.rtsp.Freeze(false)
	flows("frozen")
	s.rtsp.Stop()
	s.rtsp.Start()
	s.rtsp.Camera("cam", "320x240", rig.CameraH264, rig.CameraOpus)
	for i, c := range clients {
		c.WantStatus(fmt.Sprint("play-", i), "FAILED", "Rtsp has wrong format")
	}
	again := rig.NewPlayer(t, rig.PeerOptions{})
	rig.Eventually(t, patience, "the camera is played with its new codec", func() bool {
		start(clients[0], "again", s.rtsp.URL("cam"), again)
		m := clients[0].AwaitMatch("answer or failure", func(m rig.Message) bool {
			return strings.Contains(m.Raw, `"again"`) && (m.Name == "setRemoteSDP" || strings.Contains(m.Raw, `"FAILED"`))
		})
		if m.Name != "setRemoteSDP" {
			return false // a source that failed is not tried again within 2 s
		}
		var sdp string
		m.Arg(t, 1, &sdp)
		again.SetAnswer(sdp)
		return true
	})
	s.wantMedia(again)
	s.wantNoCredentials()
}
