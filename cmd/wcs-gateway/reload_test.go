package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// The process applies a changed file automatically, at the next SIGHUP at the latest, and ignores an invalid
// one.
func TestProcessReloadsChangedFile(t *testing.T) {
	unreachable := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	file := filepath.Join(t.TempDir(), "wcs.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put("applications: {first: {}}")
	cmd := exec.Command(os.Args[0], "-config", file)
	cmd.Env = []string{
		asProgram + "=1",
		"WCS_LISTEN_PUBLIC=127.0.0.1:0", "WCS_LISTEN_INTERNAL=127.0.0.1:0", "WCS_LIVEKIT_URL=http://" + unreachable,
		"WCS_LIVEKIT_APIKEY=key", "WCS_LIVEKIT_APISECRET=" + secret, "WCS_REDIS_ADDRS=[" + unreachable + "]", "WCS_DRAIN_NOTICE=0s",
	}
	p := rig.StartCmd(t, cmd)
	await := func(words ...string) {
		t.Helper()
		rig.Eventually(t, time.Minute, fmt.Sprintf("a line with %q is logged", words), func() bool {
			for line := range strings.Lines(p.Output()) {
				found := true
				for _, w := range words {
					found = found && strings.Contains(line, w)
				}
				if found {
					return true
				}
			}
			return false
		})
	}
	await("listening: listen.internal")
	p.Signal(syscall.SIGHUP)
	await("configuration checked: nothing changed")
	put("applications: {first: {}, second: {}}\ndeployment: other")
	await("configuration reloaded", `"applications":2`)
	await("need a restart", `"keys":["deployment"]`)
	put("applications: {first: {native: sometimes}}\nlog: {level: debug}")
	await("new configuration rejected", `"key":"applications[first].native"`)
	if strings.Contains(p.Output(), `"level":"debug"`) {
		t.Error("log level of a rejected configuration applied")
	}
	put("applications: {first: {}}\nlog: {level: debug}")
	await("configuration reloaded", `"applications":1`, "log.level")
	await(`"level":"debug"`)
	p.Signal(syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		t.Errorf("end of the process: %v", err)
	}
}
