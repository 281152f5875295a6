package state

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// BenchmarkStreamLifecycle measures claim, put and release of a stream.
func BenchmarkStreamLifecycle(b *testing.B) {
	p := startPod(b, quickConfig(rig.StartRedis(b).Addr), podA)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := testStream(fmt.Sprintf("cam%d", i), fmt.Sprintf("m%d", i))
		claimAll(b, p, s)
		if _, err := p.PutStream(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		if _, err := p.ReleaseStream(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSessions registers ten thousand sessions and drops them again.
func BenchmarkSessions(b *testing.B) {
	const sessions = 10000
	p := startPod(b, quickConfig(rig.StartRedis(b).Addr), podA)
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = fmt.Sprintf("/10.0.0.1:%d/0011223344556677", i)
	}
	done := func() bool { return !p.sessions.pending() }
	b.ReportAllocs()
	for b.Loop() {
		for _, id := range ids {
			p.PutSession(Session{ID: id, App: "defaultApp", CreatedAt: time.UnixMilli(1)})
		}
		rig.Eventually(b, eventually, "all are registered", done)
		for _, id := range ids {
			p.DropSession(id)
		}
		rig.Eventually(b, eventually, "all are gone", done)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*sessions), "µs/session")
}

// BenchmarkSessionMemory measures the memory of a session beyond its id.
func BenchmarkSessionMemory(b *testing.B) {
	const sessions = 10000
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = fmt.Sprintf("/10.0.0.1:%d/0011223344556677", i)
	}
	var used float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var writer sessionWriter
		writer.init()
		for _, id := range ids {
			writer.put(&Session{ID: id, App: "defaultApp"})
		}
		for writer.pending() {
			writer.nextBatch()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used = float64(after.HeapAlloc-before.HeapAlloc) / sessions
		runtime.KeepAlive(&writer)
	}
	b.ReportMetric(used, "B/session")
}
