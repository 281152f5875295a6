package tests

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Prometheus' own tool accepts the alerts, and some of them fire on synthetic series.
func TestPromtoolAcceptsAlerts(t *testing.T) {
	tool, err := filepath.Abs(root + "/bin/promtool") // where .ci/setup puts it, if there is no other
	if err != nil {
		t.Fatal(err)
	}
	if installed, err := exec.LookPath("promtool"); err == nil {
		tool = installed
	}
	for _, args := range [][]string{{"check", "rules", alertsFile}, {"test", "rules", "alerts.promtool.yaml"}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, out)
		}
	}
}
