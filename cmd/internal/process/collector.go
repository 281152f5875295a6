package process

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
)

// leastHeadroom is how many bytes a process can allocate between two runs of the garbage collector. Go's own
// rule is as many as are in use, 4 MB in a pod with few clients: a flood that is refused would make the
// collector run six times a second, each time on all idle processors for 4 ms, in which other clients wait.
const leastHeadroom = 16 << 20

// CollectLessOften sets the collector's percentage so that the heap can grow by leastHeadroom. A heap that is
// larger grows by its size, as ever, and GOGC in the environment takes precedence.
func CollectLessOften(environ []string) {
	if !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		c := &collector{percent: 100}
		c.adjust()
		c.watch()
	}
}

// collector adjusts the percentage after each run.
type collector struct{ percent int }

// cycle becomes garbage at once. It has a pointer, so that it is not freed with others.
type cycle struct{ _ *cycle }

// watch calls adjust after the next run, and so on.
func (c *collector) watch() {
	runtime.AddCleanup(new(cycle), func(c *collector) {
		c.adjust()
		c.watch()
	}, c)
}

func (c *collector) adjust() {
	inUse := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(inUse)
	percent := percentFor(inUse[0].Value.Uint64())
	if percent != c.percent && (percent == 100 || max(percent, c.percent)*10 > min(percent, c.percent)*11) {
		debug.SetGCPercent(percent) // stops all goroutines for some µs
		c.percent = percent
	}
}

// percentFor returns the percentage for a heap of which some bytes are in use.
func percentFor(inUse uint64) int {
	const least = 4 << 20 // a smaller heap counts as this one: the collector has other roots, too
	return int(max(100, 100*leastHeadroom/max(inUse, least)))
}
