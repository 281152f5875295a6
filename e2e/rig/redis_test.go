package rig

import (
	"strings"
	"testing"
	"time"
)

func TestRestartedRedisIsEmpty(t *testing.T) {
	r := StartRedis(t)
	r.CLI("set", "k", "v")
	if got := strings.TrimSpace(r.CLI("get", "k")); got != "v" {
		t.Fatalf("get gives %q", got)
	}
	r.Restart()
	if got := strings.TrimSpace(r.CLI("exists", "k")); got != "0" {
		t.Errorf("after a restart, exists gives %q", got)
	}
}

func TestRedisClusterFailsOver(t *testing.T) {
	c := StartRedisCluster(t)
	before := c.MasterOf("k")
	start := time.Now()
	before.Kill()
	Eventually(t, redisStart, "another master serves the slot", func() bool {
		m := c.MasterOf("k")
		return m != nil && m != before && m.answers([]string{"cluster_state:ok"}, "cluster", "info")
	})
	t.Logf("failover took %v", time.Since(start))
}

func TestSentinelFailsOver(t *testing.T) {
	s := StartSentinel(t)
	before := s.Master(t)
	start := time.Now()
	before.Kill()
	Eventually(t, redisStart, "another master is promoted", func() bool {
		m := s.Master(t)
		return m != before && m.answers([]string{"role:master"}, "info", "replication")
	})
	t.Logf("failover took %v", time.Since(start))
}
