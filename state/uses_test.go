package state

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// openStore returns a store that is not registered as a pod.
func openStore(t *testing.T, addr string) *Redis {
	t.Helper()
	r := Open(quickConfig(addr), Pod{Deployment: "test", ID: podA}, Deps{})
	t.Cleanup(func() { _ = r.Close() }) // nothing is pending
	return r
}

func TestUsesOfUpstreamsAreAddedByDay(t *testing.T) {
	rig.SkipShort(t)
	t.Parallel()
	redis := rig.StartRedis(t)
	a, b := openStore(t, redis.Addr), openStore(t, redis.Addr)
	day := at(0)
	a.now, b.now = func() time.Time { return day }, func() time.Time { return day }
	sessions := UpstreamUse{App: "an app", Upstream: "old", ClientVersion: "2.0 +%"}
	calls := UpstreamUse{App: "an app", Upstream: "old", Command: "call"}
	second := UpstreamUse{Upstream: "old"} // of a media provider's second socket
	for _, counts := range []map[UpstreamUse]int64{{sessions: 2, calls: 3}, {sessions: 5, second: 1}} {
		if err := a.CountUpstreamUse(t.Context(), counts); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.CountUpstreamUse(t.Context(), map[UpstreamUse]int64{calls: 4}); err != nil {
		t.Fatal(err)
	}
	day = at(24 * 3600)
	if err := b.CountUpstreamUse(t.Context(), map[UpstreamUse]int64{calls: 1}); err != nil {
		t.Fatal(err)
	}
	for seconds, want := range map[float64]map[UpstreamUse]int64{
		-1: {}, 0: {sessions: 7, calls: 7, second: 1}, 24*3600 + 5: {calls: 1},
	} {
		if got, err := a.UpstreamUses(t.Context(), at(seconds)); err != nil || !maps.Equal(got, want) {
			t.Errorf("counts at %v s: %v, %v", seconds, got, err)
		}
	}
	key := a.keys.uses(at(0))
	if ttl := strings.TrimSpace(redis.CLI("TTL", key)); len(ttl) != 7 { // 31 days are 2678400 s
		t.Errorf("%s is kept for %s s", key, ttl)
	}
}

func TestVersionsOfOneApplicationAreBounded(t *testing.T) {
	rig.SkipShort(t)
	t.Parallel()
	r := openStore(t, rig.StartRedis(t).Addr)
	versions := func(app string, from, n int) map[UpstreamUse]int64 {
		counts := make(map[UpstreamUse]int64)
		for i := range n {
			counts[UpstreamUse{App: app, Upstream: "old", ClientVersion: fmt.Sprint(from + i)}] = 1
		}
		return counts
	}
	for _, counts := range []map[UpstreamUse]int64{
		versions("loud", 0, maxVersions), versions("loud", 1000, 100), versions("loud", 0, maxVersions), versions("calm", 0, 3),
	} {
		if err := r.CountUpstreamUse(t.Context(), counts); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.UpstreamUses(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got); n != maxVersions+1+3 {
		t.Errorf("%d counts are kept", n)
	}
	for version, want := range map[string]int64{OtherVersion: 100, "0": 2, "63": 2, "1000": 0} {
		if n := got[UpstreamUse{App: "loud", Upstream: "old", ClientVersion: version}]; n != want {
			t.Errorf("%d sessions of version %s, want %d", n, version, want)
		}
	}
	if n := got[UpstreamUse{App: "calm", Upstream: "old", ClientVersion: "2"}]; n != 1 {
		t.Errorf("an application with few versions has %d sessions of one", n)
	}
}

func TestUseIsParsedAsWritten(t *testing.T) {
	for _, u := range []UpstreamUse{
		{App: "a b", Upstream: "old", ClientVersion: "ü%"}, {Upstream: "old"}, {App: "a", Upstream: "old", Command: "call"},
	} {
		if got, ok := parseUse(u.field()); !ok || got != u {
			t.Errorf("%+v is parsed as %+v, %v", u, got, ok)
		}
	}
	for _, bad := range []string{"", "n a", "x a b c", "s % b c", "s a b c d"} {
		if u, ok := parseUse(bad); ok {
			t.Errorf("%q is parsed as %+v", bad, u)
		}
	}
}
