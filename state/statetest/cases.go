package statetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wcsgateway/state"
)

var ignoreOwner = cmpopts.IgnoreTypes(state.Owner{})

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

func wantPods(t *testing.T, got []string, want ...string) {
	t.Helper()
	got = slices.Sorted(slices.Values(got))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("pods (-want +got):\n%s", diff)
	}
}

func wantStream(t *testing.T, n Node, want state.Stream, pod string) {
	t.Helper()
	got, err := n.FindStream(t.Context(), want.Name)
	must(t, err)
	if diff := cmp.Diff(want, got, ignoreOwner); diff != "" {
		t.Fatalf("record (-want +got):\n%s", diff)
	}
	if got.Owner.Pod != pod || got.Owner.Epoch == 0 {
		t.Fatalf("owner is %v, want a life of %s", got.Owner, pod)
	}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(eventually)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", eventually, what)
		case <-tick.C:
		}
	}
}

func testClaimFind(t *testing.T, p *pair) {
	_, err := p.a.FindStream(t.Context(), "cam")
	wantErr(t, err, state.ErrNotFound)
	s := streamOf("cam", "m1")
	must(t, p.a.ClaimStream(t.Context(), s))
	wantStream(t, p.a, s, podA)
	wantStream(t, p.b, s, podA)
	_, err = p.a.ReleaseStream(t.Context(), s)
	must(t, err)
	_, err = p.b.FindStream(t.Context(), "cam")
	wantErr(t, err, state.ErrNotFound)
	must(t, p.b.ClaimStream(t.Context(), s)) // name and media id are free
	wantStream(t, p.a, s, podB)
}

func testNameTaken(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	must(t, p.a.ClaimStream(t.Context(), s))
	wantErr(t, p.b.ClaimStream(t.Context(), streamOf("cam", "m2")), state.ErrNameTaken)
	wantErr(t, p.a.ClaimStream(t.Context(), streamOf("cam", "m3")), state.ErrNameTaken)
	wantErr(t, p.b.ClaimStream(t.Context(), s), state.ErrNameTaken)
	other := s
	other.Identity += "x" // another attempt with the same media id
	wantErr(t, p.a.ClaimStream(t.Context(), other), state.ErrNameTaken)
	wantStream(t, p.b, s, podA)
}

func testClaimRepeated(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	must(t, p.a.ClaimStream(t.Context(), s))
	s.Phase = state.PhasePublishing
	s.Tracks = []state.Track{{Name: "t", Kind: "video", Mime: "video/VP8", Width: 640, Height: 480}}
	must(t, p.a.ClaimStream(t.Context(), s))
	wantStream(t, p.b, s, podA)
	player := playerOf("cam", "m2")
	for range 2 {
		_, err := p.b.AddPlayer(t.Context(), player)
		must(t, err)
	}
	_, err := p.a.ReleaseStream(t.Context(), s)
	must(t, err)
	_, err = p.a.FindStream(t.Context(), "cam")
	wantErr(t, err, state.ErrNotFound)
}

func testMediaIDTaken(t *testing.T, p *pair) {
	must(t, p.a.ClaimStream(t.Context(), streamOf("one", "m")))
	for _, n := range []Node{p.a, p.b} {
		wantErr(t, n.ClaimStream(t.Context(), streamOf("two", "m")), state.ErrMediaIDTaken)
		_, err := n.AddPlayer(t.Context(), playerOf("one", "m"))
		wantErr(t, err, state.ErrMediaIDTaken)
	}
	_, err := p.a.FindStream(t.Context(), "two")
	wantErr(t, err, state.ErrNotFound)
	pods, err := p.a.PutStream(t.Context(), streamOf("one", "m"))
	must(t, err)
	wantPods(t, pods)
}

func testFailedClaimLeavesNothing(t *testing.T, p *pair) {
	first := streamOf("one", "m1")
	must(t, p.a.ClaimStream(t.Context(), first))
	second := streamOf("one", "m2")
	wantErr(t, p.b.ClaimStream(t.Context(), second), state.ErrNameTaken)
	must(t, p.a.ClaimStream(t.Context(), streamOf("two", "m2"))) // m2 must be free
	third := streamOf("three", "m1")
	wantErr(t, p.b.ClaimStream(t.Context(), third), state.ErrMediaIDTaken)
	_, err := p.a.ReleaseStream(t.Context(), first)
	must(t, err)
	must(t, p.b.ClaimStream(t.Context(), third)) // the same claim can be tried again
	fourth := streamOf("one", "m4")
	must(t, p.b.ClaimStream(t.Context(), fourth))
	wantStream(t, p.a, third, podB)
}

func testLateClaim(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	pods, err := p.a.ReleaseStream(t.Context(), s) // overtakes the claim
	must(t, err)
	wantPods(t, pods)
	wantErr(t, p.a.ClaimStream(t.Context(), s), state.ErrLostOwnership)
	_, err = p.a.FindStream(t.Context(), "cam")
	wantErr(t, err, state.ErrNotFound)
	again := s
	again.Identity += "x"
	must(t, p.a.ClaimStream(t.Context(), again))
	wantStream(t, p.b, again, podA)
}

func testPut(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	_, err := p.a.PutStream(t.Context(), s)
	wantErr(t, err, state.ErrNotFound)
	must(t, p.a.ClaimStream(t.Context(), s))
	changed := s
	changed.Phase, changed.VideoMuted = state.PhasePublishing, true
	_, err = p.b.PutStream(t.Context(), changed)
	wantErr(t, err, state.ErrLostOwnership)
	other := changed
	other.Identity += "x"
	_, err = p.a.PutStream(t.Context(), other)
	wantErr(t, err, state.ErrLostOwnership)
	wantStream(t, p.b, s, podA)
	_, err = p.a.PutStream(t.Context(), changed)
	must(t, err)
	wantStream(t, p.b, changed, podA)
}

func testRelease(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	must(t, p.a.ClaimStream(t.Context(), s))
	_, err := p.b.ReleaseStream(t.Context(), s)
	wantErr(t, err, state.ErrLostOwnership)
	other := s
	other.Identity += "x"
	_, err = p.a.ReleaseStream(t.Context(), other)
	wantErr(t, err, state.ErrLostOwnership)
	wantStream(t, p.a, s, podA)
	wantErr(t, p.b.ClaimStream(t.Context(), streamOf("two", "m1")), state.ErrMediaIDTaken)
	for range 2 {
		_, err = p.a.ReleaseStream(t.Context(), s)
		must(t, err)
	}
	must(t, p.b.ClaimStream(t.Context(), other))
	_, err = p.a.ReleaseStream(t.Context(), s)
	wantErr(t, err, state.ErrLostOwnership)
	wantStream(t, p.a, other, podB)
}

func testDisplace(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	must(t, p.a.ClaimStream(t.Context(), s))
	_, err := p.b.AddPlayer(t.Context(), playerOf("cam", "m2"))
	must(t, err)
	found, err := p.b.FindStream(t.Context(), "cam")
	must(t, err)
	for owner, want := range map[state.Owner]bool{found.Owner: true, {Pod: podA, Epoch: found.Owner.Epoch - 1}: false} {
		leased, err := p.b.Leased(t.Context(), owner)
		must(t, err)
		if leased != want {
			t.Errorf("%s has a lease: %v", owner, leased)
		}
	}
	pods, err := p.b.DisplaceStream(t.Context(), found)
	must(t, err)
	wantPods(t, pods, podB)
	_, err = p.a.PutStream(t.Context(), s)
	wantErr(t, err, state.ErrNotFound)
	wantErr(t, p.a.ClaimStream(t.Context(), s), state.ErrLostOwnership) // it does not come back
	next := streamOf("cam", "m3")
	next.Identity += "next"
	must(t, p.b.ClaimStream(t.Context(), next))
	_, err = p.a.PutStream(t.Context(), s)
	wantErr(t, err, state.ErrLostOwnership)
	_, err = p.a.ReleaseStream(t.Context(), s)
	wantErr(t, err, state.ErrLostOwnership)
	_, err = p.b.DisplaceStream(t.Context(), found) // already released
	wantErr(t, err, state.ErrLostOwnership)
	wantStream(t, p.a, next, podB)
}

func testPlayersNeedAStream(t *testing.T, p *pair) {
	_, err := p.a.AddPlayer(t.Context(), playerOf("cam", "m1"))
	wantErr(t, err, state.ErrNotFound)
	s := streamOf("cam", "m1") // m1 must be free
	must(t, p.a.ClaimStream(t.Context(), s))
	pods, err := p.a.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods)
	got, err := p.b.AddPlayer(t.Context(), playerOf("cam", "m2"))
	must(t, err)
	if diff := cmp.Diff(s, got, ignoreOwner); diff != "" {
		t.Fatalf("record (-want +got):\n%s", diff)
	}
	if got.Owner.Pod != podA {
		t.Fatalf("owner is %v", got.Owner)
	}
}

func testNativePlayers(t *testing.T, p *pair) {
	player := playerOf("native", "m1")
	player.Native = true
	got, err := p.a.AddPlayer(t.Context(), player)
	must(t, err)
	if diff := cmp.Diff(state.Stream{}, got); diff != "" {
		t.Fatalf("record of a native stream (-want +got):\n%s", diff)
	}
	_, err = p.b.AddPlayer(t.Context(), player)
	wantErr(t, err, state.ErrMediaIDTaken)
	must(t, p.a.RemovePlayer(t.Context(), player))
	_, err = p.b.AddPlayer(t.Context(), player)
	must(t, err)
}

func testPodsOfStream(t *testing.T, p *pair) {
	s := streamOf("cam", "m")
	must(t, p.a.ClaimStream(t.Context(), s))
	add := func(n Node, media string) {
		t.Helper()
		_, err := n.AddPlayer(t.Context(), playerOf("cam", media))
		must(t, err)
	}
	put := func(want ...string) {
		t.Helper()
		pods, err := p.a.PutStream(t.Context(), s)
		must(t, err)
		wantPods(t, pods, want...)
	}
	put()
	for i := range 20 {
		add(p.b, fmt.Sprintf("b%d", i))
	}
	put(podB)
	add(p.a, "a0")
	put(podA, podB)
	for i := range 20 {
		put(podA, podB)
		must(t, p.b.RemovePlayer(t.Context(), playerOf("cam", fmt.Sprintf("b%d", i))))
	}
	put(podA)
	must(t, p.b.RemovePlayer(t.Context(), playerOf("cam", "b0"))) // can be repeated
	must(t, p.b.RemovePlayer(t.Context(), playerOf("cam", "a0"))) // is not its own
	put(podA)
	pods, err := p.a.ReleaseStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podA)
	must(t, p.a.RemovePlayer(t.Context(), playerOf("cam", "a0")))
	must(t, p.b.ClaimStream(t.Context(), s))
	pods, err = p.b.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods)
}

func testRefusedPlayer(t *testing.T, p *pair) {
	s := streamOf("cam", "m")
	must(t, p.a.ClaimStream(t.Context(), s))
	player := playerOf("cam", "m1")
	_, err := p.a.AddPlayer(t.Context(), player)
	must(t, err)
	other := player
	other.Identity += "x" // another session's, with the same media id
	_, err = p.a.AddPlayer(t.Context(), other)
	wantErr(t, err, state.ErrMediaIDTaken)
	must(t, p.a.RemovePlayer(t.Context(), other))
	pods, err := p.a.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podA)
	_, err = p.b.AddPlayer(t.Context(), player)
	wantErr(t, err, state.ErrMediaIDTaken)
}

func testNames(t *testing.T, p *pair) {
	names := []string{
		"a", "A", "a b", "a+b", "a%20b", "{a}", "}{", "a}:record", "*", "wcs:test:", "Straße ü", "\x00\xff", "a/b?c#d", strings.Repeat("x", 1000),
	}
	for i, name := range names {
		must(t, p.a.ClaimStream(t.Context(), streamOf(name, fmt.Sprintf("{m}:%% %d", i))))
	}
	for i, name := range names {
		got, err := p.b.FindStream(t.Context(), name)
		must(t, err)
		if want := fmt.Sprintf("{m}:%% %d", i); got.MediaID != want {
			t.Errorf("stream %q has media id %q, want %q", name, got.MediaID, want)
		}
		_, err = p.b.AddPlayer(t.Context(), playerOf(name, fmt.Sprintf("{p}:%% %d", i)))
		must(t, err)
		pods, err := p.a.ReleaseStream(t.Context(), streamOf(name, fmt.Sprintf("{m}:%% %d", i)))
		must(t, err)
		wantPods(t, pods, podB)
	}
}

func testConcurrentClaims(t *testing.T, p *pair) {
	const claims = 20
	errs := make([]error, claims)
	var all sync.WaitGroup
	for i := range claims {
		all.Go(func() {
			n := []Node{p.a, p.b}[i%2]
			errs[i] = n.ClaimStream(t.Context(), streamOf("cam", fmt.Sprintf("m%d", i)))
		})
	}
	all.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			wantStream(t, p.a, streamOf("cam", fmt.Sprintf("m%d", i)), []string{podA, podB}[i%2])
			continue
		}
		wantErr(t, err, state.ErrNameTaken)
	}
	if won != 1 {
		t.Fatalf("%d of %d claims succeeded", won, claims)
	}
}

func testSessions(t *testing.T, p *pair) {
	s := state.Session{
		ID: "/10.0.0.1:1234/0011223344556677", App: "defaultApp", TokenHash: state.TokenHash{1, 2, 254, 255},
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), ClientVersion: "2.0", TellEnd: true,
	}
	_, err := p.b.FindSession(t.Context(), s.ID)
	wantErr(t, err, state.ErrNotFound)
	p.a.PutSession(s)
	awaitSession(t, p.b, s, podA)
	changed := s
	changed.TokenHash = state.TokenHash{9}
	p.a.PutSession(changed)
	awaitSession(t, p.b, changed, podA)
	found, err := p.b.FindSessionOf(t.Context(), s.ID, changed.TokenHash)
	if err != nil || found.ID != s.ID || found.App != s.App {
		t.Errorf("found by its token: %+v, %v", found, err)
	}
	_, err = p.b.FindSessionOf(t.Context(), s.ID, s.TokenHash) // the earlier one
	wantErr(t, err, state.ErrNotFound)
	_, err = p.b.FindSessionOf(t.Context(), "none", s.TokenHash)
	wantErr(t, err, state.ErrNotFound)
	up := &state.SessionUpstream{Name: "old", Token: []byte{0, 255}}
	p.a.PutUpstream(s.ID, s.TokenHash, up) // the earlier token
	p.a.PutUpstream("none", s.TokenHash, up)
	awaitUpstream(t, p, changed, nil)
	p.a.PutUpstream(s.ID, changed.TokenHash, up)
	awaitUpstream(t, p, changed, up)
	p.a.PutSession(changed) // keeps it
	awaitUpstream(t, p, changed, up)
	p.a.PutUpstream(s.ID, changed.TokenHash, nil)
	awaitUpstream(t, p, changed, nil)
	p.b.DropSession(s.ID) // is not its own
	p.b.PutSession(state.Session{ID: "other"})
	awaitSession(t, p.a, state.Session{ID: "other"}, podB) // b has processed its changes
	awaitSession(t, p.b, changed, podA)
	p.a.DropSession(s.ID)
	awaitNoSession(t, p.b, s.ID)
	p.a.PutSession(s)
	awaitSession(t, p.b, s, podA)
}

func awaitSession(t *testing.T, n Node, want state.Session, pod string) {
	t.Helper()
	await(t, "session "+want.ID+" of "+pod, func() bool {
		got, err := n.FindSession(t.Context(), want.ID)
		return err == nil && got.App == want.App && got.TokenHash == want.TokenHash && got.Owner.Pod == pod &&
			got.ClientVersion == want.ClientVersion && got.TellEnd == want.TellEnd &&
			(want.CreatedAt.IsZero() || got.CreatedAt.Equal(want.CreatedAt))
	})
}

// awaitUpstream waits until pod a has processed its changes, and then compares the upstream of a session.
func awaitUpstream(t *testing.T, p *pair, s state.Session, want *state.SessionUpstream) {
	t.Helper()
	p.a.PutSession(state.Session{ID: "marker"})
	awaitSession(t, p.b, state.Session{ID: "marker"}, podA)
	p.a.DropSession("marker")
	awaitNoSession(t, p.b, "marker")
	got, err := p.b.FindSessionOf(t.Context(), s.ID, s.TokenHash)
	if err != nil || !reflect.DeepEqual(got.Upstream, want) {
		t.Errorf("upstream %+v, %v; want %+v", got.Upstream, err, want)
	}
}

func awaitNoSession(t *testing.T, n Node, id string) {
	t.Helper()
	await(t, "session "+id+" is gone", func() bool {
		_, err := n.FindSession(t.Context(), id)
		return errors.Is(err, state.ErrNotFound)
	})
}

func testEvents(t *testing.T, p *pair) {
	const events = 200
	s := streamOf("cam", "m1")
	for i := range events {
		from := []Node{p.a, p.b}[i/(events/2)] // also from b to itself
		must(t, from.Publish(t.Context(), podB, state.Event{
			Kind: state.EventChanged, Name: "cam", Room: "wcs.cam", Stream: &s, Body: []byte{byte(i), 0, 255},
		}))
		if i == events/2-1 {
			wantEvents(t, p.eventB, s, podA, 0, events/2)
		}
	}
	wantEvents(t, p.eventB, s, podB, events/2, events)
	must(t, p.a.Publish(t.Context(), "nobody", state.Event{Kind: state.EventEnded}))
}

func wantEvents(t *testing.T, events <-chan state.Event, s state.Stream, from string, first, end int) {
	t.Helper()
	timeout := time.NewTimer(eventually)
	defer timeout.Stop()
	for i := first; i < end; i++ {
		select {
		case got := <-events:
			want := state.Event{
				Kind: state.EventChanged, From: from, Name: "cam", Room: "wcs.cam", Stream: &s, Body: []byte{byte(i), 0, 255},
			}
			if diff := cmp.Diff(want, got, ignoreOwner); diff != "" {
				t.Fatalf("event %d (-want +got):\n%s", i, diff)
			}
		case <-timeout.C:
			t.Fatalf("event %d did not come within %v", i, eventually)
		}
	}
}

func testExpiredContext(t *testing.T, p *pair) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, p.a.ClaimStream(ctx, streamOf("cam", "m1")), state.ErrUnavailable)
	_, err := p.a.FindStream(ctx, "cam")
	wantErr(t, err, state.ErrUnavailable)
}
