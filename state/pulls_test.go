package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"wcsgateway/e2e/rig"
)

func TestPullsOnRedis(t *testing.T) {
	t.Parallel()
	testPulls(t, quickConfig(rig.StartRedis(t).Addr))
}

func TestPullsOnCluster(t *testing.T) {
	t.Parallel()
	testPulls(t, quickConfig(rig.StartRedisCluster(t).Addrs()...))
}

func TestPullsOnMiniredis(t *testing.T) {
	t.Parallel()
	testPulls(t, quickConfig(miniredis.RunT(t).Addr()))
}

// pullWorld is two pods and two workers of a deployment.
type pullWorld struct {
	t              *testing.T
	podA, podB     *Redis
	first, second  *Redis // workers
	raw            redis.UniversalClient
	pull           Pull
	deployment, id string
}

// testPulls runs each test in a deployment of its own.
func testPulls(t *testing.T, cfg Config) {
	cfg.CallTimeout = 5 * time.Second // the machine can be busy
	cfg.Lease = time.Hour
	for i, c := range []struct {
		name string
		run  func(*pullWorld)
	}{
		{"one pull is shared", testPullShared},
		{"late worker is refused", testPullFenced},
		{"expired lease is not lost", testPullExpired},
		{"pull without holders ends", testPullUnwanted},
		{"failed pull is kept and started again", testPullFailed},
		{"ended pull is not its worker's", testPullEnded},
		{"returned pull is taken at once", testPullReturned},
		{"pulls are bounded", testPullsBounded},
		{"lost pull stays its worker's", testPullLost},
		{"late take is refused", testPullLateTake},
		{"workers are listed while they live", testPullWorkers},
		{"changes are announced", testPullAnnounced},
		{"only held pulls are listed", testPullPlaces},
		{"holder without end ends with the failure", testPullOperator},
		{"list is kept alive", testPullListKept},
		{"clock set back frees the pull", testPullClockBack},
		{"source that ends its workers fails", testPullDeaths},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &pullWorld{t: t, deployment: fmt.Sprintf("test%d", i), id: "0123{x}" + fmt.Sprint(i)}
			open := func(id string) *Redis {
				r := Open(cfg, Pod{Deployment: w.deployment, ID: id}, Deps{})
				t.Cleanup(func() { _ = r.Close() }) // nothing is pending
				return r
			}
			w.podA, w.podB, w.first, w.second = open(podA), open(podB), open("first"), open("second")
			w.raw = w.podA.client
			w.pull = Pull{ID: w.id, Public: "rtsp://cam/a#0123", Sealed: []byte{0, 1, 255}, Room: "r", CreatedAt: at(0).UTC()}
			c.run(w)
		})
	}
}

func (w *pullWorld) want(pod *Redis, holder string, change ...func(*PullWant)) PullStatus {
	w.t.Helper()
	want := PullWant{Holder: holder, For: time.Hour, Max: 10}
	for _, c := range change {
		c(&want)
	}
	s, err := pod.WantPull(w.t.Context(), w.pull, want)
	must(w.t, err)
	return s
}

func (w *pullWorld) take(worker *Redis, want error) TakenPull {
	w.t.Helper()
	p, left, err := worker.TakePull(w.t.Context(), w.id, true)
	wantErr(w.t, err, want)
	if (left > 0) != errors.Is(want, ErrTaken) {
		w.t.Errorf("the other lease lasts %v", left)
	}
	return p
}

func (w *pullWorld) renew(worker *Redis, p TakenPull, state string, want error) {
	w.t.Helper()
	_, err := worker.RenewPull(w.t.Context(), p, PullReport{State: state})
	wantErr(w.t, err, want)
}

func (w *pullWorld) status() PullStatus {
	w.t.Helper()
	found, err := w.podB.FindPulls(w.t.Context(), w.id, "none")
	must(w.t, err)
	if len(found) > 1 {
		w.t.Errorf("found %v", found)
	}
	return found[w.id]
}

// set changes a field of the pull as if time had passed.
func (w *pullWorld) set(field string, value any) {
	w.t.Helper()
	must(w.t, w.raw.HSet(w.t.Context(), w.podA.keys.pull(w.id), field, value).Err())
}

func (w *pullWorld) listed() []string {
	w.t.Helper()
	ids, err := w.second.WantedPulls(w.t.Context())
	must(w.t, err)
	return ids
}

func testPullShared(w *pullWorld) {
	s := w.want(w.podA, "a")
	if s.State != "waiting" || s.Alive() || s.Generation != 0 || !slices.Equal(s.Holders, []string{"a"}) || s.Pull.Public != w.pull.Public {
		w.t.Errorf("a new pull is %+v", s)
	}
	w.want(w.podB, "b")
	w.want(w.podB, "b")
	if ids := w.listed(); !slices.Equal(ids, []string{w.id}) {
		w.t.Errorf("listed are %v", ids)
	}
	if all, err := w.podA.Pulls(w.t.Context()); err != nil || len(all) != 1 || all[0].Pull.ID != w.id || len(all[0].Holders) != 2 {
		w.t.Errorf("pulls are %+v, %v", all, err)
	}
	p := w.take(w.first, nil)
	if p.Generation < 1e12 || string(p.Pull.Sealed) != string(w.pull.Sealed) || !p.Pull.CreatedAt.Equal(w.pull.CreatedAt) {
		w.t.Errorf("taken is %+v", p)
	}
	w.take(w.second, ErrTaken)
	w.renew(w.first, p, "running", nil)
	s = w.want(w.podB, "b")
	if s.State != "running" || !s.Alive() || s.Worker != "first" || s.Generation != p.Generation || len(s.Holders) != 2 {
		w.t.Errorf("the running pull is %+v", s)
	}
	if s.Left < time.Hour/2 || s.Left > time.Hour || s.Age > time.Minute {
		w.t.Errorf("the lease lasts %v, the state %v", s.Left, s.Age)
	}
	for _, key := range []string{w.podA.keys.pull(w.id), w.podA.keys.pullWants(w.id), w.podA.keys.pulls()} {
		if ttl := w.raw.PTTL(w.t.Context(), key).Val(); ttl <= time.Hour {
			w.t.Errorf("TTL of %s is %v", key, ttl)
		}
	}
}

func testPullFenced(w *pullWorld) {
	w.want(w.podA, "a")
	late := w.take(w.first, nil)
	w.set("lease", 1)
	if s := w.status(); s.Alive() || s.Worker != "first" {
		w.t.Errorf("the pull of a dead worker is %+v", s)
	}
	if _, left, err := w.second.TakePull(w.t.Context(), w.id, false); !errors.Is(err, ErrTaken) || left <= 0 {
		w.t.Errorf("a worker that must not take from dead ones gets %v, %v", left, err)
	}
	p := w.take(w.second, nil)
	if p.Generation <= late.Generation || p.Before != late.Generation || late.Before != 0 {
		w.t.Errorf("generation %d after %d", p.Generation, late.Generation)
	}
	for _, state := range []string{"running", "failed"} {
		w.renew(w.first, late, state, ErrLostOwnership)
	}
	wantErr(w.t, w.first.ReturnPull(w.t.Context(), late), ErrLostOwnership)
	if s := w.status(); s.Worker != "second" || s.State != "connecting" || !s.Alive() {
		w.t.Errorf("the pull is %+v", s)
	}
	w.renew(w.second, p, "running", nil)
}

func testPullExpired(w *pullWorld) {
	w.want(w.podA, "a")
	p := w.take(w.first, nil)
	w.set("lease", 1)
	w.renew(w.first, p, "running", nil)
	w.take(w.second, ErrTaken)
	w.set("lease", 1)
	if again := w.take(w.first, nil); again.Generation <= p.Generation { // has forgotten it
		w.t.Errorf("generation %d after %d", again.Generation, p.Generation)
	}
	w.renew(w.first, p, "running", ErrLostOwnership)
}

func testPullUnwanted(w *pullWorld) {
	ctx := w.t.Context()
	w.want(w.podA, "a")
	w.want(w.podB, "b")
	w.want(w.podB, "rest", func(p *PullWant) { p.For = 0 })
	p := w.take(w.first, nil)
	must(w.t, w.podA.ReleasePull(ctx, w.id, "a", 0))
	must(w.t, w.podA.ReleasePull(ctx, w.id, "unknown", time.Hour))
	must(w.t, w.podB.ReleasePull(ctx, w.id, "b", time.Hour))
	if s := w.status(); !slices.Equal(s.Holders, []string{"b", "rest"}) {
		w.t.Errorf("holders are %v", s.Holders)
	}
	must(w.t, w.podB.ReleasePull(ctx, w.id, "rest", 0))
	w.renew(w.first, p, "running", nil)
	must(w.t, w.podB.ReleasePull(ctx, w.id, "b", time.Millisecond))
	rig.Eventually(w.t, eventually, "the want ends", func() bool { return len(w.status().Holders) == 0 })
	w.take(w.second, ErrTaken) // its worker is to notice, and not that the pull is missing
	w.renew(w.first, p, "running", ErrUnwanted)
	w.renew(w.first, p, "running", ErrNotFound)
	w.take(w.second, ErrNotFound)
	for _, key := range []string{w.podA.keys.pull(w.id), w.podA.keys.pullWants(w.id), w.podA.keys.pulls()} {
		if n := w.raw.Exists(ctx, key).Val(); n != 0 {
			w.t.Errorf("%s is left", key)
		}
	}
	w.want(w.podA, "a", func(p *PullWant) { p.For = time.Millisecond })
	rig.Eventually(w.t, eventually, "no worker takes what is not wanted", func() bool {
		_, _, err := w.first.TakePull(ctx, w.id, true)
		return errors.Is(err, ErrNotFound)
	})
}

func testPullFailed(w *pullWorld) {
	start := func(p *PullWant) { p.Start = true }
	w.want(w.podA, "a")
	p := w.take(w.first, nil)
	_, err := w.first.RenewPull(w.t.Context(), p, PullReport{"failed", "not-found", "404"})
	must(w.t, err)
	for what, s := range map[string]PullStatus{"found": w.status(), "wanted": w.want(w.podA, "a"), "started": w.want(w.podB, "b", start)} {
		if s.State != "failed" || s.Fault != "not-found" || s.Detail != "404" || s.Alive() || slices.Contains(s.Holders, "b") {
			w.t.Errorf("the failed pull that is %s is %+v", what, s)
		}
	}
	w.take(w.second, ErrNotFound)
	w.renew(w.first, p, "running", ErrLostOwnership)
	if ttl := w.raw.PTTL(w.t.Context(), w.podA.keys.pull(w.id)).Val(); ttl > pullFailureTTL || ttl <= 0 {
		w.t.Errorf("TTL of a failed pull is %v", ttl)
	}
	w.set("at", at(0).UnixMilli())
	if s := w.want(w.podB, "b"); s.State != "failed" {
		w.t.Errorf("a renewed want started the pull: %+v", s)
	}
	w.pull.Sealed = []byte("again")
	if s := w.want(w.podB, "b", start); s.State != "waiting" || s.Fault != "" || s.Detail != "" || !slices.Contains(s.Holders, "b") {
		w.t.Errorf("the started pull is %+v", s)
	}
	if again := w.take(w.second, nil); again.Generation <= p.Generation || string(again.Pull.Sealed) != "again" {
		w.t.Errorf("taken is %+v", again)
	}
	w.renew(w.first, p, "running", ErrLostOwnership)
}

func testPullEnded(w *pullWorld) {
	w.want(w.podA, "rest", func(p *PullWant) { p.For = 0 })
	p := w.take(w.first, nil)
	must(w.t, w.podB.EndPull(w.t.Context(), w.id, "terminated"))
	if s := w.status(); s.State != "failed" || s.Fault != "terminated" || len(s.Holders) != 0 {
		w.t.Errorf("the ended pull is %+v", s)
	}
	w.renew(w.first, p, "running", ErrLostOwnership)
	w.take(w.second, ErrNotFound)
	if ids := w.listed(); len(ids) != 0 {
		w.t.Errorf("listed are %v", ids)
	}
	wantErr(w.t, w.podB.EndPull(w.t.Context(), "none", "terminated"), ErrNotFound)
}

func testPullReturned(w *pullWorld) {
	w.want(w.podA, "a")
	p := w.take(w.first, nil)
	must(w.t, w.first.ReturnPull(w.t.Context(), p))
	if s := w.status(); s.State != "waiting" || s.Worker != "" || s.Generation != p.Generation {
		w.t.Errorf("the returned pull is %+v", s)
	}
	if again := w.take(w.second, nil); again.Generation <= p.Generation {
		w.t.Errorf("generation %d after %d", again.Generation, p.Generation)
	}
}

func testPullsBounded(w *pullWorld) {
	ctx := w.t.Context()
	for i, want := range []error{nil, nil, ErrFull, ErrFull} {
		p := w.pull
		p.ID = fmt.Sprint(i)
		_, err := w.podA.WantPull(ctx, p, PullWant{Holder: "a", For: time.Hour, Max: 2})
		wantErr(w.t, err, want)
	}
	first := w.pull
	first.ID = "0"
	_, err := w.podB.WantPull(ctx, first, PullWant{Holder: "b", For: time.Minute, Max: 2}) // joins
	must(w.t, err)
	if score := w.raw.ZScore(ctx, w.podA.keys.pulls(), "0").Val(); time.Until(time.UnixMilli(int64(score))) < 30*time.Minute {
		w.t.Errorf("a shorter want replaced a longer one: %v", score)
	}
	_, err = w.podB.WantPull(ctx, first, PullWant{Holder: "rest", Max: 2})
	must(w.t, err)
	_, err = w.podB.WantPull(ctx, first, PullWant{Holder: "b", For: time.Minute, Max: 2})
	must(w.t, err)
	must(w.t, w.raw.ZAdd(ctx, w.podA.keys.pulls(), redis.Z{Score: 1, Member: "1"}).Err()) // as time passes
	if ids := w.listed(); len(ids) != 2 {
		w.t.Errorf("listed are %v", ids)
	}
	_, err = w.podB.WantPull(ctx, w.pull, PullWant{Holder: "b", For: time.Hour, Max: 2})
	must(w.t, err)
	if ids := w.listed(); !slices.Equal(ids, []string{w.id, "0"}) {
		w.t.Errorf("listed are %v", ids)
	}
}

// A failed pull, and one that its holder released before a worker took it, is not listed.
func testPullPlaces(w *pullWorld) {
	ctx := w.t.Context()
	one := func(p *PullWant) { p.Start, p.Max = true, 1 }
	for _, id := range []string{"a", "b"} {
		w.id, w.pull.ID = id, id
		w.want(w.podA, "a", one)
		w.renew(w.first, w.take(w.first, nil), "failed", nil)
		for range 2 {
			if s := w.want(w.podA, "a", one); s.State != "failed" {
				w.t.Errorf("the failed pull is %+v", s)
			}
			must(w.t, w.podA.ReleasePull(ctx, id, "a", 0))
		}
		if s := w.status(); s.State != "failed" {
			w.t.Errorf("the released failed pull is %+v", s)
		}
	}
	w.id, w.pull.ID = "c", "c"
	w.want(w.podA, "a", one)
	must(w.t, w.podA.ReleasePull(ctx, "c", "a", 0))
	if s := w.status(); s.State != "" {
		w.t.Errorf("the pull that no worker took is %+v", s)
	}
	if ids := w.listed(); len(ids) != 0 {
		w.t.Errorf("listed are %v", ids)
	}
	must(w.t, w.raw.ZAdd(ctx, w.podA.keys.pulls(), redis.Z{Score: 1e15, Member: "d"}).Err()) // without a pull
	w.id = "d"
	w.take(w.first, ErrNotFound)
	if ids := w.listed(); len(ids) != 0 {
		w.t.Errorf("listed are %v", ids)
	}
}

func testPullOperator(w *pullWorld) {
	w.want(w.podA, "rest", func(p *PullWant) { p.For = 0 })
	w.renew(w.first, w.take(w.first, nil), "failed", nil)
	w.set("at", at(0).UnixMilli())
	if s := w.want(w.podA, "a", func(p *PullWant) { p.Start = true }); !slices.Equal(s.Holders, []string{"a"}) {
		w.t.Errorf("holders are %v", s.Holders)
	}
}

func testPullListKept(w *pullWorld) {
	w.want(w.podA, "rest", func(p *PullWant) { p.For = 0 })
	must(w.t, w.raw.PExpire(w.t.Context(), w.podA.keys.pulls(), time.Minute).Err())
	w.listed()
	if ttl := w.raw.PTTL(w.t.Context(), w.podA.keys.pulls()).Val(); ttl < time.Hour {
		w.t.Errorf("TTL of the list is %v", ttl)
	}
}

// A lease that lasts longer than the lease time was written by a server whose clock was ahead.
func testPullClockBack(w *pullWorld) {
	w.want(w.podA, "a")
	late := w.take(w.first, nil)
	w.set("lease", time.Now().Add(5*time.Hour).UnixMilli())
	if s := w.status(); s.Alive() {
		w.t.Errorf("the pull is %+v", s)
	}
	w.take(w.second, nil)
	w.renew(w.first, late, "running", ErrLostOwnership)
}

func testPullDeaths(w *pullWorld) {
	w.want(w.podA, "a")
	workers := []*Redis{w.first, w.second}
	for i := range maxPullDeaths {
		p := w.take(workers[i%2], nil)
		w.renew(workers[i%2], p, "running", nil)
		w.set("lease", 1)
	}
	next := workers[maxPullDeaths%2]
	w.take(next, ErrWorkersDied)
	w.take(workers[0], ErrNotFound)
	if s := w.status(); s.State != "failed" || s.Fault != pullDeathFault || len(s.Holders) != 0 {
		w.t.Errorf("the pull is %+v", s)
	}
	w.set("at", at(0).UnixMilli())
	w.want(w.podA, "a", func(p *PullWant) { p.Start = true })
	w.take(next, nil)
	w.set("lease", 1)
	p := w.take(workers[0], nil)
	w.renew(workers[0], p, "running", nil)
	w.set("at", at(0).UnixMilli())
	w.renew(workers[0], p, "running", nil) // has settled
	if n := w.raw.HExists(w.t.Context(), w.podA.keys.pull(w.id), "deaths").Val(); n {
		w.t.Error("earlier deaths count")
	}
}

func testPullLost(w *pullWorld) {
	ctx := w.t.Context()
	lose := func() {
		w.t.Helper()
		for _, key := range []string{w.podA.keys.pull(w.id), w.podA.keys.pullWants(w.id), w.podA.keys.pulls()} {
			must(w.t, w.raw.Del(ctx, key).Err()) // a Cluster refuses keys of two slots in one command
		}
	}
	w.want(w.podA, "a")
	w.want(w.podA, "rest", func(p *PullWant) { p.For = 0 })
	p := w.take(w.first, nil)
	kept, err := w.first.RenewPull(ctx, p, PullReport{State: "running"})
	must(w.t, err)
	if !slices.Equal(kept, []string{"rest"}) {
		w.t.Errorf("holders without end are %v", kept)
	}
	runs := func(how string, s PullStatus) {
		w.t.Helper()
		if s.Worker != "first" || !s.Alive() || s.State != "running" || s.Generation != p.Generation || s.Pull.Public != w.pull.Public {
			w.t.Errorf("the pull that %s is %+v", how, s)
		}
		w.take(w.second, ErrTaken)
	}
	last := w.status()

	lose()
	w.renew(w.first, p, "running", ErrNotFound)
	w.take(w.second, ErrNotFound)
	runs("a holder wrote", w.want(w.podA, "a", func(p *PullWant) { p.Last = last }))
	w.renew(w.first, p, "running", nil)

	lose()
	p.Kept = kept
	must(w.t, w.first.RestorePull(ctx, p, PullReport{State: "running"}))
	wantErr(w.t, w.second.RestorePull(ctx, p, PullReport{State: "running"}), ErrLostOwnership)
	runs("its worker wrote", w.status())
	if s := w.status(); !slices.Equal(s.Holders, kept) || !slices.Equal(w.listed(), []string{w.id}) {
		w.t.Errorf("holders are %v, listed are %v", s.Holders, w.listed())
	}

	lose()
	p.Kept = nil
	must(w.t, w.first.RestorePull(ctx, p, PullReport{State: "running"}))
	w.renew(w.first, p, "running", nil) // its holders have time
	w.set("restored", 1)
	w.renew(w.first, p, "running", ErrUnwanted)

	w.want(w.podB, "b") // does not know the worker
	w.renew(w.first, p, "running", nil)
	runs("runs already", w.status())
	w.set("lease", 1)
	if again := w.take(w.second, nil); again.Generation <= p.Generation {
		w.t.Errorf("generation %d after %d", again.Generation, p.Generation)
	}
	w.renew(w.first, p, "running", ErrLostOwnership)
}

// A client of a Cluster can send a take twice, and the first copy can come late.
func testPullLateTake(w *pullWorld) {
	ctx := w.t.Context()
	w.want(w.podA, "a")
	take := func(number int) string {
		_, words, err := w.first.script(ctx, w.first.scripts.takePull, []string{w.first.keys.pull(w.id), w.first.keys.pullWants(w.id)}, "first", number, 1000, 100000, 3, "internal", 1000, true)
		must(w.t, err)
		return words[4]
	}
	generation := take(7)
	if again := take(7); again != generation {
		w.t.Errorf("generation %s, then %s", generation, again)
	}
	if later := take(8); later <= generation {
		w.t.Errorf("generation %s after %s", later, generation)
	}
}

func testPullWorkers(w *pullWorld) {
	ctx := w.t.Context()
	want := func(want ...PullWorker) {
		w.t.Helper()
		got, err := w.podA.PullWorkers(ctx)
		must(w.t, err)
		slices.SortFunc(got, func(a, b PullWorker) int { return strings.Compare(a.ID, b.ID) })
		if !slices.Equal(got, want) {
			w.t.Errorf("workers %v, want %v", got, want)
		}
	}
	want()
	must(w.t, w.first.PutPullWorker(ctx, PullWorker{Host: "h 1", Running: 1, Max: 20}, time.Hour))
	must(w.t, w.second.PutPullWorker(ctx, PullWorker{Max: 2}, time.Hour))
	must(w.t, w.first.PutPullWorker(ctx, PullWorker{Host: "h 1", Running: 2, Max: 20}, time.Hour))
	want(PullWorker{ID: "first", Host: "h 1", Running: 2, Max: 20}, PullWorker{ID: "second", Max: 2})
	key := w.podA.keys.pullWorkers()
	must(w.t, w.raw.HSet(ctx, key, "dead", `1 {}`, "unreadable", "x").Err())
	want(PullWorker{ID: "first", Host: "h 1", Running: 2, Max: 20}, PullWorker{ID: "second", Max: 2})
	must(w.t, w.second.DropPullWorker(ctx))
	must(w.t, w.second.DropPullWorker(ctx))
	want(PullWorker{ID: "first", Host: "h 1", Running: 2, Max: 20})
	if n := w.raw.HLen(ctx, key).Val(); n != 1 {
		w.t.Errorf("%d entries are left", n)
	}
	var fields []any
	for i := range maxPullWorkers - 1 {
		fields = append(fields, "w"+fmt.Sprint(i), "9999999999999 {}")
	}
	must(w.t, w.raw.HSet(ctx, key, fields...).Err())
	wantErr(w.t, w.second.PutPullWorker(ctx, PullWorker{}, time.Hour), ErrFull)
	must(w.t, w.first.PutPullWorker(ctx, PullWorker{}, time.Hour))
}

func testPullAnnounced(w *pullWorld) {
	ctx, cancel := context.WithCancel(w.t.Context())
	heard, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		w.first.ListenPulls(ctx, func(id string) { heard <- id })
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	announced := func(what string, cause func()) {
		w.t.Helper()
		rig.Eventually(w.t, eventually, what+" is announced", func() bool {
			cause() // the subscription can be late
			select {
			case id := <-heard:
				return id == w.id
			default:
				return false
			}
		})
	}
	announced("a want", func() { w.want(w.podA, "a") })
	p := w.take(w.first, nil)
	must(w.t, w.first.ReturnPull(ctx, p))
	announced("a return", func() {})
	must(w.t, w.podA.EndPull(ctx, w.id, "terminated"))
	announced("an end", func() {})
}

// A worker's user has access to the keys of pulls only.
func TestWorkerNeedsOnlyKeysOfPulls(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t, "--user", "puller", "on", ">secret", "~wcs:test:pull*", "~wcs:test:{pull:*", "&wcs:test:pulls",
		"+@read", "+@write", "+@scripting", "+@fast", "+@pubsub", "+@connection", "-@admin", "-@dangerous")
	pod := openStore(t, server.Addr)
	cfg := quickConfig(server.Addr)
	cfg.Username, cfg.Password = "puller", "secret"
	worker := Open(cfg, Pod{Deployment: "test", ID: "w"}, Deps{})
	t.Cleanup(func() { _ = worker.Close() }) // nothing is pending
	ctx := t.Context()
	_, err := pod.WantPull(ctx, Pull{ID: "x"}, PullWant{Holder: "a", For: time.Hour, Max: 1})
	must(t, err)
	must(t, worker.PutPullWorker(ctx, PullWorker{Max: 1}, time.Hour))
	ids, err := worker.WantedPulls(ctx)
	must(t, err)
	if !slices.Equal(ids, []string{"x"}) {
		t.Errorf("wanted are %v", ids)
	}
	p, _, err := worker.TakePull(ctx, "x", false)
	must(t, err)
	_, err = worker.RenewPull(ctx, p, PullReport{State: "running"})
	must(t, err)
	must(t, worker.ReturnPull(ctx, p))
	must(t, worker.DropPullWorker(ctx))
	_, err = worker.FindStream(ctx, "cam")
	wantErr(t, err, ErrUnavailable)
	wantErr(t, worker.Publish(ctx, podA, Event{}), ErrUnavailable)
}
