package livekit

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// BenchmarkProbes measures what a probe of a stream of 1 Mbit/s and 30 frames a second costs this process,
// with 50 probes: processor time as a share of one core, and memory. The publisher runs in this process as
// well, but is shared by all probes. Run it with -benchtime 1x.
func BenchmarkProbes(b *testing.B) {
	const probes = 50
	lk := rig.StartLiveKit(b, rig.LiveKitOptions{})
	sfu := newSFU(b, lk, nil)
	const room translate.RoomName = "wcs.probes"
	src := publishSource(b, sfu, room, webrtc.MimeTypeVP8)
	src.run()
	rig.Eventually(b, patience, "track of the source", func() bool {
		p, err := sfu.Participant(b.Context(), room, src.id)
		return err == nil && len(p.Tracks) == 1
	})
	for b.Loop() {
		before := takeStock(b)
		reports := make(chan translate.VideoFigures, probes)
		for range probes {
			target := translate.ProbeTarget{Room: room, Identity: translate.NewIdentity(deployment, translate.RoleProbe, podTag), Publisher: src.id}
			go func() {
				if err := sfu.Probe(b.Context(), target, func(v translate.VideoFigures) { reports <- v }); err != nil {
					b.Error(err)
				}
			}()
		}
		for range 5 * probes { // all probes are up and settled
			<-reports
		}
		with := takeStock(b)
		start, bits, seen := time.Now(), int64(0), 10*probes
		for range seen {
			bits += (<-reports).Rate
		}
		after, took := takeStock(b), time.Since(start)
		each := func(n int) float64 { return float64(n) / probes }
		b.ReportMetric(100*float64(after.processor-with.processor)/float64(took)/probes, "%core/probe")
		b.ReportMetric(float64(bits)/float64(seen)/1e6, "Mbit/s")
		b.ReportMetric(each(with.heap-before.heap)/1024, "KB-heap/probe")
		b.ReportMetric(each(with.stack-before.stack)/1024, "KB-stack/probe")
		b.ReportMetric(each(with.resident-before.resident)/1024, "KB-resident/probe")
		b.ReportMetric(each(with.goroutines-before.goroutines), "goroutines/probe")
		b.ReportMetric(each(with.files-before.files), "files/probe")
		b.ReportMetric(each(int(after.allocated-with.allocated))/1024/took.Seconds(), "KB-allocated/s/probe")
	}
}

// stock is the resource usage of a process.
type stock struct {
	processor             time.Duration
	heap, stack, resident int // bytes
	allocated             uint64
	goroutines, files     int
}

func takeStock(b *testing.B) stock {
	b.Helper()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		b.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	return stock{
		processor: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		heap:      int(memory.HeapAlloc), stack: int(memory.StackInuse), resident: pages * os.Getpagesize(),
		allocated: memory.TotalAlloc, goroutines: runtime.NumGoroutine(), files: len(files),
	}
}
