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

// systemd accepts each unit, and considers it well protected.
func TestSystemdAcceptsUnits(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for name, text := range units(t) {
		// The programs exist only where they are installed.
		unit := strings.ReplaceAll(text, "/usr/local/bin/"+name, "/bin/true")
		file := filepath.Join(t.TempDir(), name+".service")
		if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"verify", file}, {"security", "--offline=true", "--no-pager", "--threshold=20", file}} {
			if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
				t.Errorf("systemd-analyze %s of %s: %v\n%s", args[0], name, err, out)
			} else if args[0] == "verify" && len(out) > 0 {
				t.Errorf("systemd-analyze verify reports of %s:\n%s", name, out)
			}
		}
	}
}

// units returns the units by the programs that they start.
func units(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, name := range []string{"wcs-gateway", "wcs-pull"} {
		texts[name] = string(readFile(t, root+"/deploy/systemd/"+name+".service"))
	}
	return texts
}

// Media over WebRTC needs the addresses of the machine, which Linux lists over netlink. Without them nothing
// that the gateway or a worker connects to LiveKit has media.
func TestSystemdUnitsAllowMedia(t *testing.T) {
	for name, text := range units(t) {
		if !regexp.MustCompile(`(?m)^RestrictAddressFamilies=.*\bAF_NETLINK\b`).MatchString(text) {
			t.Errorf("the unit of %s does not allow AF_NETLINK", name)
		}
	}
}

// systemd waits for the whole drain with the default settings before it kills the gateway.
func TestSystemdUnitWaitsForTheDrain(t *testing.T) {
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)min$`).FindStringSubmatch(units(t)["wcs-gateway"])
	if m == nil {
		t.Fatal("the unit has no TimeoutStopSec in minutes")
	}
	wait, err := time.ParseDuration(m[1] + "m")
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
