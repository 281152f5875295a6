package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
)

// The pod that takes over from a dead pod notifies the backends of the ends of its sessions.
func TestHooksOfSessionsOfDeadPod(t *testing.T) {
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

	w.store.Kill(podA)
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
func TestSessionsOfDeadPodWithUnavailableBackend(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, func(c *hooks.Config, _ *apps.App) { c.Timeout = 100 * time.Millisecond })
	for range 3 {
		w.connect(t, podA)
		w.backend.AwaitStatus("ConnectionStatusEvent", "ESTABLISHED")
	}
	w.backend.Stop()
	w.store.Kill(podA)
	w.store.TakeOver(podA, podB)
	rig.Eventually(t, 20*time.Second, "no backend call is pending", func() bool { return w.pods[podB].env.Cleanup.Pending() == 0 })
	if n := w.backend.Count("ConnectionStatusEvent"); n != 3 {
		t.Errorf("%d calls", n)
	}
}
