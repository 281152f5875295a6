package attacks

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

var (
	measureFor = flag.Duration("measure", 300*time.Millisecond, "how long an attack of TestOtherClientsAreServedDuringAttack lasts")
	rounds     = flag.Int("rounds", 1, "how often each attack goes on: what else the machine does changes meanwhile, and meets all alike")
)

// During a continuous attack other clients are served, and the attackers are refused. The waiting times are
// logged, not asserted. The attackers run on a processor of their own where there are several. In several
// rounds, which are for figures, they and LiveKit run only when nothing else wants the processor
// (SCHED_IDLE): they are on other machines in production, and with a low priority alone the kernel lets them
// finish slices of some ms before it wakes the gateway. Beside other work they would never run. The control
// is the same load of the processors, of the attackers and of the servers, by processes that do not touch the
// gateway. With one round, each eighth attack is run. -run 'Attack/name' -args -rounds 5 measures one attack.
func TestOtherClientsAreServedDuringAttack(t *testing.T) {
	s := newScene(t, map[string]string{
		"WCS_REDIS_LEASE": "60s", "WCS_REDIS_CALLTIMEOUT": "10s", // as in TestAttacksDoNoHarm
		// Floods end soon and begin again: the gateway reads more in total than each client may send over time.
		"WCS_LIMITS_MESSAGESPERSECOND": "60", "WCS_LIMITS_MESSAGEBURST": "300",
		"WCS_LIMITS_BYTESPERSECOND": "65536", "WCS_LIMITS_BYTEBURST": "1048576",
		"WCS_LIMITS_PENDING": "400", "WCS_LIMITS_DETACHED": "100", // full soon
	})
	if *rounds > 1 {
		if out, err := exec.Command("chrt", "--all-tasks", "--idle", "--pid", "0", strconv.Itoa(s.LiveKit.PID())).CombinedOutput(); err != nil {
			t.Fatalf("chrt: %v\n%s", err, out)
		}
	}
	s.serveSome(t)
	var all []figures
	for i, l := range loads {
		t.Run(l.name, func(t *testing.T) {
			if *rounds == 1 && i%8 > 0 {
				t.Skip("with one round, each eighth attack is run: make attacks runs all")
			}
			s.forgetPeak(t)
			f := figures{attack: l.name, memoryBefore: s.peakMemory(t)}
			for range *rounds {
				f.round(t, s, l)
			}
			t.Log(f) // at once: a run can end early
			all = append(all, f)
			if n := s.victim.Count("notifyStreamStatusEvent"); n > 0 {
				t.Errorf("the victim received messages about its stream: %s", s.victim.Names())
			}
		})
	}
	t.Log("\n" + table(all))
	s.leave(t)
}

// mostHeap is the limit of the gateway's heap during an attack, in bytes. It is about one message of the
// largest size for a third of an address' sockets.
const mostHeap = 200 << 20

// serveSome serves clients that come and go until the collector has run twice: what any client needs, such as
// the program's pages and the heap's headroom, is no cost of an attack.
func (s *scene) serveSome(t *testing.T) {
	t.Helper()
	runs := func() float64 { return s.metric(t, "go_gc_duration_seconds_count") }
	for begun := runs(); runs() < begun+2; s.awaitCalm(t) {
		open := openMany(s.Gateway.URL, perAddress/2)
		for _, ws := range open {
			say(t, ws, "connection", map[string]any{"appKey": "defaultApp"})
		}
		for _, ws := range open {
			if _, _, err := ws.ReadMessage(); err != nil {
				t.Fatal(err)
			}
			_ = ws.Close()
		}
	}
}

// round is what the observer measures before an attack, during it, and during the control.
func (f *figures) round(t *testing.T, s *scene, l load) {
	t.Helper()
	took, idle := s.load(t)
	f.before = append(f.before, took...)

	refused := s.refusedFor(t, l)
	s.forgetPeak(t)
	p := start(t, pinned(t), role+"="+roleAttacker, attackName+"="+l.name, attackURL+"="+s.Gateway.URL, attackHook+"="+s.Gateway.Internal+"/webhook")
	begun := time.Now()
	took, busy := s.load(t)
	f.during = append(f.during, took...)
	f.memory = max(f.memory, s.peakMemory(t))
	if len(l.refusals) > 0 {
		rig.Eventually(t, patience, "attackers are refused", func() bool { return s.refusedFor(t, l) > refused })
	}
	if heap := s.metric(t, "go_memstats_heap_inuse_bytes"); heap > mostHeap {
		t.Errorf("the gateway's heap has %.0f MiB", heap/(1<<20))
	}
	attempts, attackers := end(t, p)
	lasted := time.Since(begun).Seconds()
	f.cpu, f.attempts = f.cpu+busy.gateway/float64(*rounds), f.attempts+attempts/lasted/float64(*rounds)
	s.awaitCalm(t)

	share := func(processors float64) string { return fmt.Sprintf("%s=%.3f", burnShare, max(processors, 0)) }
	attack := start(t, pinned(t), role+"="+roleBurner, share(attackers/lasted))
	liveKit := start(t, whenIdle(t), role+"="+roleBurner, share(busy.liveKit-idle.liveKit))
	beside := start(t, exec.Command(os.Args[0]), role+"="+roleBurner, share(busy.gateway+busy.redis-idle.gateway-idle.redis))
	f.control = append(f.control, s.observer.during(t, func() { pause(t, *measureFor) })...)
	for _, p := range []*rig.Process{attack, liveKit, beside} {
		p.Signal(syscall.SIGTERM)
		<-p.Done()
	}
}

// start starts this program in a role, and waits until it works.
func start(t *testing.T, cmd *exec.Cmd, env ...string) *rig.Process {
	t.Helper()
	cmd.Env = append(os.Environ(), env...)
	p := rig.StartCmd(t, cmd)
	rig.Eventually(t, patience, "the process works", func() bool { return strings.Contains(p.Output(), attacking) })
	return p
}

// end stops an attacker, and returns its attempts and the processor seconds that it used.
func end(t *testing.T, p *rig.Process) (attempts, seconds float64) {
	t.Helper()
	seconds = processorSeconds(t, p.PID())
	p.Signal(syscall.SIGTERM)
	<-p.Done()
	_, count, _ := strings.Cut(p.Output(), attempted)
	attempts, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	if err != nil || attempts == 0 {
		t.Fatalf("no attempts: %v\n%s", err, p.Output())
	}
	return attempts, seconds
}

// processorSeconds returns what a process has used.
func processorSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	const perSecond = 100 // USER_HZ
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks float64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks / perSecond
}

// shares are how many processors each server uses.
type shares struct{ gateway, liveKit, redis float64 }

// load measures for measureFor, and returns the observer's answer times and the load of the servers.
func (s *scene) load(t *testing.T) (took []time.Duration, _ shares) {
	t.Helper()
	begun := time.Now()
	seconds := func(pid int) (since func() float64) {
		used := processorSeconds(t, pid)
		return func() float64 { return (processorSeconds(t, pid) - used) / time.Since(begun).Seconds() }
	}
	gateway, liveKit, redis := seconds(s.Gateway.PID()), seconds(s.LiveKit.PID()), seconds(s.Redis.PID())
	took = s.observer.during(t, func() { pause(t, *measureFor) })
	return took, shares{gateway(), liveKit(), redis()}
}

// forgetPeak sets the gateway's peak of resident memory to the present size.
func (s *scene) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.Gateway.PID()), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peakMemory returns the gateway's peak of resident memory in bytes.
func (s *scene) peakMemory(t *testing.T) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Gateway.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(line)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb * 1024
}

// refusedFor returns how often the attack's refusals were counted.
func (s *scene) refusedFor(t *testing.T, l load) (n float64) {
	for _, reason := range l.refusals {
		n += s.refused(t, reason)
	}
	return n
}

// awaitCalm waits until the attackers' sockets are gone.
func (s *scene) awaitCalm(t *testing.T) {
	t.Helper()
	rig.Eventually(t, patience, "the attackers' sockets are closed", func() bool { return s.metric(t, "wcs_connections") <= 2 })
}

// whenIdle returns this program as a process that runs only when nothing else wants the processor, or in one
// round as a process of low priority.
func whenIdle(t *testing.T, before ...string) *exec.Cmd {
	t.Helper()
	lower := []string{"nice", "-n", "19"}
	if *rounds > 1 {
		lower = []string{"chrt", "--idle", "0"}
	}
	args := slices.Concat(lower, before, []string{os.Args[0]})
	for _, tool := range []string{"nice", "chrt", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: %v", tool, err)
		}
	}
	return exec.Command(args[0], args[1:]...)
}

// pinned is whenIdle on the last processor, where the attackers are.
func pinned(t *testing.T) *exec.Cmd {
	t.Helper()
	return whenIdle(t, "taskset", "-c", strconv.Itoa(runtime.NumCPU()-1))
}

// figures is what the observer measured during an attack.
type figures struct {
	attack                  string
	before, during, control []time.Duration
	attempts                float64 // of the attackers, per second
	cpu                     float64 // of the gateway during the attack, in processors
	memoryBefore, memory    float64 // the gateway's resident memory in bytes, at first and at most
}

// Goals of the figures: the p99 during an attack in proportion to the control's, and the memory's peak in
// proportion to that before.
const (
	mostLatency = 2
	mostMemory  = 1.2
)

func (f figures) latency() float64 {
	return percentile(f.during, 99).Seconds() / percentile(f.control, 99).Seconds()
}

func (f figures) growth() float64 { return f.memory / f.memoryBefore }

// String returns a row of the table in docs/security.md#measured. On a busy machine the times are only
// comparable with each other.
func (f figures) String() string {
	ms := func(p int) string {
		var cells []string
		for _, took := range [][]time.Duration{f.before, f.during, f.control} {
			cells = append(cells, fmt.Sprintf("%.1f", percentile(took, p).Seconds()*1000))
		}
		return strings.Join(cells, " | ")
	}
	return fmt.Sprintf("| %s | %s | %s | %.1f | %.0f | %.0f %% | %.0f | %.0f | %.2f |", f.attack, ms(50), ms(99), f.latency(),
		f.attempts, 100*f.cpu, f.memoryBefore/(1<<20), f.memory/(1<<20), f.growth())
}

// table formats all figures for docs/security.md#measured, and names those that miss a goal.
func table(all []figures) string {
	lines := []string{
		fmt.Sprintf("| attack, %d at a time | p50 before | during | control | p99 before | during | control | p99 ÷ control | attempts/s | CPU | MiB before | peak | ratio |", attackers),
		strings.Repeat("|---", 13) + "|",
	}
	missed := []string{""}
	for _, f := range all {
		lines = append(lines, f.String())
		if f.latency() > mostLatency {
			missed = append(missed, fmt.Sprintf("p99 of %.2f times the control: %s", f.latency(), f.attack))
		}
		if f.growth() > mostMemory {
			missed = append(missed, fmt.Sprintf("memory of %.2f times that before: %s", f.growth(), f.attack))
		}
	}
	return strings.Join(append(lines, missed...), "\n")
}
