// Package worst measures what the worst messages cost to decode or to edit. The benchmarks named Worst of the
// packages that do it use it; make bench runs them.
package worst

import (
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"syscall"
	"testing"
	"time"
)

// Measure runs the work for a message, and reports its processor time (cpu-µs/op), how many times that of
// the validation of as many bytes of JSON (÷json), and for 1 MB of the message the time (cpu-ms/MB), the
// memory that is allocated (MB/MB), and what is in use at once while it is worked on (live-MB).
func Measure(b *testing.B, message []byte, work func() error) {
	b.Helper()
	text := message
	if !json.Valid(text) {
		text, _ = json.Marshal(string(message)) // a string has no error
	}
	n := 1 + 8<<20/len(text) // often enough for the clock
	runtime.GC()
	begun := processorTime(b)
	for range n {
		json.Valid(text)
	}
	valid := float64(processorTime(b)-begun) / float64(n)
	b.SetBytes(int64(len(message)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun = processorTime(b)
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
	own := float64(processorTime(b)-begun) / float64(b.N)
	runtime.ReadMemStats(&after)
	messages := float64(1<<20) / float64(len(message)) // that make 1 MB
	b.ReportMetric(own/1e3, "cpu-µs/op")
	b.ReportMetric(own/valid, "÷json")
	b.ReportMetric(messages*own/1e6, "cpu-ms/MB")
	allocated := float64(after.TotalAlloc-before.TotalAlloc) / float64(b.N) / (1 << 20)
	b.ReportMetric(messages*allocated, "MB/MB")
	b.ReportMetric(min(allocated, mostInUse(work)), "live-MB") // one message of 1 MB begins where another has ended
}

// mostInUse returns the most memory in MB that the work has in use. The collector runs all the time
// meanwhile, and what is allocated during a collection counts as in use. So the result is an upper bound.
func mostInUse(work func() error) float64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	inUse := func() float64 {
		runtime.GC()
		metrics.Read(sample)
		return float64(sample[0].Value.Uint64()) / (1 << 20)
	}
	before, most := inUse(), 0.0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for begun := time.Now(); time.Since(begun) < 300*time.Millisecond; {
			_ = work() // it had no error before
		}
	}()
	for {
		most = max(most, inUse()-before)
		select {
		case <-done:
			return most
		default:
		}
	}
}

// processorTime returns what this process has used, with the garbage collector and without other processes.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
