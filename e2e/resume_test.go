package e2e

import (
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// A client with keepAlive loses its socket, or its whole pod, and returns to another pod with its
// authToken. Its peer connections remain: media continues, no other client is notified, and the streams end
// on request on the new pod.
func TestSessionResumesOnAnotherPod(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(*rig.Client, *rig.Gateway){
		"socket lost": func(c *rig.Client, _ *rig.Gateway) { c.Drop() },
		"socket open": func(*rig.Client, *rig.Gateway) {},
		"pod killed":  func(_ *rig.Client, g *rig.Gateway) { g.Kill() },
		"pod stopped": func(c *rig.Client, g *rig.Gateway) { g.Terminate(); _ = c.AwaitClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, s := pods(t, 2)
			c, token := rig.ConnectKept(t, g[0].URL, "defaultApp", "")
			other := rig.Connect(t, g[1].URL, "defaultApp")
			c.Publish("kept-pub", "kept", rig.NewPublisher(t, rig.PeerOptions{}))
			watching := rig.NewPlayer(t, rig.PeerOptions{})
			other.Play("other-play", "kept", watching)
			other.Publish("other-pub", "other", rig.NewPublisher(t, rig.PeerOptions{}))
			screen := rig.NewPlayer(t, rig.PeerOptions{})
			c.Play("kept-play", "other", screen)
			wantMedia(t, watching, translate.Audio, translate.Video)
			wantMedia(t, screen, translate.Audio, translate.Video)

			gone(c, g[0])
			since := time.Now()
			back, next := rig.ConnectKept(t, g[1].URL, "defaultApp", token)
			back.WantStatus("kept-pub", "PUBLISHING", "")
			back.WantStatus("kept-play", "PLAYING", "")
			t.Logf("%s: resumed after %v", name, time.Since(since))
			wantMedia(t, watching, translate.Audio, translate.Video)
			wantMedia(t, screen, translate.Audio, translate.Video)
			if name != "pod killed" {
				_ = c.AwaitClosed()
			}
			awaitRoundTrip(t, other)
			if n := other.Count("notifyStreamStatusEvent"); n != 0 {
				t.Errorf("somebody else noticed: %s", other.Names())
			}
			other.Unpublish("other-pub", "other")
			other.WantStatus("other-pub", "UNPUBLISHED", "Stopped by publisher stop")
			back.WantStatus("kept-play", "FAILED", "Stopped by publisher stop")

			back.Drop() // and again, to where it is
			back, _ = rig.ConnectKept(t, g[1].URL, "defaultApp", next)
			back.WantStatus("kept-pub", "PUBLISHING", "")
			back.Unpublish("kept-pub", "kept")
			back.WantStatus("kept-pub", "UNPUBLISHED", "Stopped by publisher stop")
			other.WantStatus("other-play", "FAILED", "Stopped by publisher stop")
			s.WantClean(t)
		})
	}
}
