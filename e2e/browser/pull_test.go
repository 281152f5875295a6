package browser

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// followed is in the gateway's log.
const followed = "player follows its source to another worker"

// The stock SDK plays an IP camera by its address, with pictures that are decoded, also after its worker was
// stopped or killed and another one has the camera, and is told its end.
func TestSDKPlaysAnIPCamera(t *testing.T) {
	t.Parallel()
	requireSDKs(t)
	w := &world{stage: rig.NewStage(t, map[string]string{
		"WCS_PULL_SECRET": rig.PullSecret, "WCS_PULL_RETRY": "2s", "WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["rtsp://127.0.0.1:*"]}}}`,
		"WCS_LISTEN_EMBED_ENABLED": "true",
	}, "")}
	worker := rig.StartPullWorker(t, w.stage.LiveKit, w.stage.Redis.Addr, nil)
	cameras := rig.StartRTSP(t, "admin", "geheim")
	cameras.Camera("door", "640x360", rig.CameraH264, rig.CameraG711)
	server := httptest.NewServer(pageHandler())
	t.Cleanup(server.Close)
	w.pages, w.browser = server.URL+"/", startBrowser(t)

	for _, sdk := range []string{newestSDK, oldestSDK} {
		s := w.newScene(t)
		session := s.legacyTab(sdk).login(defaultApp)
		since := time.Now()
		player := session.play(cameras.URL("door"), nil)
		t.Logf("SDK %s: PLAYING after %v", sdk, time.Since(since))
		want := mediaWant{Audio: true, Video: true, Width: 640, Height: 360}
		if got := player.wantMedia(want); got.VideoCodec != "H264" || got.AudioCodec != "PCMU" {
			t.Errorf("player receives %+v", got)
		}
		player.wantSize(640, 360)
		other := rig.StartPullWorker(t, w.stage.LiveKit, w.stage.Redis.Addr, nil)
		follows := strings.Count(w.stage.Gateway.Output(), followed)
		end := worker.Stop
		if sdk == oldestSDK {
			end = worker.Kill
		}
		end()
		ended := time.Now()
		worker = other
		rig.Eventually(t, patience, "the player follows", func() bool { return strings.Count(w.stage.Gateway.Output(), followed) > follows })
		player.wantMedia(want)
		t.Logf("SDK %s: plays on %v after its worker", sdk, time.Since(ended))
		if sdk == newestSDK {
			player.stop()
			player.want(wcs.StatusStopped, wcs.InfoStoppedByUser)
			continue
		}
		cameras.Stop()
		player.want(wcs.StatusFailed, "RtspAgent shutdown")
	}
	embeddedCamera(t, &embedWorld{world: w, at: fmt.Sprintf("127.0.0.1:%d", w.stage.Ports.Public)}, cameras)
}

// embeddedCamera plays a camera in the embedded player, which shows no password, waits while the camera is
// away, and plays on when it is back. Its frames and its sound are decoded.
func embeddedCamera(t *testing.T, w *embedWorld, cameras *rig.RTSPServer) {
	t.Helper()
	address := cameras.URL("porch") + "?token=geheim"
	p := w.open(t, url.Values{"streamName": {address}, "autoplay": {"true"}}, "")
	p.is("waiting", "cannot be reached", "The next attempt is in")
	cameras.Start()
	cameras.Camera("porch", "320x180", rig.CameraH264, rig.CameraG711)
	p.is("playing", fmt.Sprintf("Playing rtsp://127.0.0.1:%d/porch.", cameras.Port))
	p.decodes()
	if p.muted() {
		t.Error("the player is muted")
	}
	cameras.Stop()
	p.is("waiting", "was interrupted")
	cameras.Start()
	cameras.Camera("porch", "320x180", rig.CameraH264, rig.CameraG711)
	p.is("playing")
	p.decodes()
	if text := eval[string](p.consoleTab, `document.title + document.body.innerText + stage.outerHTML`); strings.Contains(text, "geheim") {
		t.Errorf("the page shows a password: %s", text)
	}
}
