package faults

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// TestLoadClientLeavesNothingBehind has wcs-bench load two pods behind haproxy, with streams that come, are
// played and go, and with all sockets lost at once: nothing fails, and nothing is left over.
func TestLoadClientLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	bench, err := rig.BuildBench()
	if err != nil {
		t.Fatal(err)
	}
	redis := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: redis.Addr})
	lb := rig.StartHAProxy(t, pods...)
	for scenario, args := range map[string][]string{
		"churn": {"--rate", "2", "--sessions", "30", "--duration", "8s"},
		"storm": {"--sessions", "200", "--publishers", "4", "--rate", "100", "--every", "5s", "--duration", "12s"},
	} {
		results := filepath.Join(t.TempDir(), scenario+".json")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, bench, append([]string{"--scenario", scenario, "--url", lb.URL, "--json", results, "--timeout", "40s"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", scenario, err, out)
		}
		var got struct {
			Steps []struct {
				Name         string
				Done, Failed int
			}
		}
		text, err := os.ReadFile(results)
		if err != nil || json.Unmarshal(text, &got) != nil || len(got.Steps) == 0 {
			t.Fatalf("%s: %v, %s", scenario, err, text)
		}
		for _, s := range got.Steps {
			if s.Failed > 0 || s.Done == 0 {
				t.Errorf("%s: %+v\n%s", scenario, s, out)
			}
		}
		t.Logf("%s\n%s", scenario, out)
	}
	rig.WantClean(t, lk, redis)
}
