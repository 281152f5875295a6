package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
)

// eventually is generous, because the machine can be busy.
const eventually = 30 * time.Second

// quickConfig makes leases short enough for tests and long enough for a busy machine.
func quickConfig(addrs ...string) Config {
	return Config{Addrs: addrs, Lease: 3 * time.Second, CallTimeout: 750 * time.Millisecond}
}

const quickGrace = time.Second

// testPod is a running store, and the calls of its handlers.
type testPod struct {
	*Redis
	describe      func() Peer // nil: it has no description
	resets, losts atomic.Int32
	events        chan Event

	mu      sync.Mutex
	orphans []Orphan

	cancel context.CancelFunc
	done   chan struct{}
}

// newPod returns a store that does not run yet.
func newPod(t testing.TB, cfg Config, id string) *testPod {
	t.Helper()
	r := Open(cfg, Pod{Deployment: "test", ID: id, Host: "host-" + id}, Deps{Log: zerolog.New(zerolog.NewTestWriter(t))})
	r.grace = quickGrace
	return &testPod{Redis: r, events: make(chan Event, 1000)}
}

// startPod starts a store and waits until it is ready. It leaves with the test.
func startPod(t testing.TB, cfg Config, id string) *testPod {
	t.Helper()
	p := newPod(t, cfg, id)
	p.start(t)
	return p
}

func (p *testPod) start(t testing.TB) {
	t.Helper()
	p.run(t, func(ctx context.Context) {
		if err := p.Run(ctx, p.handlerSet()); err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	rig.Eventually(t, eventually, "the pod is ready", p.Ready)
}

// startMortal starts a store that ends without leaving, as a killed process does.
func startMortal(t testing.TB, cfg Config, id string) *testPod {
	t.Helper()
	p := newPod(t, cfg, id)
	p.startMortal(t)
	return p
}

func (p *testPod) startMortal(t testing.TB) {
	t.Helper()
	p.handlers = p.handlerSet()
	p.run(t, func(ctx context.Context) {
		p.work(ctx)
		_ = p.client.Close() // nothing is under way
	})
	rig.Eventually(t, eventually, "the pod is ready", p.Ready)
}

// life returns the current owner.
func (p *testPod) life() Owner {
	o, _ := p.lease.current()
	return o
}

func (p *testPod) run(t testing.TB, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		f(ctx)
	}()
	t.Cleanup(p.end)
}

// end makes the pod leave, or die if it is mortal.
func (p *testPod) end() {
	p.cancel()
	<-p.done
}

func (p *testPod) handlerSet() Handlers {
	return Handlers{
		Event: func(e Event) { p.events <- e },
		TakenOver: func(o Orphan) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.orphans = append(p.orphans, o)
		},
		Reset: func() { p.resets.Add(1) },
		Lost:  func() { p.losts.Add(1) },

		Describe: p.describe,
	}
}

// taken returns the orphans that the pod received, as text.
func (p *testPod) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var texts []string
	for _, o := range p.orphans {
		switch {
		case o.Stream != nil:
			texts = append(texts, fmt.Sprintf("stream %s %s %s players on %v", o.Stream.Name, o.Stream.Room, o.Stream.Identity, slices.Sorted(slices.Values(o.Pods))))
		case o.Player != nil:
			texts = append(texts, fmt.Sprintf("player of %s %s %s", o.Player.Stream, o.Player.Room, o.Player.Identity))
		case o.Session != nil:
			texts = append(texts, "session "+o.Session.ID)
		case o.Room != nil:
			texts = append(texts, fmt.Sprintf("room %s of %s members on %v", o.Room.Name, o.Room.App, slices.Sorted(slices.Values(o.Pods))))
		}
	}
	slices.Sort(texts)
	return texts
}

func testStream(name, media string) Stream {
	return Stream{Name: name, MediaID: media, App: "defaultApp", Room: "wcs." + name, Identity: "pub-" + media, Phase: PhaseStarting}
}

func testPlayer(stream, media string) Player {
	return Player{Stream: stream, MediaID: media, App: "defaultApp", Room: "wcs." + stream, Identity: "play-" + media}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

func claimAll(t testing.TB, p *testPod, streams ...Stream) {
	t.Helper()
	for _, s := range streams {
		must(t, p.ClaimStream(t.Context(), s))
	}
}

func playAll(t testing.TB, p *testPod, players ...Player) {
	t.Helper()
	for _, pl := range players {
		_, err := p.AddPlayer(t.Context(), pl)
		must(t, err)
	}
}

// client returns a second client of the same Redis.
func client(t testing.TB, cfg Config) redis.UniversalClient {
	t.Helper()
	c := cfg.withDefaults().client()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// allKeys returns the keys of the deployment "test" on all servers, without its prefix, sorted.
func allKeys(t testing.TB, c redis.UniversalClient) []string {
	t.Helper()
	var mu sync.Mutex
	var found []string
	scan := func(ctx context.Context, c *redis.Client) error {
		keys, err := c.Keys(ctx, "wcs:test:*").Result()
		mu.Lock()
		defer mu.Unlock()
		found = append(found, keys...)
		return err
	}
	switch c := c.(type) {
	case *redis.ClusterClient:
		must(t, c.ForEachMaster(t.Context(), scan))
	case *redis.Client:
		must(t, scan(t.Context(), c))
	default:
		t.Fatalf("client is %T", c)
	}
	for i, k := range found {
		found[i] = strings.TrimPrefix(k, "wcs:test:")
	}
	slices.Sort(found)
	return found
}

// keysWithout returns the keys that contain none of the words.
func keysWithout(keys []string, words ...string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(k, w) })
	})
}

func putSessions(p *testPod, prefix string, n int) {
	for i := range n {
		p.PutSession(Session{ID: fmt.Sprintf("%s%d", prefix, i), App: "defaultApp", CreatedAt: time.UnixMilli(1)})
	}
}

func awaitSessions(t testing.TB, p *testPod, prefix string, n int, life Owner) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s%d", prefix, i)
		rig.Eventually(t, eventually, "session "+id+" is registered by "+life.String(), func() bool {
			s, err := p.FindSession(t.Context(), id)
			return err == nil && s.Owner == life
		})
	}
}

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Fresh reports whether the lease is fresh. Otherwise writes fail with ErrLeaseStale.
func (r *Redis) Fresh() bool {
	_, fresh := r.lease.writer(r.now())
	return fresh
}
