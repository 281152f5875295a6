package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
)

// The pod that takes over from a dead pod notifies the backends of the ends of its sessions.
func TestBackendReceivesSessionEndsOfDeadPod(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, nil)
	w.keepFor(time.Minute)
	w.connect(t, podA)
	w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
	_, token := w.keptAlive(t, podA, "defaultApp", "")
	w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
	w.connectAs(t, podA, "native") // has no backend
	w.policy(map[string]map[string]string{"ConnectionStatusEvent": {"restPolicy": "DISABLE"}})
	w.connect(t, podA)

	_, rest := w.keptAlive(t, podA, "defaultApp", "") // a detached session
	w.backend.On("connect", rig.Echo)
	_, rest = w.keptAlive(t, podA, "defaultApp", rest)
	w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")

	w.kill(podA)
	w.store.TakeOver(podA, podB)
	notified := make(map[string]bool)
	for range 3 {
		h := w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
		notified[h.Text("sessionId")] = true
		want := map[string]any{"nodeId": testNode, "appKey": "defaultApp", "sessionId": "/127.0.0.1:PORT/HASH", "status": "DISCONNECTED"}
		if diff := cmp.Diff(want, members(t, h)); diff != "" {
			t.Error(diff)
		}
	}
	if len(notified) != 3 || !notified[sessionOf(t, token)] || !notified[sessionOf(t, rest)] {
		t.Errorf("notified of %v", notified)
	}
	rig.Eventually(t, 20*time.Second, "no backend call is pending", func() bool { return w.pods[podB].env.Cleanup.Pending() == 0 })
	if n := w.backend.Count("ConnectionStatusEvent"); n != 3+3 {
		t.Errorf("%d calls: %v", n, w.backend.Order())
	}
}

// A backend that is unavailable when a pod dies gets no events of its sessions, and delays nothing.
func TestUnavailableBackendDelaysNoTakeOver(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, func(c *hooks.Config, _ *apps.App) { c.Timeout = 100 * time.Millisecond })
	for range 3 {
		w.connect(t, podA)
		w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
	}
	w.backend.Stop()
	w.kill(podA)
	w.store.TakeOver(podA, podB)
	rig.Eventually(t, 20*time.Second, "no backend call is pending", func() bool { return w.pods[podB].env.Cleanup.Pending() == 0 })
	if n := w.backend.Count("ConnectionStatusEvent"); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// The pod that takes over from a dead pod notifies the backends of the ends of its streams, before those of
// their sessions.
func TestBackendReceivesStreamEndsOfDeadPod(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, nil)
	c := w.connect(t, podA)
	w.publishUp(t, c, "pub", "s")
	w.playUp(t, c, "play", "s")
	w.backend.AwaitStatus("StreamStatusEvent", "PUBLISHING")
	w.backend.AwaitStatus("StreamStatusEvent", "PLAYING")
	w.policy(map[string]map[string]string{"StreamStatusEvent": {"restPolicy": "DISABLE"}})
	silent := w.connect(t, podA)
	w.publishUp(t, silent, "silent", "other")
	w.kill(podA)
	w.store.TakeOver(podA, podB)
	for _, want := range []map[string]any{
		{"mediaSessionId": "pub", "name": "s", "published": true, "status": "UNPUBLISHED", "mediaType": "publish", "audioCodec": "opus", "videoCodec": "VP8"},
		{"mediaSessionId": "play", "name": "s", "published": false, "status": "STOPPED", "mediaType": "play", "audioCodec": "opus", "videoCodec": "VP8"},
	} {
		got := members(t, w.backend.AwaitStatus("StreamStatusEvent", want["status"].(string)))
		for _, name := range []string{"nodeId", "appKey", "sessionId", "info", "createDate"} {
			want[name] = map[string]any{
				"nodeId": testNode, "appKey": "defaultApp", "sessionId": "/127.0.0.1:PORT/HASH", "info": "Stopped by session disconnect", "createDate": "MILLISECONDS",
			}[name]
		}
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s of %s is %v, want %v", name, want["mediaSessionId"], got[name], want[name])
			}
		}
	}
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	r, err := w.pods[podB].admin.EndedStream(t.Context(), "pub")
	if err != nil || r == nil || r.Ended.Name != "s" || r.Ended.App != "defaultApp" || r.Ended.Reason != ends.PodLost || r.Ended.Status != "UNPUBLISHED" {
		t.Errorf("end of a stream of a dead pod for operators: %+v, %v", r, err)
	}
	rig.Eventually(t, 20*time.Second, "no backend call is pending", func() bool { return w.pods[podB].env.Cleanup.Pending() == 0 })
	if n := w.backend.Count("StreamStatusEvent"); n != 2+2 {
		t.Errorf("%d calls: %v", n, w.backend.Order())
	}
}
