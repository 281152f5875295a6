package state

import (
	"errors"
	"slices"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

func TestStoreStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	server.Stop()
	cfg := quickConfig(server.Addr)
	p := newPod(t, cfg, podA)
	p.PutSession(Session{ID: "s0"})
	wantErr(t, p.ClaimStream(t.Context(), testStream("cam", "m1")), ErrLeaseStale)
	_, err := p.FindStream(t.Context(), "cam")
	wantErr(t, err, ErrUnavailable)
	if p.Ready() {
		t.Error("ready before Redis was reached")
	}
	server.Restart()
	p.start(t)
	awaitSessions(t, p, "s", 1, p.life())
	claimAll(t, p, testStream("cam", "m1"))
	server.Stop()
	rig.Eventually(t, eventually, "the lease is stale", func() bool { return !p.Fresh() })
	if !p.Ready() {
		t.Error("not ready after Redis became unreachable")
	}
}

func TestEmptyRedisIsFilledAgain(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	cfg := quickConfig(server.Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	life := a.life()
	s, pl := testStream("cam", "m1"), testPlayer("cam", "m2")
	claimAll(t, a, s)
	playAll(t, b, pl)
	putSessions(a, "s", 10)
	awaitSessions(t, b, "s", 10, life)

	server.Restart()
	rig.Eventually(t, eventually, "both are told", func() bool { return a.resets.Load() > 0 && b.resets.Load() > 0 })
	claimAll(t, a, s)
	playAll(t, b, pl)
	awaitSessions(t, b, "s", 10, life) // without a call
	got, err := b.FindStream(t.Context(), "cam")
	must(t, err)
	if got.Owner != life {
		t.Errorf("owner is %v, want %v as before", got.Owner, life)
	}
	pods, err := a.PutStream(t.Context(), s)
	must(t, err)
	if !slices.Equal(pods, []string{podB}) {
		t.Errorf("pods with players are %v", pods)
	}
	rig.Eventually(t, eventually, "events arrive again", func() bool {
		must(t, a.Publish(t.Context(), podB, Event{Kind: EventChanged, Name: "cam"}))
		return len(b.events) > 0
	})
	if a.losts.Load()+b.losts.Load() != 0 || len(a.taken())+len(b.taken()) != 0 {
		t.Error("records were taken over")
	}
}

// Redis hangs for longer than a lease: calls fail quickly, no pod is taken over, and commands sent at that
// time and undone afterwards stay undone.
func TestHangingRedisFailsCallsQuickly(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	cfg := quickConfig(server.Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	awaitQuiet(t, b)
	life := a.life()
	claimAll(t, a, testStream("held", "m1"))

	server.Pause()
	doubtful := testStream("doubtful", "m2")
	start := time.Now()
	err := a.ClaimStream(t.Context(), doubtful)
	wantErr(t, err, ErrUnavailable)
	if took := time.Since(start); took > 10*cfg.CallTimeout {
		t.Errorf("the call took %v", took)
	}
	rig.Eventually(t, eventually, "the lease is stale", func() bool { return !a.Fresh() })
	err = a.ClaimStream(t.Context(), testStream("late", "m3"))
	wantErr(t, err, ErrLeaseStale)
	if errors.Is(err, ErrUnavailable) {
		t.Errorf("stale and unavailable at the same time: %v", err)
	}
	wantErr(t, a.RemovePlayer(t.Context(), testPlayer("held", "m1")), ErrLeaseStale)
	expired := time.NewTimer(cfg.Lease)
	<-expired.C // both leases have expired when Redis continues
	server.Resume()

	rig.Eventually(t, eventually, "both are told", func() bool { return a.resets.Load() > 0 && b.resets.Load() > 0 })
	if a.life() != life {
		t.Errorf("owner is %v, was %v: an expired lease is not lost", a.life(), life)
	}
	_, err = a.ReleaseStream(t.Context(), doubtful)
	must(t, err)
	claimAll(t, b, testStream("doubtful", "m4"))
	_, err = a.PutStream(t.Context(), testStream("held", "m1"))
	must(t, err)
	if a.losts.Load()+b.losts.Load() != 0 || len(a.taken())+len(b.taken()) != 0 {
		t.Error("records were taken over")
	}
}

func TestExpiredLeaseIsNotLost(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startPod(t, cfg, podA)
	life := a.life()
	claimAll(t, a, testStream("cam", "m1"))
	must(t, client(t, cfg).Del(t.Context(), a.keys.lease(life)).Err())
	rig.Eventually(t, eventually, "it is told", func() bool { return a.resets.Load() == 1 })
	if a.life() != life || a.losts.Load() != 0 {
		t.Errorf("owner is %v, was %v", a.life(), life)
	}
	claimAll(t, a, testStream("cam", "m1")) // as the gateway does after Reset
	_, err := a.PutStream(t.Context(), testStream("cam", "m1"))
	must(t, err)
}

func TestTakenOverPodContinuesInNewLife(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	life := a.life()
	s := testStream("cam", "m1")
	claimAll(t, a, s)
	playAll(t, a, testPlayer("cam", "m2"))
	putSessions(a, "s", 3)
	awaitSessions(t, b, "s", 3, life)

	see := client(t, cfg)
	must(t, see.Set(t.Context(), a.keys.taken(life), b.life().String(), time.Hour).Err()) // as take_over.lua does
	rig.Eventually(t, eventually, "it is told", func() bool { return a.losts.Load() == 1 })
	rig.Eventually(t, eventually, "it lives again", a.Fresh)
	if now := a.life(); now.Pod != podA || now.Epoch <= life.Epoch {
		t.Fatalf("owner is %v, was %v", now, life)
	}
	_, err := a.PutStream(t.Context(), s)
	if !errors.Is(err, ErrLostOwnership) && !errors.Is(err, ErrNotFound) { // released yet or not
		t.Errorf("PutStream in a new life: %v", err)
	}
	rig.Eventually(t, eventually, "b has released the stream", func() bool { return len(b.taken()) >= 2 })
	awaitSessions(t, b, "s", 3, a.life())
	s.Identity += "x"
	claimAll(t, a, s)
	if a.resets.Load() != 0 {
		t.Error("Reset was called for void records")
	}
}

func TestPodThatLeavesWithoutStreamsIsNotTakenOver(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startPod(t, cfg, podA)
	s, pl := testStream("cam", "m1"), testPlayer("cam", "m2")
	claimAll(t, a, s)
	playAll(t, a, pl)
	putSessions(a, "s", 1000)
	awaitSessions(t, a, "s", 1000, a.life())
	must(t, a.RemovePlayer(t.Context(), pl))
	_, err := a.ReleaseStream(t.Context(), s)
	must(t, err)
	for i := range 1000 {
		a.DropSession("s" + itoa(i))
	}
	owner := a.life()
	a.end() // writes pending changes
	void := "{stream:cam}:void:" + owner.String() + ":"
	marks := []string{"{pod:" + owner.String() + "}:taken", void + "m1+pub-m1", void + "m2+play-m2"}
	if left := allKeys(t, client(t, cfg)); !slices.Equal(left, marks) {
		t.Errorf("keys left: %v, want only %v", left, marks)
	}
	wantErr(t, a.ClaimStream(t.Context(), s), ErrLeaseStale)
}

// A pod that leaves with streams is taken over without waiting for the end of its lease.
func TestPodThatLeavesWithStreamsIsTakenOverAtOnce(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	long := quickConfig(server.Addr)
	long.Lease = time.Hour
	long.RecordTTL = 24 * time.Hour
	a, b := startPod(t, long, podA), startPod(t, quickConfig(server.Addr), podB)
	claimAll(t, a, testStream("cam", "m1"))
	a.end()
	rig.Eventually(t, eventually, "b has released the stream", func() bool { return len(b.taken()) == 1 })
}

func TestStoreContinuesAfterClusterFailover(t *testing.T) {
	t.Parallel()
	cluster := rig.StartRedisCluster(t)
	cfg := quickConfig(cluster.Addrs()...)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	s := testStream("cam", "m1")
	claimAll(t, a, s)
	for what, key := range map[string]string{"stream": a.keys.record("cam"), "events": a.keys.channel(podB)} {
		before := cluster.MasterOf(key)
		if before == nil {
			t.Fatalf("no master of the %s", what)
		}
		start := time.Now()
		before.Kill()
		rig.Eventually(t, eventually, "the stream can be written again", func() bool {
			_, err := a.PutStream(t.Context(), s)
			if errors.Is(err, ErrNotFound) { // replication is asynchronous: Reset handles this
				err = a.ClaimStream(t.Context(), s)
			}
			return err == nil
		})
		t.Logf("writes again %v after the master of the %s was killed", time.Since(start), what)
		rig.Eventually(t, eventually, "events arrive again", func() bool {
			if err := a.Publish(t.Context(), podB, Event{Kind: EventChanged}); err != nil {
				return false
			}
			return len(b.events) > 0
		})
		t.Logf("events again after %v", time.Since(start))
		before.Restart() // empty: it returns as a replica
		rig.Eventually(t, eventually, "the killed node is a replica", func() bool {
			return contains(before.CLI("info", "replication"), "master_link_status:up")
		})
		for len(b.events) > 0 {
			<-b.events
		}
	}
	if a.losts.Load()+b.losts.Load() != 0 || len(a.taken())+len(b.taken()) != 0 {
		t.Error("records were taken over")
	}
}

func TestStoreContinuesAfterSentinelFailover(t *testing.T) {
	t.Parallel()
	sentinel := rig.StartSentinel(t)
	cfg := quickConfig(sentinel.Addrs...)
	cfg.MasterName = rig.SentinelMasterName
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	s := testStream("cam", "m1")
	claimAll(t, a, s)
	start := time.Now()
	sentinel.Master(t).Kill()
	rig.Eventually(t, eventually, "both are told", func() bool { return a.resets.Load() > 0 && b.resets.Load() > 0 })
	t.Logf("back after %v", time.Since(start))
	claimAll(t, a, s)
	rig.Eventually(t, eventually, "events arrive again", func() bool {
		return a.Publish(t.Context(), podB, Event{Kind: EventChanged}) == nil && len(b.events) > 0
	})
	if a.losts.Load()+b.losts.Load() != 0 || len(a.taken())+len(b.taken()) != 0 {
		t.Error("records were taken over")
	}
}
