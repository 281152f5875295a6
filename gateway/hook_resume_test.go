package gateway

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
)

func (w hookWorld) keepFor(d time.Duration) {
	for _, g := range w.pods {
		g.env.Config.KeepAliveGrace = d // before the first client connects
	}
}

// connect is called again for a resumed session, with its id. The backend gets no end in between.
func TestConnectIsCalledAgainForResumedSession(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, func(c *hooks.Config, _ *apps.App) {
		c.Methods = slices.DeleteFunc(c.Methods, func(m hooks.Method) bool { return m == hooks.PublishStream })
	})
	w.keepFor(time.Minute)
	c, token := w.keptAlive(t, podA, "defaultApp", "")
	id := sessionOf(t, token)
	w.backend.Await("connect")
	w.publishUp(t, c, "pub", "s")
	w.backend.AwaitStatus("StreamStatusEvent", "PUBLISHING")
	c.Drop()

	w.backend.On("connect", rig.Refuse(http.StatusForbidden)) // a refused resume changes nothing
	attacker := rig.Dial(t, w.urls[podB])
	attacker.Send("connection", map[string]any{"appKey": "defaultApp", "keepAlive": true, "authToken": token})
	attacker.Await("fail")
	if h := w.backend.Await("connect"); h.Text("sessionId") != id || h.Text("authToken") != "" {
		t.Errorf("connect of a resuming client: %s", h.Raw)
	}
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	w.backend.On("connect", rig.Echo)

	back, next := w.keptAlive(t, podB, "defaultApp", token)
	if sessionOf(t, next) != id {
		t.Fatal("not resumed")
	}
	back.WantStatus("pub", "PUBLISHING", "")
	back.Unpublish("pub", "s")
	back.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED")
	want := []string{
		"connect", "ConnectionStatusEvent ESTABLISHED", "StreamStatusEvent PUBLISHING",
		"connect", "ConnectionStatusEvent FAILED", "ConnectionStatusEvent DISCONNECTED",
		"connect", "ConnectionStatusEvent ESTABLISHED", "unPublishStream PUBLISHING", "StreamStatusEvent UNPUBLISHED",
	}
	if got := w.backend.Order(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// When a detached session expires, the backend gets the ends of its streams and its own.
func TestBackendReceivesEndsOfExpiredSession(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, nil)
	w.keepFor(50 * time.Millisecond)
	c, _ := w.keptAlive(t, podA, "defaultApp", "")
	w.publishUp(t, c, "pub", "s")
	room, _ := w.sfu.only(t, translate.RolePublish)
	c.Drop()
	h := w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED")
	if h.Text("info") != "Stopped by session disconnect" {
		t.Errorf("%s of %s", h.Raw, room)
	}
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	w.wantClean(t)
}
