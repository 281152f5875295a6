package browser

import (
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// The stage's gateway plays the old server, and another gateway in front of it splices every session.
func TestSDKThroughSplice(t *testing.T) {
	w := newWorld(t)
	front := rig.StartGateway(t, rig.GatewayOptions{
		Ports: rig.NewPorts(t), LiveKit: w.stage.LiveKit, Redis: w.stage.Redis.Addr,
		Env: map[string]string{
			"WCS_DEPLOYMENT":   "front",
			"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", strings.TrimSuffix(w.stage.Gateway.URL, "/")),
			"WCS_APPLICATIONS": "{defaultApp: {route: {default: old}}, h264: {route: {default: old}}}",
		},
	})
	front.AwaitReady(t)
	t.Run("all", func(t *testing.T) {
		for _, sdk := range []string{oldestSDK, newestSDK} {
			for name, test := range coreTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					s := w.newScene(t)
					s.gateway = front.URL
					test(s, sdk)
				})
			}
		}
	})
	w.stage.WantClean(t)
	if log := front.Output(); strings.Contains(log, "session established") || strings.Contains(log, "panic") {
		t.Error("the gateway in front has sessions of its own, or its log contains a panic")
	}
	metrics := front.Metrics(t)
	for _, want := range []string{`wcs_upstream_commands_total{app="defaultApp",cmd="publishStream"}`, `wcs_upstream_links_total{result="ok",upstream="old"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no metric %s", want)
		}
	}
}
