package gateway

import (
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
)

// The snapshot hook precedes the snapshot. A refusal counts under FAIL.
func TestSnapshotHookRefusesSnapshot(t *testing.T) {
	for _, mode := range []string{"FAIL", "LOG"} {
		t.Run(mode, func(t *testing.T) {
			w := newHookWorld(t, nil)
			if mode == "FAIL" {
				w.policy(fail("snapshot"))
			}
			c := w.publish(t, podA)
			askSnapshot(c, "snap", "s")
			snapshotOf(t, c, "snap")
			h := w.backend.Await("snapshot")
			if h.Path != "/rest/my_api/snapshot" || h.Text("name") != "s" || h.Text("mediaSessionId") != "snap" || h.Text("appKey") != "defaultApp" || h.Text("sessionId") == "" {
				t.Errorf("%s: %s", h.Path, h.Raw)
			}
			w.backend.On("snapshot", rig.Refuse(http.StatusForbidden))
			askSnapshot(c, "snap-2", "s")
			if mode == "LOG" {
				snapshotOf(t, c, "snap-2")
				return
			}
			wantSnapshotFailed(t, c, "snap-2", "Forbidden")
			if n := testutil.ToFloat64(w.pods[podA].metrics.HookVetoes.WithLabelValues("snapshot")); n != 1 {
				t.Errorf("%v rejections by hooks", n)
			}
			if n := testutil.ToFloat64(w.pods[podA].metrics.Snapshots.WithLabelValues("refused")); n != 1 {
				t.Errorf("%v refused snapshots", n)
			}
		})
	}
}
