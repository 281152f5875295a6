package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

const (
	testLease  = 2 * time.Second
	eventually = 30 * time.Second // the machine can be busy
	testSecret = "0123456789abcdef0123456789abcdef"
	testName   = "rtsp://admin:geheim@cam/live"
)

func TestMain(m *testing.M) {
	state.QuietClientLog(zerolog.Nop())
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// world is a deployment with a gateway and workers.
type world struct {
	t       *testing.T
	redis   *rig.Redis
	gateway *state.Redis
	keys    *pull.Keys
}

func newWorld(t *testing.T) *world {
	rig.SkipShort(t)
	t.Parallel()
	w := &world{t: t, redis: rig.StartRedis(t)}
	w.gateway = w.open("gateway")
	var err error
	if w.keys, err = pull.NewKeys(testSecret, "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(id string) *state.Redis {
	cfg := state.Config{Addrs: []string{w.redis.Addr}, Lease: testLease, CallTimeout: testLease / 4}
	r := state.Open(cfg, state.Pod{Deployment: "test", ID: id}, state.Deps{})
	w.t.Cleanup(func() { _ = r.Close() }) // nothing is pending
	return r
}

// pullOf returns the record of a pull.
func (w *world) pullOf(name string) state.Pull {
	w.t.Helper()
	s, err := pull.Parse(name)
	if err != nil {
		w.t.Fatal(err)
	}
	id := w.keys.ID(s)
	return state.Pull{ID: id, Public: s.Public(id), Sealed: w.keys.Seal(s), Room: pull.Room("test", id), Retry: time.Minute, Transcode: true, UDP: true}
}

func (w *world) want(name string, change ...func(*state.PullWant)) state.Pull {
	w.t.Helper()
	want := state.PullWant{Holder: "gateway", For: time.Hour, Max: 100}
	for _, c := range change {
		c(&want)
	}
	p := w.pullOf(name)
	if _, err := w.gateway.WantPull(w.t.Context(), p, want); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) status(p state.Pull) state.PullStatus {
	found, err := w.gateway.FindPulls(w.t.Context(), p.ID)
	if err != nil {
		w.t.Log(err)
	}
	return found[p.ID]
}

// awaits waits for a status and returns it.
func (w *world) awaits(what string, p state.Pull, ok func(state.PullStatus) bool) (s state.PullStatus) {
	w.t.Helper()
	rig.Eventually(w.t, eventually, what, func() bool {
		s = w.status(p)
		return ok(s)
	})
	return s
}

func runsAt(worker string) func(state.PullStatus) bool {
	return func(s state.PullStatus) bool {
		return s.Worker == worker && s.State == string(pull.Running) && s.Alive()
	}
}

// testWorker is a worker with a fake runner.
type testWorker struct {
	*Worker
	t     *testing.T
	store *cutStore
	log   *lockedBuffer
	end   func() // as SIGTERM does

	mu      sync.Mutex
	jobs    []Job
	removed []string
	running atomic.Int32
	stop    chan *pull.Error // ends a run
}

// cutStore is a store that its worker cannot reach while it is cut.
type cutStore struct {
	Store
	cut atomic.Bool
}

func (c *cutStore) RenewPull(ctx context.Context, p state.TakenPull, r state.PullReport) ([]string, error) {
	if c.cut.Load() {
		return nil, state.ErrUnavailable
	}
	return c.Store.RenewPull(ctx, p, r)
}

func (c *cutStore) PutPullWorker(ctx context.Context, w state.PullWorker, alive time.Duration) error {
	if c.cut.Load() {
		return state.ErrUnavailable
	}
	return c.Store.PutPullWorker(ctx, w, alive)
}

func (c *cutStore) WantedPulls(ctx context.Context) ([]string, error) {
	if c.cut.Load() {
		return nil, state.ErrUnavailable
	}
	return c.Store.WantedPulls(ctx)
}

func (c *cutStore) TakePull(ctx context.Context, id string, orphans bool) (state.TakenPull, time.Duration, error) {
	if c.cut.Load() {
		return state.TakenPull{}, 0, state.ErrUnavailable
	}
	return c.Store.TakePull(ctx, id, orphans)
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (w *world) start(id string, most int, change ...func(*Deps)) *testWorker {
	w.t.Helper()
	tw := &testWorker{t: w.t, store: &cutStore{Store: w.open(id)}, log: &lockedBuffer{}, stop: make(chan *pull.Error)}
	deps := Deps{
		Store: tw.store, Keys: w.keys, Run: tw.run, Remove: tw.remove, Metrics: NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(tw.log),
	}
	for _, c := range change {
		c(&deps)
	}
	tw.Worker = New(Config{Max: most, Lease: testLease, Host: id, Deployment: "test"}, deps)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tw.Work(ctx)
	}()
	tw.end = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(func() {
		tw.end()
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", id, tw.log)
		}
	})
	rig.Eventually(w.t, eventually, "the worker is ready", tw.Ready)
	return tw
}

// run is a source that is published at once and ends when the test says so.
func (tw *testWorker) run(ctx context.Context, j Job, report func(pull.State, error)) error {
	tw.mu.Lock()
	tw.jobs = append(tw.jobs, j)
	tw.mu.Unlock()
	tw.running.Add(1)
	defer tw.running.Add(-1)
	report(pull.Connecting, nil)
	report(pull.Running, nil)
	select {
	case <-ctx.Done():
		return nil
	case err := <-tw.stop:
		report(pull.Interrupted, err)
		report(pull.Failed, err)
		return err
	}
}

func (tw *testWorker) remove(_ context.Context, room, identity string) error {
	tw.mu.Lock()
	defer tw.mu.Unlock()
	tw.removed = append(tw.removed, room+" "+identity)
	return errors.New("no such participant")
}

func (tw *testWorker) has() ([]Job, []string) {
	tw.mu.Lock()
	defer tw.mu.Unlock()
	return slices.Clone(tw.jobs), slices.Clone(tw.removed)
}

func (tw *testWorker) wantEnds(reason string, want float64) {
	tw.t.Helper()
	rig.Eventually(tw.t, eventually, "ends are counted as "+reason, func() bool {
		return testutil.ToFloat64(tw.deps.Metrics.ends.WithLabelValues(reason)) == want
	})
}

func TestPullIsRunByOneWorkerWhileItIsWanted(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a", 10), w.start("b", 10)
	p := w.want(testName)
	s := w.awaits("the pull runs", p, func(s state.PullStatus) bool { return s.State == string(pull.Running) })
	if n := a.running.Load() + b.running.Load(); n != 1 {
		t.Errorf("%d workers run it", n)
	}
	ran := a
	if s.Worker == "b" {
		ran = b
	}
	jobs, removed := ran.has()
	if len(removed) != 0 || len(jobs) != 1 {
		t.Fatalf("jobs %v, removed %v", jobs, removed)
	}
	if j := jobs[0]; j.Source.Reveal() != testName || j.Room != p.Room || j.Identity != pull.Identity(p.ID, s.Generation) || j.Retry != p.Retry || !j.Transcode || !j.UDP {
		t.Errorf("job %+v", j)
	}
	rig.Eventually(t, eventually, "workers are listed with their pulls", func() bool {
		all, err := w.gateway.PullWorkers(t.Context())
		running := 0
		for _, one := range all {
			running += one.Running
		}
		return err == nil && len(all) == 2 && running == 1
	})
	if err := w.gateway.ReleasePull(t.Context(), p.ID, "gateway", 0); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, eventually, "the unwanted pull ends", func() bool { return ran.running.Load() == 0 })
	ran.wantEnds(endUnwanted, 1)
	if s := w.status(p); s.State != "" {
		t.Errorf("the ended pull is %+v", s)
	}
	if text := a.log.String() + b.log.String(); strings.Contains(text, "geheim") || strings.Contains(text, "/live") || !strings.Contains(text, "rtsp://cam") {
		t.Errorf("log: %s", text)
	}
}

func TestPullOfKilledWorkerMovesAndItsLateReportIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 10)
	p := w.want(testName)
	before := w.awaits("a runs the pull", p, runsAt("a"))
	b := w.start("b", 10)
	a.store.cut.Store(true)
	start := time.Now()
	after := w.awaits("b runs the pull", p, runsAt("b"))
	t.Logf("at b after %v, with a lease of %v", time.Since(start), testLease)
	if after.Generation <= before.Generation {
		t.Errorf("generation %d after %d", after.Generation, before.Generation)
	}
	rig.Eventually(t, eventually, "b removes the participant of a", func() bool {
		_, removed := b.has()
		return slices.Equal(removed, []string{p.Room + " " + pull.Identity(p.ID, before.Generation)})
	})
	if n := a.running.Load(); n != 1 {
		t.Errorf("a, which knows nothing yet, runs %d", n)
	}
	a.store.cut.Store(false)
	rig.Eventually(t, eventually, "a ends", func() bool { return a.running.Load() == 0 })
	a.wantEnds(endLost, 1)
	if s := w.status(p); !runsAt("b")(s) || s.Generation != after.Generation {
		t.Errorf("the pull is %+v", s)
	}
	rig.Eventually(t, eventually, "a is ready again", a.Ready)
}

// A pull goes on while Redis is away, and keeps its generation if Redis comes back empty.
func TestPullGoesOnWithoutRedis(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 10)
	p := w.want(testName)
	before := w.awaits("the pull runs", p, runsAt("a"))
	b := w.start("b", 10)
	w.redis.Stop()
	rig.Eventually(t, eventually, "the worker is not ready", func() bool { return !a.Ready() })
	w.redis.Restart()
	w.awaits("a has restored the pull", p, runsAt("a"))
	w.want(testName) // by a pod that does not know who has it
	after := w.awaits("a has the pull", p, runsAt("a"))
	if after.Generation != before.Generation || a.running.Load() != 1 || b.running.Load() != 0 {
		t.Errorf("the pull is %+v", after)
	}
	rig.Eventually(t, eventually, "the worker is ready", a.Ready)
	w.redis.Restart()
	a.wantEnds(endUnwanted, 1) // no holder wants it again
	if n := a.running.Load(); n != 0 {
		t.Errorf("%d pulls run", n)
	}
}

// After an outage that is longer than the lease every pull stays where it is.
func TestPullsStayAtTheirWorkersAfterOutage(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 10)
	var pulls []state.Pull
	var generations []int64
	for _, name := range []string{"rtsp://one", "rtsp://two", "rtsp://three", "rtsp://four"} {
		p := w.want(name)
		pulls = append(pulls, p)
		generations = append(generations, w.awaits("the pull runs", p, runsAt("a")).Generation)
	}
	b := w.start("b", 10)
	w.redis.Pause()
	rig.Eventually(t, eventually, "the leases have ended", func() bool { return !a.Ready() && !b.Ready() })
	w.redis.Resume()
	for i, p := range pulls {
		if s := w.awaits("the lease is renewed", p, runsAt("a")); s.Generation != generations[i] {
			t.Errorf("generation %d after %d", s.Generation, generations[i])
		}
	}
	if n := b.running.Load(); n != 0 || a.running.Load() != int32(len(pulls)) {
		t.Errorf("%d pulls have moved", n)
	}
}

func TestFullWorkerLeavesPullsToOthers(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 1)
	first := w.want("rtsp://one")
	w.awaits("a runs the first", first, runsAt("a"))
	second := w.want("rtsp://two")
	if s := w.status(second); s.Worker != "" {
		t.Errorf("a full worker has %+v", s)
	}
	w.start("b", 1)
	w.awaits("b runs the second", second, runsAt("b"))
	if err := w.gateway.EndPull(t.Context(), first.ID, string(pull.Terminated)); err != nil {
		t.Fatal(err)
	}
	a.wantEnds(endLost, 1)
	third := w.want("rtsp://three")
	w.awaits("a has room again", third, runsAt("a"))
}

func TestFailedPullIsReportedWithFault(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 10)
	p := w.want(testName)
	w.awaits("the pull runs", p, runsAt("a"))
	a.stop <- &pull.Error{Fault: pull.NotFound, Detail: strings.Repeat("x", 1000)}
	s := w.awaits("the pull has failed", p, func(s state.PullStatus) bool { return s.State == string(pull.Failed) })
	if s.Fault != string(pull.NotFound) || len(s.Detail) != maxDetail || s.Worker != "" {
		t.Errorf("the pull is %+v", s)
	}
	a.wantEnds(string(pull.NotFound), 1)
	rig.Eventually(t, eventually, "it can be started again", func() bool {
		w.want(testName, func(want *state.PullWant) { want.Start = true })
		return runsAt("a")(w.status(p))
	})
	jobs, removed := a.has()
	if len(jobs) != 2 || jobs[0].Identity == jobs[1].Identity {
		t.Errorf("jobs %+v, removed %v", jobs, removed)
	}
}

// A run that ends without a report is not taken for a running pull.
func TestRunThatReturnsErrorIsReported(t *testing.T) {
	w := newWorld(t)
	for name, result := range map[string]error{"rtsp://one": errors.New("geheim"), "rtsp://two": nil} {
		worker := w.start(strings.TrimPrefix(name, "rtsp://"), 1, func(d *Deps) {
			d.Run = func(context.Context, Job, func(pull.State, error)) error { return result }
		})
		p := w.want(name)
		s := w.awaits("the pull has failed", p, func(s state.PullStatus) bool { return s.State == string(pull.Failed) })
		want := pull.Ended
		if result != nil {
			want = pull.Internal
		}
		if s.Fault != string(want) || s.Detail != "" {
			t.Errorf("%s: %s %q, want %s", name, s.Fault, s.Detail, want)
		}
		worker.end()
	}
}

func TestLeavingWorkerReturnsItsPulls(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", 10)
	p := w.want(testName)
	w.awaits("a runs the pull", p, runsAt("a"))
	b := w.start("b", 10)
	a.end()
	if a.Ready() || a.running.Load() != 0 {
		t.Error("a goes on")
	}
	a.wantEnds(endReturned, 1)
	w.awaits("b runs the pull", p, runsAt("b"))
	all, err := w.gateway.PullWorkers(t.Context())
	if err != nil || len(all) != 1 || all[0].ID != "b" {
		t.Errorf("workers %v, %v", all, err)
	}
	b.end()
	if s := w.status(p); s.State != string(pull.Waiting) || s.Worker != "" {
		t.Errorf("without workers the pull is %+v", s)
	}
}

func TestWorkerWithOtherSecretFails(t *testing.T) {
	w := newWorld(t)
	other, err := pull.NewKeys(testSecret+"x", "test")
	if err != nil {
		t.Fatal(err)
	}
	a := w.start("a", 10, func(d *Deps) { d.Keys = other })
	p := w.want(testName)
	s := w.awaits("the pull has failed", p, func(s state.PullStatus) bool { return s.State == string(pull.Failed) })
	if s.Fault != string(pull.Internal) || s.Detail != "the worker has another secret" || !strings.Contains(a.log.String(), "same secret") {
		t.Errorf("the pull is %+v", s)
	}
}

// The fuller a worker is, the longer it leaves a pull to others.
func TestPatienceGrowsWithLoad(t *testing.T) {
	w := New(Config{Max: 4}, Deps{Metrics: NewMetrics(prometheus.NewRegistry())})
	last := time.Duration(-1)
	for n := range 4 {
		if n > 0 {
			w.runs[strings.Repeat("x", n)] = nil
		}
		p := w.patience()
		if p <= last || p < time.Duration(n)*loadWait/4 || p >= time.Duration(n)*loadWait/4+loadJitter {
			t.Errorf("with %d pulls it waits %v", n, p)
		}
		last = p
	}
}

// A pull that is wanted again while its worker ends it is taken when it has ended, and not a second later.
func TestPullIsTakenAgainWhenItHasEnded(t *testing.T) {
	w := newWorld(t)
	leave, ending := make(chan struct{}), make(chan struct{}, 1)
	a := w.start("a", 10, func(d *Deps) {
		run := d.Run
		d.Run = func(ctx context.Context, j Job, report func(pull.State, error)) error {
			err := run(ctx, j, report)
			select {
			case ending <- struct{}{}:
				<-leave
			default:
			}
			return err
		}
	})
	p := w.want(testName)
	w.awaits("the pull runs", p, runsAt("a"))
	if err := w.gateway.ReleasePull(t.Context(), p.ID, "gateway", 0); err != nil {
		t.Fatal(err)
	}
	<-ending
	w.want(testName)
	rig.Eventually(t, eventually, "the announcement is heard", func() bool { return len(a.heard) == 0 })
	close(leave)
	ended := time.Now()
	w.awaits("the pull runs again", p, runsAt("a"))
	t.Logf("it runs %v after its end", time.Since(ended))
}
