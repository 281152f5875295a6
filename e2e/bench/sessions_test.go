package bench

import (
	"context"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"wcsgateway/e2e/rig"
)

const (
	handshakeRounds = 12
	handshakes      = 2000 // per round
	idleSessions    = 15_000
	spareFiles      = 500 // of this process, beside the sockets
	dialers         = 16

	idlePing  = 15 * time.Second // 1,000 pings a second
	idleWatch = 2 * idlePing
)

// measureHandshake measures the server's CPU from the TCP connection to getUserData, with the session in
// Redis. No pings are answered in this time: measureIdle measures what these cost. The lean server with more
// and more parts of the gateway's work shows what a handshake costs at least.
func measureHandshake(b *testing.B, p *programs, results *report) {
	needFiles(b, handshakes)
	redis := rig.StartRedis(b).Addr
	gateway := startGateway(b, p, rig.NewPorts(b), redis, map[string]string{"WCS_SESSION_PINGINTERVAL": time.Minute.String()})
	rows := []struct {
		name   string
		server *server
		goal   goal
	}{
		{"CPU per handshake", gateway, goal{Ratio: 1.35}},
		{"  lean gorilla with a canned reply", startBaseline(b, p, time.Minute), goal{}},
		{"  which decodes connection and builds getUserData", startBaseline(b, p, time.Minute, "-with", "protocol"), goal{}},
		{"  and writes a log line", startBaseline(b, p, time.Minute, "-with", "protocol,log"), goal{}},
		{"  and registers the session in Redis", startBaseline(b, p, time.Minute, "-with", "protocol,log,redis", "-redis", redis), goal{}},
		{"  and limits the time of requests", startBaseline(b, p, time.Minute, "-with", "protocol,log,redis,timeouts", "-redis", redis), goal{}},
	}
	used := make([]samples, len(rows))
	for n := range handshakeRounds + 1 { // the first round is not counted
		for i := range rows {
			i = (i + n) % len(rows)
			if took := handshake(b, rows[i].server); n > 0 {
				used[i] = append(used[i], took)
			}
		}
	}
	for i, r := range rows {
		results.add(row{Measure: r.name, Unit: "µs", Ours: micros(used[i].median()), Baseline: micros(used[1].median()),
			Against: "lean gorilla with a canned reply", Goal: r.goal})
	}
}

// handshake returns the server's CPU for a handshake.
func handshake(b *testing.B, s *server) time.Duration {
	b.Helper()
	before := cpu(b, s.PID())
	sessions := dialCrowd(b, s, handshakes)
	wait(b, 200*time.Millisecond) // sessions are registered in batches
	used := cpu(b, s.PID()) - before
	sessions.close(b)
	return used / handshakes
}

// measureIdle measures the cost of sessions that only answer pings: CPU, then memory.
func measureIdle(b *testing.B, p *programs, results *report) {
	needFiles(b, idleSessions)
	redis := rig.StartRedis(b)
	ours := idle(b, startGateway(b, p, rig.NewPorts(b), redis.Addr, map[string]string{"WCS_SESSION_PINGINTERVAL": idlePing.String()}))
	theirs := idle(b, startBaseline(b, p, idlePing))
	const gorilla = "lean gorilla, read buffer of 512 bytes"
	results.add(
		row{Measure: "1,000 pings + pongs a second", Unit: "% of a core", Ours: ours.cpu, Baseline: theirs.cpu, Against: gorilla, Goal: goal{Ratio: 1.15}},
		row{Measure: "resident memory per idle session", Unit: "KB", Ours: ours.rss, Baseline: theirs.rss, Against: gorilla, Goal: goal{Ratio: 1.25}},
		row{Measure: "  heap + stacks in use after a collection", Unit: "KB", Ours: ours.inUse, Baseline: theirs.inUse, Against: gorilla},
		row{Measure: "  live heap", Unit: "KB", Ours: ours.heap, Baseline: theirs.heap, Against: gorilla},
		row{Measure: "  stacks", Unit: "KB", Ours: ours.stacks, Baseline: theirs.stacks, Against: gorilla},
	)
}

// idleCost is the cost of a session: sizes in KB, CPU of all sessions in percent of a core.
type idleCost struct{ cpu, inUse, heap, stacks, rss float64 }

func idle(b *testing.B, s *server) idleCost {
	b.Helper()
	return idleOf(b, s, idleSessions)
}

func idleOf(b *testing.B, s *server, n int) idleCost {
	b.Helper()
	empty := settle(b, s)
	sessions := openCrowd(b, s, n)
	wait(b, idlePing/10) // registration in Redis
	used := cpu(b, s.PID())
	wait(b, idleWatch)
	used = cpu(b, s.PID()) - used
	full := settle(b, s)
	sessions.close(b)
	each := func(m func(memory) float64) float64 { return (m(full) - m(empty)) / 1000 / float64(n) }
	return idleCost{
		cpu:    100 * used.Seconds() / idleWatch.Seconds(),
		inUse:  each(memory.inUse),
		heap:   each(func(m memory) float64 { return m.heap }),
		stacks: each(func(m memory) float64 { return m.stacks }),
		rss:    each(func(m memory) float64 { return m.rss }),
	}
}

// memory of a process in bytes: live objects, the spans they lie in, stacks in use, and the kernel's figure.
type memory struct{ heap, heapSpans, stacks, rss float64 }

// settle waits for two garbage collections of the process and returns the least memory shown in this time,
// which is that right after a collection. The metric requests themselves produce enough garbage to cause a
// collection. Resident memory is the value at the end.
func settle(b *testing.B, s *server) memory {
	b.Helper()
	const collections = "go_gc_duration_seconds_count"
	m := s.metrics(b)
	least, until := memoryOf(m), m[collections]+2
	for deadline := time.Now().Add(time.Minute); m[collections] < until; {
		if time.Now().After(deadline) {
			b.Fatalf("%s does not collect its garbage", s.URL)
		}
		m = s.metrics(b)
		now := memoryOf(m)
		least.heap, least.heapSpans = min(least.heap, now.heap), min(least.heapSpans, now.heapSpans)
		least.stacks, least.rss = min(least.stacks, now.stacks), now.rss
	}
	return least
}

func memoryOf(m map[string]float64) memory {
	return memory{
		heap: m["go_memstats_heap_alloc_bytes"], heapSpans: m["go_memstats_heap_inuse_bytes"],
		stacks: m["go_memstats_stack_inuse_bytes"], rss: m["process_resident_memory_bytes"],
	}
}

// crowd are many sessions.
type crowd struct {
	server  *server
	sockets []*websocket.Conn
	readers sync.WaitGroup
}

// openCrowd opens n sessions that answer pings and returns when each has received getUserData.
func openCrowd(b *testing.B, s *server, n int) *crowd {
	b.Helper()
	c := dialCrowd(b, s, n)
	for _, ws := range c.sockets {
		c.readers.Go(func() { answerPings(ws) })
	}
	s.awaitConnections(b, n)
	return c
}

// dialCrowd is openCrowd for sessions that answer no pings. It requests no metrics of the server.
func dialCrowd(b *testing.B, s *server, n int) *crowd {
	b.Helper()
	c := &crowd{server: s, sockets: make([]*websocket.Conn, n)}
	dialer := &websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool)}
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(dialers)
	for i := range n {
		group.Go(func() (err error) {
			c.sockets[i], err = shakeHands(ctx, dialer, s.URL)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return c
}

// answerPings reads until the socket is closed. Only getVersion and short pings follow getUserData.
func answerPings(ws *websocket.Conn) {
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return
		}
		var frame [64]byte
		n, _ := io.ReadFull(r, frame[:]) // a short frame, or the end of the socket, which NextReader reports
		if string(frame[:min(n, len(pingStart))]) != pingStart {
			continue
		}
		if ws.WriteMessage(websocket.TextMessage, []byte(pong)) != nil {
			return
		}
	}
}

// close closes all sockets and waits until the server has closed them too.
func (c *crowd) close(b *testing.B) {
	b.Helper()
	for _, ws := range c.sockets {
		_ = ws.Close() // the server's side is waited for
	}
	c.readers.Wait()
	c.server.awaitConnections(b, 0)
}

// wait waits; the server is measured during this time.
func wait(b *testing.B, d time.Duration) {
	b.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// needFiles makes sure that n sockets can be open. Go programs have raised the soft limit to the hard one
// when they start.
func needFiles(b *testing.B, n int) {
	b.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Max < uint64(n+spareFiles) {
		b.Fatalf("%d sockets need a limit of %d open files (ulimit -Hn), which is %d", n, n+spareFiles, limit.Max)
	}
}
