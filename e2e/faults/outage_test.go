package faults

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// more is set by make test-more.
var more = flag.Bool("more", false, "Redis is away for a minute, hangs for longer, and comes back with old data, writes to clients block, and more clients see an upgrade")

// needsMore skips a test without the flag more.
func needsMore(t *testing.T) {
	t.Helper()
	if !*more {
		t.Skip("-more is not set")
	}
}

// Redis is killed and restarts empty, after all leases have expired.
func TestRedisAwayForLongerThanLeaseEndsNoStream(t *testing.T) {
	t.Parallel()
	lasts := 20 * time.Second
	if *more {
		lasts = time.Minute
	}
	redis := rig.StartRedis(t)
	checkOutage(t, redis, outage{lasts: lasts, begin: redis.Kill, end: redis.Restart})
}

// Redis is killed, and restarts with its old data: leases that have expired meanwhile, and streams that have
// ended.
func TestOldDataOfRedisEndsNoStream(t *testing.T) {
	needsMore(t)
	t.Parallel()
	redis := rig.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	redis.CLI("set", "kept", "yes")
	checkOutage(t, redis, outage{lasts: 15 * time.Second, begin: redis.Kill, end: redis.Restart})
	if kept := redis.CLI("get", "kept"); strings.TrimSpace(kept) != "yes" {
		t.Errorf("Redis has kept nothing: %q", kept)
	}
}

// Redis hangs: connections stay open and nothing is answered, for longer than a lease.
func TestHangingRedisEndsNoStream(t *testing.T) {
	t.Parallel()
	lasts := 10 * time.Second
	if *more {
		lasts = 20 * time.Second
	}
	redis := rig.StartRedis(t)
	checkOutage(t, redis, outage{lasts: lasts, begin: redis.Pause, end: redis.Resume})
}

type outage struct {
	lasts      time.Duration
	begin, end func()
}

// callTimeout is redis.callTimeout of pods whose refusals are timed.
const callTimeout = "800ms"

// refusalLimit is several times callTimeout, for a machine that is busy; what was measured is in the
// log.
const refusalLimit = 5 * time.Second

// checkOutage checks what must hold while Redis is away and when it is back (docs/architecture.md#failures).
func checkOutage(t *testing.T, redis *rig.Redis, o outage) {
	pods, lk := startPods(t, podOptions{n: 2, redis: redis.Addr, env: map[string]string{"WCS_REDIS_CALLTIMEOUT": callTimeout}})
	stays, leaves := newScene(t, pods, "stays"), newScene(t, pods, "leaves")
	before := stays.packets()

	o.begin()
	since := time.Now()
	wantRefusals(t, pods, "at once")
	// A publisher that ends now: its player on the other pod finds out from LiveKit.
	t.Logf("player on the other pod notified after %v, without Redis", ms(leaves.end(t)))
	during := stays.packets()
	stays.wantFlow(t, o.lasts-time.Since(since))
	wantRefusals(t, pods, "later")
	if time.Since(since) < o.lasts {
		t.Fatalf("the outage was over after %v", time.Since(since))
	}
	for _, g := range pods {
		if g.Get("/readyz") != 200 || g.Get("/livez") != 200 {
			t.Error("Redis' absence made a pod unready")
		}
	}
	took, after := time.Since(since), stays.packets()
	t.Logf("packets: %d before, %d during %v", before, after-during, took.Round(time.Second))

	o.end()
	since = time.Now()
	awaitAccepted(t, pods[0], "again-0")
	awaitAccepted(t, pods[1], "again-1")
	rig.Eventually(t, 40*time.Second, "stream and player are registered", func() bool {
		claims := strings.Join(redis.Claims(), " ")
		return strings.Contains(claims, "{stream:stays}:record") && strings.Contains(claims, "{stream:stays}:players")
	})
	t.Logf("all registered again after %v", ms(time.Since(since)))
	wantMedia(t, stays.screen)
	t.Logf("packets: %d after", stays.packets()-after)
	stays.wantUnnoticed(t)
	stays.wantProtected(t, "")
	t.Logf("player on the other pod notified after %v", ms(stays.end(t)))
	rig.WantClean(t, lk, redis)
	wantNoMoreStatus(t, stays.pub, stays.view, leaves.pub, leaves.view)
}

// wantRefusals publishes and plays on both pods, on sessions that are opened now, and expects to be refused.
func wantRefusals(t *testing.T, pods []*rig.Gateway, when string) {
	t.Helper()
	for i, g := range pods {
		c := rig.Connect(t, g.URL, "defaultApp")
		for what, request := range map[string]map[string]any{
			"publishStream": rig.StreamRequest("p", fmt.Sprintf("refused-%d", i), rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil),
			"playStream":    rig.StreamRequest("v", "stays", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil),
		} {
			since := time.Now()
			c.Send(what, request)
			c.WantStatus(fmt.Sprint(request["mediaSessionId"]), "FAILED", infoAway)
			took := time.Since(since)
			t.Logf("%s refused %s, after %v", what, when, ms(took))
			if took > refusalLimit {
				t.Errorf("%s: refused only after %v", what, took)
			}
		}
		c.Close()
	}
}

// wantFlow checks for a time that the player continues to receive packets.
func (s *scene) wantFlow(t *testing.T, d time.Duration) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	const stretch = 15 * time.Second // a loaded machine may be busy elsewhere for seconds
	look := time.NewTicker(stretch)
	defer look.Stop()
	for last := s.packets(); ; {
		select {
		case <-end.C:
			return
		case <-look.C:
		}
		now := s.packets()
		if now-last < 50 { // of some 1,200
			t.Errorf("only %d packets in %v", now-last, stretch)
		}
		last = now
	}
}

// awaitAccepted publishes again and again, slower than the rate limit, until it is accepted. Until then every
// refusal must be quick.
func awaitAccepted(t *testing.T, g *rig.Gateway, id string) {
	t.Helper()
	c := rig.Connect(t, g.URL, "defaultApp")
	defer c.Close()
	retry := time.NewTicker(time.Second / 4)
	defer retry.Stop()
	since := time.Now()
	var slowest time.Duration
	refused := 0
	for i := 0; ; i++ {
		ok, took := attempt(t, c, fmt.Sprintf("%s-%d", id, i))
		if ok {
			break
		}
		refused++
		slowest = max(slowest, took)
		if took > refusalLimit {
			t.Errorf("refused only after %v", took)
		}
		if time.Since(since) > 2*time.Minute {
			t.Fatal("still refused two minutes after Redis is back")
		}
		<-retry.C
	}
	t.Logf("%s: accepted after %v and %d refusals, the slowest after %v", id, ms(time.Since(since)), refused, ms(slowest))
}
