package hooks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// gate is a backend that holds each call until the test releases it.
type gate struct {
	*httptest.Server
	through     chan struct{}
	now, most   atomic.Int32
	connections atomic.Int32
	mu          sync.Mutex
	order       []string
}

func newGate(t *testing.T) *gate {
	g := &gate{through: make(chan struct{})}
	g.Server = httptest.NewUnstartedServer(reading(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		now := g.now.Add(1)
		defer g.now.Add(-1)
		for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
		}
		g.mu.Lock()
		g.order = append(g.order, string(body))
		g.mu.Unlock()
		select {
		case <-g.through:
			write(w, "{}")
		case <-r.Context().Done():
		}
	}))
	g.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			g.connections.Add(1)
		}
	}
	g.Start()
	t.Cleanup(g.Close)
	return g
}

// calls starts n calls, each after the previous one is in progress or waiting.
func calls(t *testing.T, b *Backend, n int) <-chan error {
	t.Helper()
	done := make(chan error, n)
	for i := range n {
		busy := b.calls.Load()
		go func() {
			_, err := b.Call(context.Background(), StreamStatusEvent, Object{"n": []byte{'0' + byte(i)}})
			done <- err
		}()
		eventually(t, "call waits", func() bool { return b.calls.Load() == busy+1 })
	}
	return done
}

func TestCallsInFlightAreLimited(t *testing.T) {
	g := newGate(t)
	b := newBackend(t, Config{URL: g.URL, MaxInFlight: 3, MaxWaiting: 6}, Deps{})
	done := calls(t, b, 9)
	eventually(t, "three calls are made", func() bool { return g.now.Load() == 3 })
	if _, err := b.Call(t.Context(), Connect, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("one call too many: %v", err)
	}
	for range 9 {
		g.through <- struct{}{}
		if err := receive(t, "end of a call", done); err != nil {
			t.Error(err)
		}
	}
	if most, conns := g.most.Load(), g.connections.Load(); most != 3 || conns != 3 {
		t.Errorf("%d concurrent calls on %d connections", most, conns)
	}
	if n := b.calls.Load(); n != 0 {
		t.Errorf("%d calls in progress or waiting at the end", n)
	}
}

func TestWaitingCallsAreSentInOrder(t *testing.T) {
	g := newGate(t)
	b := newBackend(t, Config{URL: g.URL, MaxInFlight: 1, MaxWaiting: 9}, Deps{})
	done := calls(t, b, 9)
	for range 9 {
		g.through <- struct{}{}
		if err := receive(t, "end of a call", done); err != nil {
			t.Error(err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.IsSorted(g.order) || len(g.order) != 9 {
		t.Errorf("calls came as %v", g.order)
	}
}

func TestCallIsRefusedIfNoneMayWait(t *testing.T) {
	g := newGate(t)
	b := newBackend(t, Config{URL: g.URL, MaxInFlight: 1}, Deps{})
	done := calls(t, b, 1)
	if _, err := b.Call(t.Context(), Connect, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("second call: %v", err)
	}
	g.through <- struct{}{}
	if err := receive(t, "end of the call", done); err != nil {
		t.Error(err)
	}
}

func TestTimeoutIncludesWaiting(t *testing.T) {
	g := newGate(t)
	b := newBackend(t, Config{URL: g.URL, MaxInFlight: 1, MaxWaiting: 1, Timeout: soon}, Deps{})
	b.slots.TryAcquire(1) // a call in progress
	_, err := b.Call(t.Context(), Connect, nil)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting") {
		t.Errorf("got %v", err)
	}
	if n := g.connections.Load(); n != 0 || b.calls.Load() != 0 {
		t.Errorf("%d connections, %d wait", n, b.calls.Load())
	}
}

// A backend that does not answer has no effect on another one, even on the same host.
func TestSlowBackendDoesNotDelayOthers(t *testing.T) {
	g := newGate(t)
	slow := newBackend(t, Config{URL: g.URL, MaxInFlight: 4, MaxWaiting: 5}, Deps{})
	calls(t, slow, 9)
	fine := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { write(w, "{}") })
	b := newBackend(t, Config{URL: fine.URL, MaxInFlight: 1}, Deps{})
	for range 100 {
		if _, err := b.Call(t.Context(), Connect, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "four calls of the slow backend are in progress", func() bool { return g.now.Load() == 4 })
	if n := slow.calls.Load(); n != 9 {
		t.Errorf("%d calls of the slow backend in progress or waiting, want 9", n)
	}
}
