package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// pods are buses that send events to each other.
type pods struct {
	t       *testing.T
	buses   map[string]*Bus
	mu      sync.Mutex
	lost    map[string]bool // events for these pods are dropped; guarded by mu
	failing map[string]bool // publishing to these pods fails
	handled map[string][]state.Event
	transit []float64
	handle  func(b *Bus, e state.Event)
}

var errAway = errors.New("away")

func (p *pods) Publish(_ context.Context, pod string, e state.Event) error {
	p.mu.Lock()
	lost := p.lost[pod]
	p.mu.Unlock()
	switch {
	case p.failing[pod]:
		return errAway
	case !lost:
		p.buses[pod].Deliver(e)
	}
	return nil
}

// lose sets whether events for a pod are dropped.
func (p *pods) lose(pod string, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost[pod] = lost
}

func (p *pods) Observe(seconds float64) { p.transit = append(p.transit, seconds) }

func newPods(t *testing.T, names ...string) *pods {
	p := &pods{
		t: t, buses: make(map[string]*Bus), lost: make(map[string]bool), failing: make(map[string]bool),
		handled: make(map[string][]state.Event), handle: func(*Bus, state.Event) {},
	}
	for _, name := range names {
		p.buses[name] = New(Deps{
			Events: p, Pod: name, Transit: p, Log: zerolog.New(zerolog.NewTestWriter(t)),
			Handle: func(e state.Event) {
				p.handled[name] = append(p.handled[name], e)
				p.handle(p.buses[name], e)
			},
		})
	}
	return p
}

// waiting returns the number of requests without a reply.
func (b *Bus) waiting() (n int) {
	b.pending.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

func TestNotifyReturnsNumberOfOtherPodsReached(t *testing.T) {
	p := newPods(t, "a", "b", "c")
	p.failing["c"] = true
	if n := p.buses["a"].Notify(t.Context(), []string{"a", "b", "c"}, state.Event{Kind: state.EventEnded, Name: "s"}); n != 1 {
		t.Errorf("published to %d pods, want 1", n)
	}
	event := state.Event{Kind: state.EventEnded, Name: "s", From: "a"}
	if diff := cmp.Diff(map[string][]state.Event{"a": {event}, "b": {event}}, p.handled); diff != "" {
		t.Error(diff)
	}
}

func TestRequestReturnsFirstReply(t *testing.T) {
	p := newPods(t, "a", "b")
	p.handle = func(b *Bus, e state.Event) {
		b.Reply(t.Context(), state.Event{ID: "another", From: e.From}, "of another request")
		b.Reply(t.Context(), e, e.Name+" from "+e.From)
		b.Reply(t.Context(), e, "repeated")
	}
	for _, pod := range []string{"a", "b"} {
		if got, err := p.buses["a"].Request(t.Context(), pod, state.Event{Kind: state.EventAdmin, Name: "x"}); got != "x from a" || err != nil {
			t.Errorf("reply of pod %s: %q, %v", pod, got, err)
		}
	}
	if n := p.buses["a"].waiting(); n != 0 {
		t.Errorf("%d requests are pending", n)
	}
}

func TestFailedRequestIsNotPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPods(t, "a", "b", "c")
		p.lost["b"], p.failing["c"] = true, true
		for pod, want := range map[string]error{"b": context.DeadlineExceeded, "c": errAway} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := p.buses["a"].Request(ctx, pod, state.Event{Kind: state.EventAdmin}); !errors.Is(err, want) {
				t.Errorf("request to pod %s: %v, want %v", pod, err, want)
			}
		}
		if n := p.buses["a"].waiting(); n != 0 {
			t.Errorf("%d requests are pending", n)
		}
	})
}

func TestWebhookIsForwardedUnchanged(t *testing.T) {
	p := newPods(t, "a", "b")
	sent := translate.Event{
		ID: "EV_1", Kind: translate.EventTrack, Room: "wcs.s", Identity: "i", SID: "PA_1", Reason: translate.EndTimeout,
		Track: translate.Track{SID: "TR_V", Kind: translate.Video, Width: 640, Height: 480}, At: time.Unix(1, 0).UTC(),
	}
	if err := p.buses["a"].ForwardWebhook(t.Context(), "b", sent); err != nil {
		t.Fatal(err)
	}
	got, err := Webhook(p.handled["b"][0])
	if diff := cmp.Diff(sent, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := Webhook(state.Event{From: "b", Body: []byte("{")}); err == nil {
		t.Error("a truncated webhook is accepted")
	}
}

// The time that events take through Redis is measured while they arrive.
func TestTransitIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPods(t, "a")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.buses["a"].MeasureTransit(ctx)
		pass := func() {
			time.Sleep(10 * transitInterval)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		pass()
		if n := len(p.transit); n != 10 {
			t.Errorf("%d events measured, want 10", n)
		}
		p.lose("a", true)
		pass()
		if n := len(p.transit); n != 10 {
			t.Errorf("%d events measured though all were lost", n-10)
		}
		p.lose("a", false)
		pass()
		if n := len(p.transit); n < 10+8 {
			t.Errorf("%d events measured after events arrive again, want at least 8", n-10)
		}
	})
}
