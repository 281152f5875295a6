package state

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wcsgateway/e2e/rig"
)

// A model of how names are claimed, leased and taken over: pods on a real Redis, a virtual clock, and a
// random scheduler that goes from one command to the next. See net_model_test.go for the failures of
// commands, disturb_model_test.go for those of pods and of Redis, and check_model_test.go for the invariants.
var (
	modelSeed = flag.Uint64("model.seed", 0, "run only this schedule of the model and print it")
	modelTime = flag.Duration("model.time", 8*time.Second, "for how long schedules of the model are run")
	modelHunt = flag.Uint64("model.hunt", 500, "how many schedules are tried for a mutant that its own does not show")
	modelFrom = flag.Uint64("model.from", 1, "the first seed")
)

// more is set by make test-long.
var more = flag.Bool("more", false, "all mutants of the model, and the cost of an idle pod on a cluster, too")

// modelSums are totals over all schedules.
type modelSums struct {
	mu                                                    sync.Mutex
	schedules, steps, commands, takeOvers, orphans, wipes int
	silent, strays, taken, adopted, cut, losses           int
}

func (s *modelSums) add(w *world) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedules++
	s.steps += w.steps
	s.commands += w.commands
	s.takeOvers += len(w.check.everTaken)
	for _, by := range w.reported {
		for _, n := range by {
			s.orphans += n
		}
	}
	s.wipes += w.wipes
	s.silent += w.silent
	s.strays += w.check.strays
	s.taken += w.taken
	s.adopted += w.adopted
	s.cut += w.cutTaken
	s.losses += w.losses
}

func (s *modelSums) String() string {
	return fmt.Sprintf("%d schedules, %d steps, %d commands, %d owners taken over, %d orphans handed over (%d not, Redis was emptied), %d sessions taken with %d streams, redis emptied %d times, %d late writes left over, %d owners taken over after an outage of their server, %d leases lost",
		s.schedules, s.steps, s.commands, s.takeOvers, s.orphans, s.silent, s.taken, s.adopted, s.wipes, s.strays, s.cut, s.losses)
}

// foundFaults are schedules by which long runs found faults.
var foundFaults = []uint64{2461, 3689}

func TestProtocolKeepsInvariants(t *testing.T) {
	if *modelSeed != 0 {
		w := runModel(t, newModelRedis(t), *modelSeed, sound(*modelSeed))
		t.Logf("%s\n%d steps", strings.Join(w.trace, "\n"), w.steps)
		if w.failure != "" {
			t.Error(w.failure)
		}
		return
	}
	var sums modelSums
	first := newModelRedis(t)
	for _, seed := range foundFaults {
		w := runModel(t, first, seed, sound(seed))
		if w.failure != "" {
			t.Errorf("schedule %d: %s\n%s", seed, w.failure, strings.Join(w.trace, "\n"))
		}
	}
	stop := time.Now().Add(*modelTime)
	var wg sync.WaitGroup
	workers := uint64(min(runtime.NumCPU(), 4))
	for n := range workers {
		c := newModelRedis(t)
		wg.Go(func() {
			for seed := *modelFrom + n; time.Now().Before(stop) && !t.Failed(); seed += workers {
				w := runModel(t, c, seed, sound(seed))
				sums.add(w)
				if w.failure != "" {
					t.Errorf("schedule %d: %s\n%s", seed, w.failure, strings.Join(w.trace, "\n"))
				}
			}
		})
	}
	wg.Wait()
	t.Log(&sums)
	if sums.schedules > 100 && (sums.orphans == 0 || sums.wipes == 0 || sums.adopted == 0 || sums.cut == 0 || sums.losses == 0) {
		t.Error("the schedules cause too few failures")
	}
}

func newModelRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	return client(t, Config{Addrs: []string{rig.StartRedis(t).Addr}, CallTimeout: modelCall})
}

// runModel runs one schedule. Later seeds are longer and have more of everything, so that a failing schedule
// is small.
func runModel(t *testing.T, raw redis.UniversalClient, seed uint64, m mutant) *world {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	net := &modelNet{rng: rng, raw: raw, yield: make(chan *task), loaded: map[string]string{}, cut: map[string]bool{}}
	hooked := Config{Addrs: []string{raw.(*redis.Client).Options().Addr}, CallTimeout: modelCall}.withDefaults().client()
	hooked.AddHook(net)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &world{
		ctx: ctx, seed: seed, rng: rng, raw: raw, client: hooked, net: net, mutant: m, reported: map[string]map[*modelPod]int{}, removed: map[string]bool{}, evicted: map[owned]bool{}, ousted: map[owned]bool{}, cuts: map[string]*outage{}, check: newChecker(),
		clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), wipedAt: -1,
	}
	net.ran, net.skip = w.ran, m.skip
	size := int(min(1+seed/8, 8))
	w.names, w.media = 1+rng.IntN(3), 2+rng.IntN(4)
	w.faults = []float64{0, 0.01, 0.03, 0.1}[rng.IntN(4)]
	if m.repeats {
		net.repeats = 2 * w.faults
	}
	w.cluster = w.chance(0.5)
	if err := w.begin(2 + rng.IntN(min(3, size))); err != nil {
		w.fail("begin: %v", err)
	}
	for rounds := 8 + rng.IntN(10*size); rounds > 0 && w.failure == ""; rounds-- {
		w.round()
	}
	if w.failure == "" {
		w.end()
	}
	w.abandon()
	if err := hooked.Close(); err != nil {
		t.Error(err)
	}
	return w
}

// abandon ends all tasks.
func (w *world) abandon() {
	for _, p := range w.pods {
		p.gone = true
	}
	for len(w.net.tasks) > 0 {
		w.net.step(w.net.tasks[0], loseCall)
	}
}
