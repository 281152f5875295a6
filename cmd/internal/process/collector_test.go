package process

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
)

// A small heap is collected once for leastHeadroom that is allocated, a large one as often as Go would, and
// GOGC counts. Each is a process of its own, because the percentage is that of a process. It reads at which
// size the next run begins: how often the collector ran depends on how long its runs take.
func TestSmallHeapIsCollectedLessOften(t *testing.T) {
	const megabyte = 1 << 20
	if kept := os.Getenv("COLLECTOR_TEST"); kept != "" {
		CollectLessOften(os.Environ())
		n, err := strconv.Atoi(kept)
		if err != nil {
			t.Fatal(err)
		}
		live := make([]byte, n)
		runtime.GC()
		runtime.GC() // the cleanup of the first one has run at the latest during this one
		heap := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
		metrics.Read(heap)
		runtime.KeepAlive(live)
		t.Logf("headroom=%d", (heap[0].Value.Uint64()-heap[1].Value.Uint64())/megabyte)
		return
	}
	const least = leastHeadroom / megabyte
	for name, tt := range map[string]struct {
		kept, gogc  string
		least, most int // megabytes
	}{
		"small":       {"0", "", least * 3 / 4, least * 5 / 4},
		"large":       {strconv.Itoa(3 * leastHeadroom), "", 3 * least, 4 * least},
		"small, GOGC": {"0", "GOGC=100", 1, least / 2},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSmallHeapIsCollectedLessOften$", "-test.v")
		cmd.Env = append(os.Environ(), "COLLECTOR_TEST="+tt.kept)
		if tt.gogc != "" {
			cmd.Env = append(cmd.Env, tt.gogc)
		}
		out, err := cmd.CombinedOutput()
		_, headroom, found := strings.Cut(string(out), "headroom=")
		n, parseErr := strconv.Atoi(strings.Fields(headroom + " -")[0])
		if err != nil || !found || parseErr != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if n < tt.least || n > tt.most {
			t.Errorf("%s: the collector runs after %d MB, want %d to %d", name, n, tt.least, tt.most)
		}
		t.Logf("%s: %d MB", name, n)
	}
}
