package state_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
	"wcsgateway/state/statetest"
)

func TestRedisConforms(t *testing.T) {
	server := rig.StartRedis(t)
	runConformance(t, state.Config{Addrs: []string{server.Addr}})
}

func TestRedisClusterConforms(t *testing.T) {
	cluster := rig.StartRedisCluster(t)
	runConformance(t, state.Config{Addrs: cluster.Addrs()})
}

func TestSentinelConforms(t *testing.T) {
	sentinel := rig.StartSentinel(t)
	runConformance(t, state.Config{Addrs: sentinel.Addrs, MasterName: rig.SentinelMasterName})
}

func TestMiniredisConforms(t *testing.T) {
	server := miniredis.RunT(t)
	runConformance(t, state.Config{Addrs: []string{server.Addr()}})
}

// runConformance runs each test in a separate deployment on the same server.
func runConformance(t *testing.T, cfg state.Config) {
	t.Helper()
	cfg.CallTimeout = 10 * time.Second // the machine can be busy, and miniredis is slow with the race detector
	var deployments atomic.Int32
	statetest.RunConformance(t, func(testing.TB) statetest.Opener {
		deployment := fmt.Sprintf("test%d", deployments.Add(1))
		return func(t testing.TB, pod string, h state.Handlers) statetest.Node {
			t.Helper()
			return open(t, cfg, state.Pod{Deployment: deployment, ID: pod, Host: "test"}, h)
		}
	})
}

// open returns a store that is ready and is closed with the test.
func open(t testing.TB, cfg state.Config, pod state.Pod, h state.Handlers) *state.Redis {
	t.Helper()
	r := state.Open(cfg, pod, state.Deps{Log: zerolog.New(zerolog.NewTestWriter(t))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	rig.Eventually(t, 20*time.Second, "the store is ready", r.Ready)
	return r
}
