package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// A gateway with a wrong secret of LiveKit reports it within a minute of its start, before a client comes: by
// one line in the log, and as the health of its pod in the console.
func TestWrongSecretIsLoggedAndShownAsHealth(t *testing.T) {
	t.Parallel()
	env := restEnv(t)
	env["WCS_REST_CONSOLE"], env["WCS_LIVEKIT_APISECRET"] = "true", "wrong-wrong-wrong-wrong-wrong-wrong"
	s := rig.NewStage(t, env, "")
	rig.Eventually(t, time.Minute, "the failed check is logged", func() bool {
		return strings.Contains(s.Gateway.Output(), `"message":"check failed"`)
	})
	wantLog(t, s.Gateway, `"message":"check failed"`, `"level":"warn"`, `"check":"livekit.apiKey"`, `"result":"fault"`, `"hint":"livekit.apiKey and livekit.apiSecret must be`)
	type finding struct{ Level, Check, Hint string }
	var found []finding
	rig.Eventually(t, 20*time.Second, "the console shows it", func() bool {
		var overview struct {
			Pods []struct{ Health []finding }
		}
		if err := json.Unmarshal([]byte(consoleEvent(t, s.Gateway, "overview")), &overview); err != nil {
			t.Fatal(err)
		}
		if len(overview.Pods) == 1 {
			found = overview.Pods[0].Health
		}
		return len(found) > 0
	})
	if len(found) != 1 || found[0].Level != "fault" || found[0].Check != "livekit.apiKey" || !strings.Contains(found[0].Hint, "livekit.apiSecret") {
		t.Errorf("the console shows %+v, want one fault of livekit.apiKey", found)
	}
	if n := strings.Count(s.Gateway.Output(), `"message":"check failed"`); n != 1 {
		t.Errorf("%d lines, want one", n)
	}
}
