package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wcsgateway/e2e/rig"
)

// asProgram makes the test binary the program.
const asProgram = "RUN_AS_BENCH"

// atATime is how many scenarios run together unless -parallel sets another number: they mostly wait.
const atATime = "8"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	goleak.VerifyTestMain(m)
}

// outcome is the result of a run of the program.
type outcome struct {
	report // from the JSON
	table  string
	code   int
}

// bringUp runs the program without progress lines, with a file for the JSON.
func bringUp(t *testing.T, args ...string) outcome {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout bytes.Buffer
	out := outcome{code: run(t.Context(), append(args, "--json", file, "--progress", "0"), &stdout, t.Output())}
	out.table = stdout.String()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("no report: %v", err)
	}
	if err := json.Unmarshal(text, &out.report); err != nil {
		t.Fatalf("JSON: %v\n%s", err, text)
	}
	wantSame(t, out)
	return out
}

// wantSame checks that the table and the JSON agree.
func wantSame(t *testing.T, out outcome) {
	t.Helper()
	lines := map[string]bool{}
	for line := range strings.Lines(out.table) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	var want []string
	for _, s := range out.Steps {
		want = append(want, fmt.Sprintf("%d %d %d %s", s.Started, s.Done, s.Failed, s.Name))
	}
	for _, l := range out.Latencies {
		want = append(want, fmt.Sprintf("%d %.1f %.1f %.1f %.1f %s", l.Count, float64(l.P50), float64(l.P90), float64(l.P99), float64(l.Max), l.Name))
	}
	for _, f := range out.Failures {
		want = append(want, fmt.Sprintf("%d %s: %s", f.Count, f.Step, f.Info))
	}
	want = append(want, fmt.Sprintf("RTP packets: %d sent, %d received", out.RTPSent, out.RTPReceived))
	for _, line := range want {
		if !lines[line] {
			t.Errorf("the table has no line %q:\n%s", line, out.table)
		}
	}
}

// wantSteps checks that exactly these steps were taken, so often and without failures.
func (out outcome) wantSteps(t *testing.T, want map[string]int) {
	t.Helper()
	if out.code != exitOK {
		t.Errorf("exit code %d, want %d", out.code, exitOK)
	}
	if out.Interrupted {
		t.Error("interrupted without a signal")
	}
	for _, s := range out.Steps {
		if s.Started != want[s.Name] || s.Done != s.Started || s.Failed != 0 {
			t.Errorf("%s: %d started, %d done, %d failed, want %d done", s.Name, s.Started, s.Done, s.Failed, want[s.Name])
		}
		delete(want, s.Name)
	}
	for name, n := range want {
		t.Errorf("%s: not taken, want %d", name, n)
	}
	if t.Failed() {
		t.Log(out.table)
	}
}

// wantTimings checks that exactly these latencies were measured, and that they are plausible.
func (out outcome) wantTimings(t *testing.T, want map[string]int) {
	t.Helper()
	for _, l := range out.Latencies {
		if l.Count != want[l.Name] {
			t.Errorf("%s: %d measured, want %d", l.Name, l.Count, want[l.Name])
		}
		if l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max || l.P50 < 0 || l.Max > milliseconds(out.Seconds*1000) || l.Max == 0 && l.Name != tookMedia {
			t.Errorf("implausible latencies: %+v", l)
		}
		delete(want, l.Name)
	}
	for name, n := range want {
		t.Errorf("%s: not measured, want %d", name, n)
	}
}

// stepsDone returns how often a step was done.
func (out outcome) stepsDone(name string) int {
	for _, s := range out.Steps {
		if s.Name == name {
			return s.Done
		}
	}
	return 0
}

func TestScenariosRunWithoutFailures(t *testing.T) {
	s := rig.NewStage(t, nil, "")
	t.Run("on one stage", func(t *testing.T) { testScenarios(t, s.Gateway.URL) })
	s.WantClean(t)
}

// testScenarios returns when all scenarios have ended. They run in parallel, as they mostly wait.
func testScenarios(t *testing.T, url string) {
	scenario := func(name string, test func(t *testing.T, with func(args ...string) outcome)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(args ...string) outcome {
				return bringUp(t, append(args, "--url", url, "--scenario", name)...)
			})
		})
	}
	scenario(scenarioIdle, func(t *testing.T, with func(...string) outcome) {
		out := with("--sessions", "50", "--rate", "200", "--duration", "4s")
		out.wantSteps(t, map[string]int{stepConnect: 50, stepHold: 50})
		out.wantTimings(t, map[string]int{tookConnect: 50})
	})
	scenario(scenarioPublish, func(t *testing.T, with func(...string) outcome) {
		out := with("--sessions", "4", "--rate", "20", "--duration", "4s")
		out.wantSteps(t, map[string]int{stepConnect: 4, stepPublish: 4, stepHold: 4, stepUnpublish: 4})
		out.wantTimings(t, map[string]int{tookConnect: 4, tookPublishSDP: 4, tookPublishing: 4, tookUnpublished: 4})
		if out.RTPSent == 0 || out.RTPReceived != 0 {
			t.Errorf("%d RTP packets sent, %d received", out.RTPSent, out.RTPReceived)
		}
	})
	scenario(scenarioPlay, func(t *testing.T, with func(...string) outcome) {
		out := with("--sessions", "3", "--rate", "10", "--duration", "4s")
		out.wantSteps(t, map[string]int{stepConnect: 6, stepPublish: 3, stepPlay: 3, stepHold: 6, stepUnpublish: 3, stepNotice: 3})
		out.wantTimings(t, map[string]int{
			tookConnect: 6, tookPublishSDP: 3, tookPublishing: 3, tookPlaySDP: 3, tookPlaying: 3, tookMedia: 3, tookUnpublished: 3, tookNotice: 3,
		})
		if out.RTPReceived == 0 {
			t.Error("no RTP was received")
		}
	})
	scenario(scenarioFanout, func(t *testing.T, with func(...string) outcome) {
		out := with("--players", "8", "--rate", "50", "--duration", "8s", "--video-rate", "0")
		out.wantSteps(t, map[string]int{stepConnect: 9, stepPublish: 1, stepPlay: 8, stepHold: 9, stepUnpublish: 1, stepNotice: 8})
		out.wantTimings(t, map[string]int{
			tookConnect: 9, tookPublishSDP: 1, tookPublishing: 1, tookPlaySDP: 8, tookPlaying: 8, tookMedia: 8, tookUnpublished: 1, tookNotice: 8,
		})
		if out.RTPReceived <= out.RTPSent {
			t.Errorf("%d RTP packets sent, 8 players received %d", out.RTPSent, out.RTPReceived)
		}
	})
	scenario(scenarioChurn, func(t *testing.T, with func(...string) outcome) {
		out := with("--sessions", "100", "--rate", "3", "--duration", "3s")
		n := out.stepsDone(stepCycle)
		if n < 2 || n > 9 {
			t.Errorf("%d cycles in 3 s, want 9, or fewer on a slow machine", n)
		}
		out.wantSteps(t, map[string]int{stepConnect: 2 * n, stepPublish: n, stepPlay: n, stepHold: n, stepUnpublish: n, stepNotice: n, stepCycle: n})
	})
	scenario(scenarioStorm, func(t *testing.T, with func(...string) outcome) {
		out := with("--sessions", "10", "--publishers", "2", "--rate", "100", "--every", "3s", "--duration", "8s")
		back, again := out.stepsDone(stepReconnect), out.stepsDone(stepRepublish)
		if back < 10 || back%10 != 0 || again*5 != back {
			t.Errorf("%d reconnects and %d publishes of 2 in 10 sessions", back, again)
		}
		out.wantSteps(t, map[string]int{stepConnect: 10, stepPublish: 2, stepReconnect: back, stepRepublish: again, stepHold: 10 + back})
		out.wantTimings(t, map[string]int{
			tookConnect: 10, tookPublishSDP: 2, tookPublishing: 2, tookReconnect: back, tookRepublishSDP: again, tookRepublish: again,
		})
	})
	t.Run("another application", func(t *testing.T) {
		t.Parallel()
		code, stderr := endAtOnce(t, "--scenario", scenarioIdle, "--url", url, "--app", "unknown")
		if code != exitFailed || !strings.HasPrefix(stderr, "wcs-bench: no session at "+url+": ") {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
	t.Run("signal", func(t *testing.T) {
		t.Parallel()
		testSignal(t, url)
	})
}

// testSignal interrupts a long run once its stream is played.
func testSignal(t *testing.T, url string) {
	cmd := exec.Command(os.Args[0], "--scenario", scenarioFanout, "--players", "1", "--duration", "1h", "--progress", "50ms", "--url", url)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var table bytes.Buffer // read after the end
	cmd.Stdout = &table
	p := rig.StartCmd(t, cmd)
	rig.Eventually(t, time.Minute, "progress says that the stream is played", func() bool {
		return strings.Contains(p.Output(), "sessions 2  publishing 1  playing 1  failures 0")
	})
	p.Signal(os.Interrupt)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("still running")
	}
	for _, want := range []string{`s, interrupted\n`, `\n +2 +2 +0 +connect\n`, `\n +1 +1 +0 +play\n`, `\n +1( +[0-9.]+){4} +playStream → PLAYING\n`} {
		if !regexp.MustCompile(want).Match(table.Bytes()) {
			t.Errorf("no %q in the table:\n%s", want, table.String())
		}
	}
	if err := p.Wait(); err != nil {
		t.Errorf("unexpected error: %v", err)
	}
}

// endAtOnce runs the program, which must detect a fault before it creates load.
func endAtOnce(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var stdout, faults bytes.Buffer
	code = run(t.Context(), args, &stdout, &faults)
	if stdout.Len() > 0 {
		t.Errorf("output %q, want none", stdout.String())
	}
	return code, faults.String()
}
