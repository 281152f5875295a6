package gateway

import (
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/translate"
)

// playFrom: an application's clients play its own streams and those of the applications that it names.
func TestClientsPlayStreamsOfNamedApplications(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		for key, from := range map[string][]string{"closed": {"closed"}, "friend": {"defaultApp"}} {
			c.Apps[key] = apps.App{Key: key, Room: "wcs.{name}", Native: apps.NativeOff, Codecs: translate.DefaultCodecs(), PlayFrom: from}
		}
	})
	pub := w.connect(t, podA)
	publishAV(t, pub, "pub", "s")
	pub.AwaitSDP("pub")
	closed := rig.Connect(t, w.urls[podB], "closed")
	ask := func(c *rig.Client, name string) string {
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": name})
		return c.Await("availableStream").Raw
	}
	if got := ask(closed, "s"); !strings.Contains(got, `"status":"false","info":"Restricted access"`) {
		t.Errorf("availableStream of a stream that is starting: %s", got)
	}
	playAV(t, closed, "early", "s")
	closed.WantStatus("early", "FAILED", "Restricted access") // at once, though it is not published yet
	w.media(t, podA, translate.RolePublish)
	pub.WantStatus("pub", "PUBLISHING", "")
	playAV(t, closed, "play", "s")
	closed.WantStatus("play", "FAILED", "Restricted access")
	if got := ask(closed, "s"); !strings.Contains(got, "Restricted access") {
		t.Errorf("availableStream: %s", got)
	}

	friend := rig.Connect(t, w.urls[podB], "friend")
	if got := ask(friend, "s"); !strings.Contains(got, `"status":"true"`) {
		t.Errorf("a friend's availableStream: %s", got)
	}
	playAV(t, friend, "play-2", "s")
	friend.AwaitSDP("play-2")

	publishAV(t, closed, "own", "mine")
	closed.AwaitSDP("own")
	if got := ask(w.connect(t, podA), "mine"); !strings.Contains(got, "Publish stream is not ready") {
		t.Errorf("an application without playFrom: %s", got)
	}
	playAV(t, friend, "play-3", "mine")
	friend.WantStatus("play-3", "FAILED", "Restricted access")
	for _, c := range []*rig.Client{pub, closed, friend} {
		c.Close()
	}
	w.wantClean(t)
}
