package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
)

// Requests that are rejected at once and those that fail during the start have the same reasons.
func TestRejectedPublishIsCountedWithReason(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	ends := w.pods[podA].metrics.ends
	for i, tt := range []struct {
		reason string
		extra  map[string]any
	}{
		{"bad_offer", map[string]any{"sdp": ""}},
		{"bad_offer", map[string]any{"sdp": "v=0"}},
		{"no_codec", map[string]any{"mediaProvider": "Flash"}},
		{"limit", map[string]any{"name": "a\nb"}},
		{"forbidden", map[string]any{"rtmpUrl": "rtmp://198.51.100.1/live"}},
		{"bad_request", map[string]any{"sdp": []int{1}}},
	} {
		media := fmt.Sprint("m", i)
		series := ends.WithLabelValues("publish", "client", tt.reason, "defaultApp")
		before := testutil.ToFloat64(series)
		c.Send("publishStream", rig.StreamRequest(media, media, "v=0", true, tt.extra))
		if s := c.AwaitStatus(media); s.Status != "FAILED" {
			t.Errorf("%v: status %+v", tt.extra, s)
		}
		rig.Eventually(t, 5*time.Second, "the rejection is counted as "+tt.reason, func() bool { return testutil.ToFloat64(series) == before+1 })
	}
}
