package state

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/e2e/rig"
)

const (
	podA = "aaaaaaaa"
	podB = "bbbbbbbb"
	podC = "cccccccc"
)

func TestDeadPodIsTakenOver(t *testing.T) {
	t.Parallel()
	testTakeOver(t, quickConfig(rig.StartRedis(t).Addr))
}

func TestDeadPodIsTakenOverInCluster(t *testing.T) {
	t.Parallel()
	testTakeOver(t, quickConfig(rig.StartRedisCluster(t).Addrs()...))
}

// Two pods survive: everything of the dead one is released once, by one of them, and nothing of theirs.
func testTakeOver(t *testing.T, cfg Config) {
	a, b, c := startMortal(t, cfg, podA), startPod(t, cfg, podB), startPod(t, cfg, podC)
	claimAll(t, a, testStream("one", "m1"), testStream("two", "m2"))
	claimAll(t, b, testStream("three", "m3"))
	playAll(t, a, testPlayer("three", "m4"), testPlayer("one", "m5"))
	playAll(t, b, testPlayer("one", "m6"), testPlayer("one", "m7"))
	playAll(t, c, testPlayer("one", "m8"))
	late := RoomUpdate{Room: Room{App: "roomApp", Name: "lobby {a}"}, Put: []Member{{Login: "al", ID: "1"}, {Login: "ann", ID: "2"}}, MaxMembers: 10}
	for p, m := range map[*testPod]RoomUpdate{a: late, b: {Room: late.Room, Put: []Member{{Login: "bob", ID: "3"}}, MaxMembers: 10}} {
		_, err := p.SyncRoom(t.Context(), m)
		must(t, err)
	}
	putSessions(a, "a", 300)
	putSessions(b, "b", 1)
	lifeA := a.life()
	lifeB := b.life()
	awaitSessions(t, b, "a", 300, lifeA)
	awaitSessions(t, a, "b", 1, lifeB)
	a.end()

	want := []string{
		"room lobby {a} of roomApp members on [" + podB + "]",
		"player of one wcs.one play-m5",
		"player of three wcs.three play-m4",
		"stream one wcs.one pub-m1 players on [" + podB + " " + podC + "]",
		"stream two wcs.two pub-m2 players on []",
	}
	for i := range 300 {
		want = append(want, "session a"+itoa(i))
	}
	slices.Sort(want)
	all := func() []string { return slices.Sorted(slices.Values(append(b.taken(), c.taken()...))) }
	rig.Eventually(t, eventually, "everything is taken over", func() bool { return len(all()) >= len(want) })
	see := client(t, cfg)
	rig.Eventually(t, eventually, "the dead pod is forgotten", func() bool {
		n, err := see.HLen(t.Context(), b.keys.pods()).Result()
		return err == nil && n == 2
	})
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("taken over (-want +got):\n%s", diff)
	}

	left := keysWithout(allKeys(t, see), podB, podC, "void:", "session:a")
	for i := range 300 {
		_, err := b.FindSession(t.Context(), "a"+itoa(i))
		wantErr(t, err, ErrNotFound)
	}
	wantLeft := []string{
		"media:m3", "media:m6", "media:m7", "media:m8", "pods", "session:b0",
		"{pod:" + lifeA.String() + "}:taken", "{room:roomApp/lobby+%7Ba%7D}:departures", "{room:roomApp/lobby+%7Ba%7D}:members", "{stream:one}:players", "{stream:three}:record",
	}
	if diff := cmp.Diff(wantLeft, left); diff != "" {
		t.Errorf("keys left (-want +got):\n%s", diff)
	}
	room, err := c.SyncRoom(t.Context(), RoomUpdate{Room: late.Room})
	must(t, err)
	if len(room.Members) != 1 || room.Members[0].Login != "bob" {
		t.Errorf("members %+v", room.Members)
	}
	// Late writes of the dead pod about its members are rejected.
	mark := []string{c.keys.members(late.Room), c.keys.roomVoid(late.Room, lifeA), c.keys.departures(late.Room)}
	status, _, err := c.script(t.Context(), c.scripts.syncRoom, mark, lifeA.String(), 60000, 10, 0, 60000, 200, "", 0, "al", "1", "", "{}")
	if must(t, err); status != statusLost {
		t.Errorf("late update of a dead pod: %s", status)
	}
	claimAll(t, c, testStream("one", "m9"))
	pods, err := c.PutStream(t.Context(), testStream("one", "m9"))
	must(t, err)
	if got := slices.Sorted(slices.Values(pods)); !slices.Equal(got, []string{podB, podC}) {
		t.Errorf("pods with players are %v", got)
	}
	if b.losts.Load()+c.losts.Load()+b.resets.Load()+c.resets.Load() != 0 {
		t.Error("Lost or Reset was called at a living pod")
	}
}

// A third of 30 pods is killed at once, with the default lease. Every record is handed over once.
func TestThirdOfPodsIsTakenOverWithinFifteenSeconds(t *testing.T) {
	t.Parallel()
	testThirdOfPods(t, Config{Addrs: []string{rig.StartRedis(t).Addr}}, takeOverGrace, 15*time.Second)
}

func TestThirdOfPodsIsTakenOverInCluster(t *testing.T) {
	t.Parallel()
	testThirdOfPods(t, quickConfig(rig.StartRedisCluster(t).Addrs()...), quickGrace, eventually)
}

func testThirdOfPods(t *testing.T, cfg Config, grace, bound time.Duration) {
	const pods, killed, sessions = 30, 10, 3
	var all []*testPod
	for i := range pods {
		p := newPod(t, cfg, "pod"+itoa(100+i))
		p.grace = grace
		if i%3 == 0 {
			p.startMortal(t)
		} else {
			p.start(t)
		}
		all = append(all, p)
	}
	room := Room{App: "roomApp", Name: "lobby"}
	var dead, living []*testPod
	var want []string
	for i, p := range all {
		name := "cam" + itoa(i)
		claimAll(t, p, testStream(name, "m"+name))
		playAll(t, p, testPlayer(name, "p"+name))
		putSessions(p, name+"-", sessions)
		_, err := p.SyncRoom(t.Context(), RoomUpdate{Room: room, Put: []Member{{Login: name, ID: name}}, MaxMembers: 100})
		must(t, err)
		if i%3 != 0 {
			living = append(living, p)
			continue
		}
		dead = append(dead, p)
		want = append(want, "stream "+name+" wcs."+name+" pub-m"+name, "player of "+name+" wcs."+name+" play-p"+name, "room lobby of roomApp")
		for s := range sessions {
			want = append(want, "session "+name+"-"+itoa(s))
		}
	}
	for _, p := range all {
		rig.Eventually(t, time.Minute, "the pod is registered, and may take over", func() bool {
			return !p.sessions.pending() && p.lease.unbroken(p.now()) > p.cfg.Lease+grace+2*time.Second
		})
	}
	if len(dead) != killed {
		t.Fatalf("%d pods are to be killed", len(dead))
	}
	for _, p := range dead {
		p.cancel()
	}
	start := time.Now()
	for _, p := range dead {
		<-p.done
	}
	taken := func() []string {
		var got []string
		for _, p := range living {
			for _, text := range p.taken() {
				text, _, _ = strings.Cut(text, " players on ")
				text, _, _ = strings.Cut(text, " members on ")
				got = append(got, text)
			}
		}
		return slices.Sorted(slices.Values(got))
	}
	rig.Eventually(t, time.Minute, "everything is taken over", func() bool { return len(taken()) >= len(want) })
	took := time.Since(start)
	t.Logf("everything is taken over %v after the pods died", took)
	if took > bound {
		t.Errorf("everything is taken over %v after the pods died, want at most %v", took, bound)
	}
	see := client(t, cfg)
	rig.Eventually(t, eventually, "the dead pods are not listed", func() bool {
		n, err := see.HLen(t.Context(), all[0].keys.pods()).Result()
		return err == nil && n == pods-killed
	})
	slices.Sort(want)
	if diff := cmp.Diff(want, taken()); diff != "" {
		t.Errorf("taken over (-want +got):\n%s", diff)
	}
	for _, p := range living {
		if p.losts.Load() != 0 {
			t.Error("a living pod was taken over")
		}
	}
}

func TestLateClaimOfDeadPodIsRefused(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startMortal(t, cfg, podA), startPod(t, cfg, podB)
	owner := a.life()
	s := testStream("cam", "m1")
	must(t, a.enlist(t.Context(), owner, a.keys.index(owner), a.stamp(0), entryOfStream(s).String())) // and then the network is slow
	a.end()
	see := client(t, cfg)
	rig.Eventually(t, eventually, "the dead pod is forgotten", func() bool {
		listed, err := see.HExists(t.Context(), b.keys.pods(), owner.String()).Result()
		return err == nil && !listed
	})
	status, _, err := b.script(t.Context(), b.scripts.claimStream,
		[]string{b.keys.record("cam"), b.keys.void(entryOfStream(s), owner)}, owner.String(), entryOfStream(s).claim(), 0, "{}", 1000)
	must(t, err)
	if status != statusLost {
		t.Errorf("status of a claim of a pod that was taken over: %q", status)
	}
	wantErr(t, b.enlist(t.Context(), owner, b.keys.index(owner), b.stamp(0), "x"), ErrLostOwnership)
}

func TestTakeOverOfDeadTakerIsContinued(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startMortal(t, cfg, podA)
	claimAll(t, a, testStream("cam", "m1"))
	dead := a.life()
	a.end()
	see := client(t, cfg)
	taker := Owner{Pod: podC, Epoch: 1}
	must(t, see.Set(t.Context(), a.keys.taken(dead), taker.String(), time.Hour).Err())
	must(t, see.HSet(t.Context(), a.keys.pods(), taker.String(), "").Err())
	must(t, see.Set(t.Context(), a.keys.lease(taker), "", time.Hour).Err())

	b := startPod(t, cfg, podB)
	awaitQuiet(t, b) // no take-over: the taker lives
	if got := b.taken(); len(got) != 0 {
		t.Fatalf("%v was taken from a living taker", got)
	}
	must(t, see.Del(t.Context(), a.keys.lease(taker)).Err())
	rig.Eventually(t, eventually, "b has gone on", func() bool { return len(b.taken()) == 1 })
	if by := see.Get(t.Context(), a.keys.taken(dead)).Val(); by != b.life().String() {
		t.Errorf("taker is %q, want %q", by, b.life().String())
	}
}

func TestLivingPodIsNotTakenOver(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	life := a.life()
	mine, err := b.recordTakeOver(t.Context(), life)
	must(t, err)
	if mine {
		t.Error("a pod with a lease was taken over")
	}
}

// Redis hangs, and a pod dies at that time. A pod that took over immediately when Redis continues would also
// take over from living pods that only could not renew.
func TestNoTakeOverRightAfterAnOutage(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	cfg := quickConfig(server.Addr)
	a, b := startMortal(t, cfg, podA), startPod(t, cfg, podB)
	claimAll(t, a, testStream("cam", "m1"))
	awaitQuiet(t, b)
	server.Pause()
	a.end()
	expired := time.NewTimer(cfg.Lease)
	<-expired.C
	back := time.Now()
	server.Resume()
	rig.Eventually(t, eventually, "b takes over", func() bool { return len(b.taken()) == 1 })
	if after := time.Since(back); after < cfg.Lease+quickGrace {
		t.Errorf("b took over %v after Redis was back, before %v", after, cfg.Lease+quickGrace)
	}
}

// The same if only the server of the dead pod's keys was unreachable.
func TestNoTakeOverRightAfterAnOutageOfAShard(t *testing.T) {
	t.Parallel()
	cluster := rig.StartRedisCluster(t, "--cluster-require-full-coverage", "no")
	cfg := quickConfig(cluster.Addrs()...)
	b := startPod(t, cfg, podB)
	var a *testPod
	var shard *rig.Redis
	for i := 0; shard == nil; i++ {
		a = startMortal(t, cfg, "aaaa"+itoa(1000+i))
		shard = cluster.MasterOf(a.keys.lease(a.life()))
		if shard == cluster.MasterOf(b.keys.lease(b.life())) || shard == cluster.MasterOf(b.keys.pods()) {
			a.end()
			shard = nil
		}
	}
	awaitQuiet(t, b)
	before := time.Now() // the shard is still away
	shard.Kill()
	a.end()
	rig.Eventually(t, eventually, "the replica is promoted", func() bool {
		asked := time.Now()
		m := cluster.MasterOf(a.keys.lease(a.life()))
		if m == nil || m == shard {
			before = asked
			return false
		}
		return true
	})
	see := client(t, cfg)
	rig.Eventually(t, eventually, "b has taken over", func() bool {
		listed, err := see.HExists(t.Context(), b.keys.pods(), a.life().String()).Result()
		return err == nil && !listed
	})
	if after := time.Since(before); after < cfg.Lease+quickGrace {
		t.Errorf("b took over %v after the shard was back, before %v", after, cfg.Lease+quickGrace)
	}
}

// awaitQuiet waits until the pod is allowed to take over.
func awaitQuiet(t *testing.T, p *testPod) {
	t.Helper()
	rig.Eventually(t, eventually, "the pod may take over", func() bool {
		return p.lease.unbroken(p.now()) > p.cfg.Lease+2*quickGrace
	})
}
