package process

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A small heap is collected once for leastHeadroom that is allocated, a large one as often as Go would, and
// GOGC counts. Each is a process of its own, because the percentage is that of a process.
func TestSmallHeapIsCollectedLessOften(t *testing.T) {
	const allocated, piece = 6 * leastHeadroom, 16 << 10
	if kept := os.Getenv("COLLECTOR_TEST"); kept != "" {
		CollectLessOften(os.Environ())
		n, err := strconv.Atoi(kept)
		if err != nil {
			t.Fatal(err)
		}
		live := make([]byte, n)
		runtime.GC()
		runtime.GC() // the cleanup of the first one has run at the latest during this one
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range allocated / piece {
			garbage = make([]byte, piece)
		}
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(live)
		t.Logf("collections=%d", after.NumGC-before.NumGC)
		return
	}
	for name, tt := range map[string]struct {
		kept, gogc  string
		least, most int
	}{
		"small":       {"0", "", 3, 9},
		"large":       {strconv.Itoa(3 * leastHeadroom), "", 1, 3},
		"small, GOGC": {"0", "GOGC=100", 15, 1000},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSmallHeapIsCollectedLessOften$", "-test.v")
		cmd.Env = append(os.Environ(), "COLLECTOR_TEST="+tt.kept)
		if tt.gogc != "" {
			cmd.Env = append(cmd.Env, tt.gogc)
		}
		out, err := cmd.CombinedOutput()
		_, count, found := strings.Cut(string(out), "collections=")
		n, parseErr := strconv.Atoi(strings.Fields(count + " -")[0])
		if err != nil || !found || parseErr != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if n < tt.least || n > tt.most {
			t.Errorf("%s: the collector ran %d times, want %d to %d", name, n, tt.least, tt.most)
		}
	}
}

var garbage []byte
