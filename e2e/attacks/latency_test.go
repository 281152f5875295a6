package attacks

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

var (
	measureFor = flag.Duration("measure", 500*time.Millisecond, "how long an attack of TestOtherClientsAreServedDuringAttack lasts")
	rounds     = flag.Int("rounds", 1, "how often each attack goes on: what else the machine does changes meanwhile, and meets all alike")
)

// During a continuous attack other clients are served, and the attackers are refused. The waiting times are
// logged, not asserted. The attackers are a process of low priority, on a processor of its own where there
// are several. The same attack on a minimal server shows how much of the waiting time the attackers
// themselves cause.
func TestOtherClientsAreServedDuringAttack(t *testing.T) {
	s := newScene(t, map[string]string{
		// Floods end soon and begin again: the gateway reads more in total than each client may send over time.
		"WCS_LIMITS_MESSAGESPERSECOND": "60", "WCS_LIMITS_MESSAGEBURST": "300",
		"WCS_LIMITS_BYTESPERSECOND": "65536", "WCS_LIMITS_BYTEBURST": "1048576",
	})
	lean := startLean(t)
	var all []figures
	for _, l := range loads {
		t.Run(l.name, func(t *testing.T) {
			f := figures{attack: l.name}
			for range *rounds {
				f.round(t, s, l, lean)
			}
			all = append(all, f)
			if n := s.victim.Count("notifyStreamStatusEvent"); n > 0 {
				t.Errorf("the victim was told something about its stream: %s", s.victim.Names())
			}
		})
	}
	t.Log("\n" + table(all))
	s.leave(t)
}

// mostHeap is the limit of the gateway's heap during an attack, in bytes. It is about one message of the
// largest size for a third of an address' sockets.
const mostHeap = 200 << 20

// round is what the witness measures before an attack, during it, and during the same attack on the minimal
// server.
func (f *figures) round(t *testing.T, s *scene, l load, lean string) {
	t.Helper()
	f.before = append(f.before, s.witness.during(t, func() { pause(t, *measureFor) })...)
	refused, used := s.refusedFor(t, l), s.metric(t, "process_cpu_seconds_total")
	begun := time.Now()
	during, stop := s.attackedBy(t, l, s.Gateway.URL, s.Gateway.Internal+"/webhook")
	f.cpu += (s.metric(t, "process_cpu_seconds_total") - used) / time.Since(begun).Seconds() / float64(*rounds)
	if len(l.refusals) > 0 {
		rig.Eventually(t, patience, "attackers are refused", func() bool { return s.refusedFor(t, l) > refused })
	}
	if heap := s.metric(t, "go_memstats_heap_inuse_bytes"); heap > mostHeap {
		t.Errorf("the gateway's heap has %.0f MiB", heap/(1<<20))
	}
	f.during, f.attempts = append(f.during, during...), f.attempts+stop()/float64(*rounds)
	s.awaitCalm(t)
	control, stop := s.attackedBy(t, l, "ws://"+lean+"/", "http://"+lean+"/webhook")
	f.control, f.leanAttempts = append(f.control, control...), f.leanAttempts+stop()/float64(*rounds)
}

// attackedBy runs the witness during an attack. stop ends the attack and returns the attempts per second.
func (s *scene) attackedBy(t *testing.T, l load, url, hook string) (took []time.Duration, stop func() (attempts float64)) {
	t.Helper()
	cmd := niced(t)
	cmd.Env = append(os.Environ(), role+"="+roleAttacker, attackName+"="+l.name, attackURL+"="+url, attackHook+"="+hook)
	p := rig.StartCmd(t, cmd)
	rig.Eventually(t, patience, "the attack begins", func() bool { return strings.Contains(p.Output(), attacking) })
	begun := time.Now()
	took = s.witness.during(t, func() { pause(t, *measureFor) })
	return took, func() float64 {
		t.Helper()
		p.Signal(syscall.SIGTERM)
		<-p.Done()
		_, count, _ := strings.Cut(p.Output(), attempted)
		attempts, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || attempts == 0 {
			t.Fatalf("no attempts: %v\n%s", err, p.Output())
		}
		return float64(attempts) / time.Since(begun).Seconds()
	}
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

// niced returns this program as a process of low priority, on the last processor.
func niced(t *testing.T) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"nice", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: %v", tool, err)
		}
	}
	return exec.Command("nice", "-n", "19", "taskset", "-c", strconv.Itoa(runtime.NumCPU()-1), os.Args[0])
}

// startLean starts the minimal server and returns its address.
func startLean(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+roleLean)
	p := rig.StartCmd(t, cmd)
	addr := ""
	rig.Eventually(t, patience, "the server for comparison listens", func() bool {
		line, _, complete := strings.Cut(p.Output(), "\n")
		addr, _ = strings.CutPrefix(line, leanListens)
		return complete
	})
	return addr
}

// figures is what the witness measured during an attack.
type figures struct {
	attack                  string
	before, during, control []time.Duration
	attempts, leanAttempts  float64 // of the attackers, per second
	cpu                     float64 // of the gateway during the attack, in processors
}

// table formats the figures. On a busy machine the times are only comparable with each other.
func table(all []figures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "answer times of another client in ms, p50 and p99: before, during, and during the same attack on a server that does nothing (control); attempts a second on both; the gateway's share of a processor\n")
	fmt.Fprintf(&b, "%-30s %15s %15s %15s %10s %10s %6s\n", "attack", "before", "during", "control", "gateway", "control", "CPU")
	ms := func(took []time.Duration) string {
		return fmt.Sprintf("%6.2f %6.2f", percentile(took, 50).Seconds()*1000, percentile(took, 99).Seconds()*1000)
	}
	for _, f := range all {
		fmt.Fprintf(&b, "%-30s %15s %15s %15s %10.0f %10.0f %5.0f%%\n", f.attack, ms(f.before), ms(f.during), ms(f.control), f.attempts, f.leanAttempts, 100*f.cpu)
	}
	return b.String()
}
