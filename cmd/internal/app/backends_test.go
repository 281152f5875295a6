package app

import (
	"strings"
	"testing"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
)

// A backend that repeats the request, as the vendor's EchoApp does, can be sent the largest message.
func TestLargestRequestCanBeEchoed(t *testing.T) {
	backend := rig.StartBackend(t)
	cfg := base(t)
	app := config.DefaultApplication()
	app.Hooks.URL = backend.URL
	cfg.Applications = map[string]config.Application{"echo": app}
	g := start(t, cfg)

	largest := func(bytes int) string { return strings.Repeat("x", bytes-len(`""`)) }
	c := rig.Dial(t, "ws://"+g.public)
	custom := largest(cfg.Limits.CustomBytes)
	c.Send("connection", map[string]any{"appKey": "echo", "mediaProviders": []string{"WebRTC"}, "custom": custom})
	if m := c.Await("getUserData"); !strings.Contains(m.Raw, custom) {
		t.Errorf("custom has %d bytes in %d", len(custom), len(m.Raw))
	}
	c.Send("sendData", map[string]any{"operationId": "o", "payload": largest(cfg.Limits.PayloadBytes)})
	if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, `"ACCEPTED"`) {
		t.Errorf("got %.200s", m.Raw)
	}
	if v := g.metric(t, `wcs_hook_call_seconds_count{class="ok",method="OnDataEvent"}`); v != "1" {
		t.Errorf("%s successful calls", v)
	}
}
