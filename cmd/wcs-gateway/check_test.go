package main

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// Ctrl-C ends a check, which removes what it made in LiveKit and Redis.
func TestInterruptedCheckLeavesNothing(t *testing.T) {
	rig.SkipShort(t)
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	webhooks := strings.TrimPrefix(ports.Webhook(), "http://")
	silent, err := net.Listen("tcp", webhooks[:strings.IndexByte(webhooks, '/')])
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	liveKit := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	gateway := rig.StartGateway(t, rig.GatewayOptions{Ports: rig.NewPorts(t), LiveKit: liveKit, Redis: redis.Addr})
	gateway.AwaitReady(t)

	cmd := exec.Command(os.Args[0], "check", "--gateway", gateway.URL)
	cmd.Env = []string{
		asProgram + "=1", "WCS_LIVEKIT_URL=" + liveKit.URL, "WCS_LIVEKIT_APIKEY=" + liveKit.Key, "WCS_LIVEKIT_APISECRET=" + liveKit.Secret,
		"WCS_REDIS_ADDRS=" + redis.Addr,
	}
	p := rig.StartCmd(t, cmd)
	conn, err := silent.Accept() // LiveKit sends the first webhook: the room of the check exists
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.Signal(syscall.SIGINT)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the check did not end after SIGINT")
	}
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(p.Output(), "fault    check: was interrupted") {
		t.Errorf("exit code %d, want 2, and the output must say that the check was interrupted", code)
	}
	if left := liveKit.Participants(t, ""); len(left) > 0 {
		t.Errorf("participants are left: %v", left)
	}
	if keys := redis.CLI("--scan", "--pattern", "wcs:*check*"); strings.TrimSpace(keys) != "" {
		t.Errorf("keys are left: %s", keys)
	}
}
