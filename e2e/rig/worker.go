package rig

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// buildWorker builds the worker that reads cameras and files.
var buildWorker = sync.OnceValues(func() (string, error) { return buildProgram("wcs-pull", "./cmd/wcs-pull") })

// PullSecret is the secret of gateways and workers in tests.
const PullSecret = "0123456789abcdef0123456789abcdef"

// StartPullWorker starts a worker of the deployment "default" that may read from loopback, and waits until it
// is ready. env are further settings, as WCS_PULL_… variables. It ends with the test.
func StartPullWorker(t testing.TB, lk *LiveKit, redis string, env map[string]string) *Process {
	t.Helper()
	SkipShort(t)
	program, err := buildWorker()
	if err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	all := map[string]string{
		"WCS_PULL_SECRET": PullSecret, "WCS_PULL_REDIS_ADDRS": redis, "WCS_PULL_LIVEKIT_URL": lk.URL, "WCS_PULL_LIVEKIT_APIKEY": lk.Key,
		"WCS_PULL_LIVEKIT_APISECRET": lk.Secret, "WCS_PULL_NETWORKS": "127.0.0.0/8", "WCS_PULL_LISTEN": fmt.Sprintf("127.0.0.1:%d", port),
		"WCS_PULL_LOG_LEVEL": "debug", "WCS_PULL_REDIS_CALLTIMEOUT": "2s",
	}
	maps.Copy(all, env)
	cmd := exec.Command(program)
	cmd.Env = os.Environ()
	for _, k := range slices.Sorted(maps.Keys(all)) {
		cmd.Env = append(cmd.Env, k+"="+all[k])
	}
	p := StartCmd(t, cmd)
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	Eventually(t, patience, "the worker is ready", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("worker ended at once:\n%s", p.Output())
		default:
		}
		res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status is of interest
		return res.StatusCode == http.StatusOK
	})
	return p
}
