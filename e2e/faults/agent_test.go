package faults

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// haproxy queries the agents of two pods: one becomes full, and drains.
func TestAgentCheckMovesClientsFromFullPod(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	pods, _ := startPods(t, podOptions{n: 2, redis: redis.Addr, webhook: 1, env: map[string]string{
		"WCS_REST_AGENT": "127.0.0.1:0", "WCS_LIMITS_CONNECTIONS": "10", "WCS_DRAIN_NOTICE": "1h",
	}})
	agent := pods[0].Listening(t, "rest.agent")
	lb := rig.StartHAProxyWithAgents(t, []string{agent, pods[1].Listening(t, "rest.agent")}, pods...)
	await := func(pod int, status, weight string) {
		t.Helper()
		var s, w string
		defer func() { t.Logf("pod %d: %s, weight %s", pod, s, w) }()
		rig.Eventually(t, 20*time.Second, "haproxy has received "+status+" "+weight, func() bool {
			s, w = lb.Server(t, pod)
			return s == status && w == weight
		})
	}
	await(0, "UP", "100")
	for range 3 {
		rig.Connect(t, pods[0].URL, "defaultApp")
	}
	await(0, "UP", "70")
	await(1, "UP", "100")
	old := rig.Connect(t, pods[0].URL, "defaultApp")
	pods[0].Terminate()
	rig.Eventually(t, 20*time.Second, "the agent reports the drain", func() bool { return ask(t, agent) == "drain\n" })
	rig.Eventually(t, 20*time.Second, "haproxy has received it", func() bool {
		status, _ := lb.Server(t, 0)
		return strings.HasPrefix(status, "DRAIN") || status == "DOWN" // by /readyz, which it requests as well
	})
	for range 5 {
		rig.Connect(t, lb.URL, "defaultApp")
	}
	await(1, "UP", "50")   // all new clients are there
	awaitRoundTrip(t, old) // still served
	pods[0].Terminate()
}

// ask sends haproxy's request to an agent.
func ask(t *testing.T, agent string) (line string) {
	t.Helper()
	c, err := net.Dial("tcp", agent)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
