package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

func TestSentinelFailoverEndsNoStream(t *testing.T) {
	t.Parallel()
	sentinel := rig.StartSentinel(t)
	pods, lk := startPods(t, podOptions{n: 2, env: map[string]string{
		"WCS_REDIS_ADDRS": yamlList(sentinel.Addrs), "WCS_REDIS_MASTERNAME": rig.SentinelMasterName, "WCS_REDIS_CALLTIMEOUT": callTimeout,
	}})
	before := sentinel.Master(t)
	masters := func() []*rig.Redis {
		if now := sentinel.Master(t); now != before {
			return []*rig.Redis{now}
		}
		return nil
	}
	failOver(t, pods, failover{
		name: "sentinel", kill: before.Kill, masters: masters, lk: lk,
		listening: func() string { return channels(masters(), "pubsub", "channels", "wcs:*") },
	})
}

func TestClusterFailoverEndsNoStream(t *testing.T) {
	t.Parallel()
	failOverCluster(t, func(before *rig.Redis, _ []*rig.Redis) { before.Kill() })
}

// On a busy machine masters are thought dead, and are replaced while they live. A pod may then listen on one
// that has become a replica, which receives its master's messages.
func TestClusterFailoverOfEveryMasterEndsNoStream(t *testing.T) {
	t.Parallel()
	failOverCluster(t, func(before *rig.Redis, others []*rig.Redis) {
		before.Kill()
		for _, n := range others {
			if !strings.Contains(n.CLI("info", "replication"), fmt.Sprintf("master_port:%d", before.Port)) {
				_ = n.CLI("cluster", "failover", "takeover") // refused by masters
			}
		}
	})
}

// failOverCluster is given how masters are lost: that which has the stream's record and the subscription of a
// pod, and the other nodes.
func failOverCluster(t *testing.T, lose func(before *rig.Redis, others []*rig.Redis)) {
	t.Helper()
	cluster := rig.StartRedisCluster(t)
	pods, lk := startPods(t, podOptions{n: 2, env: map[string]string{
		"WCS_REDIS_ADDRS": yamlList(cluster.Addrs()), "WCS_REDIS_CLUSTER": "true", "WCS_REDIS_CALLTIMEOUT": callTimeout,
	}})
	name, before := "", (*rig.Redis)(nil)
	for i := 0; name == ""; i++ {
		try := fmt.Sprintf("cluster-%d", i)
		m := cluster.MasterOf("wcs:default:{stream:" + try + "}:record")
		if m != nil && strings.Contains(m.CLI("pubsub", "shardchannels"), "wcs:default:pod:") {
			name, before = try, m
		}
		if i == 1000 {
			t.Fatal("no master has a subscription")
		}
	}
	others := slices.DeleteFunc(slices.Clone(cluster.Nodes), func(n *rig.Redis) bool { return n == before })
	failOver(t, pods, failover{
		name: name,
		kill: func() { lose(before, others) },
		masters: func() (masters []*rig.Redis) {
			for _, n := range others {
				if strings.Contains(n.CLI("info", "replication"), "role:master") {
					masters = append(masters, n)
				}
			}
			if len(masters) != 3 {
				return nil
			}
			return masters
		},
		listening: func() string { return channels(others, "pubsub", "shardchannels") },
		meanwhile: infoAway,
		lk:        lk,
	})
}

// channels are those with subscribers on any of the servers.
func channels(servers []*rig.Redis, list ...string) string {
	all := ""
	for _, n := range servers {
		all += n.CLI(list...)
	}
	return all
}

func yamlList(words []string) string { return fmt.Sprintf("[%s]", strings.Join(words, ",")) }

// failover is how a kind of Redis loses a master.
type failover struct {
	name      string // of the stream
	kill      func()
	masters   func() []*rig.Redis // nil while another one is not in place
	listening func() string       // the channels with subscribers
	meanwhile string              // of a pod that does not know the new master of the name yet
	lk        *rig.LiveKit
}

// failOver kills a master under a stream and checks what must hold (docs/architecture.md#failures).
func failOver(t *testing.T, pods []*rig.Gateway, f failover) {
	t.Helper()
	s := newScene(t, pods, f.name)
	before := s.packets()
	f.kill()
	since := time.Now()
	awaitAccepted(t, pods[0], "fo-0")
	awaitAccepted(t, pods[1], "fo-1")
	rig.Eventually(t, 40*time.Second, "another master is in place", func() bool { return len(f.masters()) > 0 })
	rig.Eventually(t, 40*time.Second, "stream and player are registered, and both pods listen", func() bool {
		claims := ""
		for _, m := range f.masters() {
			claims += strings.Join(m.Claims(), " ") + " "
		}
		return strings.Contains(claims, "{stream:"+f.name+"}:record") && strings.Contains(claims, "{stream:"+f.name+"}:players") &&
			strings.Count(f.listening(), "wcs:default:pod:") == len(pods)
	})
	t.Logf("accepted, registered and listening after %v", ms(time.Since(since)))
	wantMedia(t, s.screen)
	t.Logf("packets: %d before, %d in %v since", before, s.packets()-before, time.Since(since).Round(time.Second))
	s.wantUnnoticed(t)
	s.wantProtected(t, f.meanwhile)
	t.Logf("player on the other pod notified after %v", ms(s.end(t)))
	for _, m := range f.masters() {
		rig.WantClean(t, f.lk, m)
	}
	wantNoMoreStatus(t, s.pub, s.view)
}
