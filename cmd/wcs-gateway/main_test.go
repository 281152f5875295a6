package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// asProgram makes the test binary the program.
const asProgram = "RUN_AS_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// The process starts with neither Redis nor LiveKit, and ends in order after a signal.
func TestSignalEndsProcess(t *testing.T) {
	unreachable := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{
		asProgram + "=1",
		"WCS_LISTEN_PUBLIC=127.0.0.1:0", "WCS_LISTEN_INTERNAL=127.0.0.1:0", "WCS_LIVEKIT_URL=http://" + unreachable,
		"WCS_LIVEKIT_APIKEY=key", "WCS_LIVEKIT_APISECRET=" + secret, "WCS_REDIS_ADDRS=[" + unreachable + "]", "WCS_DRAIN_NOTICE=0s",
	}
	p := rig.StartCmd(t, cmd)
	rig.Eventually(t, time.Minute, "the internal listener is logged", func() bool {
		return strings.Contains(p.Output(), "listening: listen.internal")
	})
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the process did not end after SIGTERM")
	}
	if err := p.Wait(); err != nil {
		t.Errorf("end of the process: %v", err)
	}
	for _, message := range []string{`"message":"starting"`, "no applications are configured", `"message":"ended"`} {
		if !strings.Contains(p.Output(), message) {
			t.Errorf("the log lacks %s", message)
		}
	}
	for line := range strings.Lines(p.Output()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
	if strings.Contains(p.Output(), secret) {
		t.Error("log contains the API secret")
	}
}

const secret = "not-for-the-log"
