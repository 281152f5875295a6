package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const unitFile = root + "/deploy/systemd/wcs-gateway.service"

// systemd accepts the unit, and considers it well protected.
func TestSystemdAcceptsUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// The program exists only where the gateway is installed.
	unit := strings.ReplaceAll(string(readFile(t, unitFile)), "/usr/local/bin/wcs-gateway", "/bin/true")
	file := filepath.Join(t.TempDir(), "wcs-gateway.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", file}, {"security", "--offline=true", "--no-pager", "--threshold=20", file}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		} else if args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze verify reports:\n%s", out)
		}
	}
}

// Media over WebRTC needs the addresses of the machine, which Linux lists over netlink. Without them no probe
// and no snapshot reaches LiveKit.
func TestSystemdUnitAllowsMedia(t *testing.T) {
	if !regexp.MustCompile(`(?m)^RestrictAddressFamilies=.*\bAF_NETLINK\b`).Match(readFile(t, unitFile)) {
		t.Error("the unit does not allow AF_NETLINK")
	}
}

// systemd waits for the whole drain with the default settings before it kills the gateway.
func TestSystemdUnitWaitsForTheDrain(t *testing.T) {
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)min$`).FindSubmatch(readFile(t, unitFile))
	if m == nil {
		t.Fatal("the unit has no TimeoutStopSec in minutes")
	}
	wait, err := time.ParseDuration(string(m[1]) + "m")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Drain struct{ Notice, Window, Pace, Handover string }
	}
	if err := yaml.Unmarshal(readFile(t, root+"/deploy/wcs-gateway.example.yaml"), &config); err != nil {
		t.Fatal(err)
	}
	drain := 10 * time.Second
	for _, text := range []string{config.Drain.Notice, config.Drain.Window, config.Drain.Pace, config.Drain.Pace, config.Drain.Handover} {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		drain += d
	}
	if wait < drain {
		t.Errorf("TimeoutStopSec is %v, a drain takes up to %v", wait, drain)
	}
}
