// Package bench compares the gateway with the programs it adds to or replaces, on the same machine in the
// same run, and prints one table. It uses the production binary without race detector, real LiveKit, real
// Redis, real Chromium. Ratios hold on a noisy machine, absolute times do not.
//
//	go test -timeout 20m -run '^$' -bench . -benchtime 1x ./e2e/bench
//
// Arguments of the report follow: -args -only memory,publish -json results.json.
package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	only     = flag.String("only", "", "measure only these, separated by commas: publish, play, sfu, cycle, burst, handshake, idle, pods, splice, hybrid, rates, browser, camera")
	jsonFile = flag.String("json", "", "also write the results to this file, as JSON; a relative path begins at the root of the module")
)

// measures by their name in -only. Each adds its rows to the report.
var measures = []struct {
	name string
	run  func(*testing.B, *programs, *report)
}{
	{"publish", measurePublishAnswer},
	{"play", measurePlayAnswer},
	{"sfu", measurePlayCPU},
	{"cycle", measureCycle},
	{"burst", measureBurst},
	{"handshake", measureHandshake},
	{"idle", measureIdle},
	{"pods", measurePods},
	{"splice", measureSplice},
	{"hybrid", measureHybrid},
	{"rates", measureRates},
	{"browser", measureBrowser},
	{"camera", measureCamera},
}

// BenchmarkGateway runs each measure once, independent of -benchtime, and prints the table.
func BenchmarkGateway(b *testing.B) {
	wanted, err := selected(*only)
	if err != nil {
		b.Fatal(err)
	}
	p := buildPrograms(b)
	results := &report{Machine: machine(b), LoadBefore: load(b)}
	for _, m := range measures {
		if !slices.Contains(wanted, m.name) {
			continue
		}
		b.Run(m.name, func(b *testing.B) {
			if b.N == 1 { // a greater b.N only follows runs shorter than -benchtime
				m.run(b, p, results)
			}
		})
	}
	results.LoadAfter = load(b)
	if err := results.print(os.Stdout); err != nil {
		b.Fatal(err)
	}
	if *jsonFile != "" {
		if err := results.write(p.path(*jsonFile)); err != nil {
			b.Fatal(err)
		}
	}
}

// selected returns the measures selected by -only, all if it is empty. "memory" and "ping" are both measured
// by idle.
func selected(list string) (names []string, err error) {
	var all []string
	for _, m := range measures {
		all = append(all, m.name)
	}
	if list == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		if name == "memory" || name == "ping" {
			name = "idle"
		}
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("-only: unknown measure %q, known are %s", name, strings.Join(all, ", "))
		}
		names = append(names, name)
	}
	return names, nil
}

// programs are the paths of the measured programs.
type programs struct {
	root     string // of the module
	gateway  string
	baseline string // e2e/bench/baseline
}

func buildPrograms(b *testing.B) *programs {
	b.Helper()
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		b.Fatalf("go env GOMOD: %v", err)
	}
	p := &programs{root: filepath.Dir(strings.TrimSpace(string(mod)))}
	dir := b.TempDir()
	p.gateway = p.build(b, dir, "wcs-gateway", "./cmd/wcs-gateway")
	p.baseline = p.build(b, dir, "baseline", "./e2e/bench/baseline")
	return p
}

// path returns an absolute path: a test binary always runs in its package's directory.
func (p *programs) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.root, name)
}

// build builds like make build, but keeps the symbols for profiles.
func (p *programs) build(b *testing.B, dir, name, pkg string) string {
	b.Helper()
	program := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", program, pkg)
	cmd.Dir = p.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// offer returns an offer of a real Chromium with audio and video.
func (p *programs) offer(b *testing.B, name string) string {
	b.Helper()
	sdp, err := os.ReadFile(filepath.Join(p.root, "translate", "testdata", name))
	if err != nil {
		b.Fatal(err)
	}
	return string(sdp)
}
