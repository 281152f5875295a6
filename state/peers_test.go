package state

import (
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// Each pod knows the descriptions of the living pods while Redis answers.
func TestPodsKnowPeersWhileRedisAnswers(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	cfg := quickConfig(redis.Addr)
	start := func(id string, sessions int) *testPod {
		p := newPod(t, cfg, id)
		p.describe = func() Peer { return Peer{Server: id + ".example", WS: "1", WSS: "2", Sessions: sessions, Ready: true} }
		p.start(t)
		return p
	}
	a, b := start(podA, 1), start(podB, 2)
	want := func(what string, p *testPod, servers ...string) {
		t.Helper()
		rig.Eventually(t, eventually, what, func() bool {
			var got []string
			for _, peer := range p.Peers() {
				if peer.Host != "" && peer.Ready && peer.WS == "1" && peer.Sessions > 0 {
					got = append(got, strings.TrimSuffix(peer.Server, ".example"))
				}
			}
			return slices.Equal(slices.Sorted(slices.Values(got)), servers)
		})
	}
	want("a knows both", a, podA, podB)
	want("b knows both", b, podA, podB)
	b.end()
	want("a knows that b has left", a, podA)
	redis.Stop()
	want("a knows nobody", a)
}
