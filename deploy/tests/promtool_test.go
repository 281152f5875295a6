package tests

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPromtool has Prometheus' own tool check the alerts, and try some of them on made-up figures.
func TestPromtool(t *testing.T) {
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
