package statetest

import (
	"context"
	"errors"
	"fmt"
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

// wantErr requires an error that wraps want; nil requires none.
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

func wantRecord(t *testing.T, got, want state.Stream) {
	t.Helper()
	if diff := cmp.Diff(want, got, ignoreOwner); diff != "" {
		t.Fatalf("record (-want +got):\n%s", diff)
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

func testClaimFind(p *pair) {
	p.a.find("cam", state.ErrNotFound)
	s := streamOf("cam", "m1")
	p.a.claim(s, nil)
	p.a.has(s, podA)
	p.b.has(s, podA)
	p.a.release(s, nil)
	p.b.find("cam", state.ErrNotFound)
	p.b.claim(s, nil) // name and media id are free
	p.a.has(s, podB)
}

func testNameTaken(p *pair) {
	s := streamOf("cam", "m1")
	p.a.claim(s, nil)
	p.b.claim(streamOf("cam", "m2"), state.ErrNameTaken)
	p.a.claim(streamOf("cam", "m3"), state.ErrNameTaken)
	p.b.claim(s, state.ErrNameTaken)
	other := s
	other.Identity += "x" // another attempt with the same media id
	p.a.claim(other, state.ErrNameTaken)
	p.b.has(s, podA)
}

func testClaimRepeated(p *pair) {
	s := streamOf("cam", "m1")
	p.a.claim(s, nil)
	s.Phase = state.PhasePublishing
	s.Tracks = []state.Track{{Name: "t", Kind: "video", Mime: "video/VP8", Width: 640, Height: 480}}
	p.a.claim(s, nil)
	p.b.has(s, podA)
	for range 2 {
		p.b.addPlayer(playerOf("cam", "m2"), nil)
	}
	p.a.release(s, nil, podB)
	p.a.find("cam", state.ErrNotFound)
}

func testMediaIDTaken(p *pair) {
	p.a.claim(streamOf("one", "m"), nil)
	for _, n := range []node{p.a, p.b} {
		n.claim(streamOf("two", "m"), state.ErrMediaIDTaken)
		n.addPlayer(playerOf("one", "m"), state.ErrMediaIDTaken)
	}
	p.a.find("two", state.ErrNotFound)
	p.a.put(streamOf("one", "m"), nil)
}

func testFailedClaimLeavesNothing(p *pair) {
	first, third := streamOf("one", "m1"), streamOf("three", "m1")
	p.a.claim(first, nil)
	p.b.claim(streamOf("one", "m2"), state.ErrNameTaken)
	p.a.claim(streamOf("two", "m2"), nil) // m2 must be free
	p.b.claim(third, state.ErrMediaIDTaken)
	p.a.release(first, nil)
	p.b.claim(third, nil) // the same claim can be tried again
	p.b.claim(streamOf("one", "m4"), nil)
	p.a.has(third, podB)
}

func testLateClaim(p *pair) {
	s := streamOf("cam", "m1")
	p.a.release(s, nil) // overtakes the claim
	p.a.claim(s, state.ErrLostOwnership)
	p.a.find("cam", state.ErrNotFound)
	again := s
	again.Identity += "x"
	p.a.claim(again, nil)
	p.b.has(again, podA)
}

func testLatePlayer(p *pair) {
	s, other, player := streamOf("cam", "m1"), streamOf("two", "m2"), playerOf("cam", "m2")
	p.a.claim(s, nil)
	p.b.removePlayer(player) // overtakes the call that adds it
	p.b.addPlayer(player, state.ErrLostOwnership)
	p.a.put(s, nil)
	p.a.claim(other, nil) // the media id is free
	p.a.release(other, nil)
	player.Identity += "x"
	p.b.addPlayer(player, nil)
	p.a.put(s, nil, podB)
}

func testPut(p *pair) {
	s := streamOf("cam", "m1")
	p.a.put(s, state.ErrNotFound)
	p.a.claim(s, nil)
	changed := s
	changed.Phase, changed.VideoMuted = state.PhasePublishing, true
	p.b.put(changed, state.ErrLostOwnership)
	other := changed
	other.Identity += "x"
	p.a.put(other, state.ErrLostOwnership)
	p.b.has(s, podA)
	p.a.put(changed, nil)
	p.b.has(changed, podA)
}

func testRelease(p *pair) {
	s := streamOf("cam", "m1")
	p.a.claim(s, nil)
	p.b.release(s, state.ErrLostOwnership)
	other := s
	other.Identity += "x"
	p.a.release(other, state.ErrLostOwnership)
	p.a.has(s, podA)
	p.b.claim(streamOf("two", "m1"), state.ErrMediaIDTaken)
	for range 2 {
		p.a.release(s, nil)
	}
	p.b.claim(other, nil)
	p.a.release(s, state.ErrLostOwnership)
	p.a.has(other, podB)
}

func testDisplace(p *pair) {
	s := streamOf("cam", "m1")
	p.a.claim(s, nil)
	p.b.addPlayer(playerOf("cam", "m2"), nil)
	found := p.b.find("cam", nil)
	for owner, want := range map[state.Owner]bool{found.Owner: true, {Pod: podA, Epoch: found.Owner.Epoch - 1}: false} {
		leased, err := p.b.Leased(p.t.Context(), owner)
		wantErr(p.t, err, nil)
		if leased != want {
			p.t.Errorf("%s has a lease: %v", owner, leased)
		}
	}
	p.b.displace(found, nil, podB)
	p.a.put(s, state.ErrNotFound)
	p.a.claim(s, state.ErrLostOwnership) // it does not come back
	next := streamOf("cam", "m3")
	next.Identity += "next"
	p.b.claim(next, nil)
	p.a.put(s, state.ErrLostOwnership)
	p.a.release(s, state.ErrLostOwnership)
	p.b.displace(found, state.ErrLostOwnership) // already released
	p.a.has(next, podB)
}

func testPlayersNeedAStream(p *pair) {
	p.a.addPlayer(playerOf("cam", "m1"), state.ErrNotFound)
	s := streamOf("cam", "m1") // m1 must be free
	p.a.claim(s, nil)
	p.a.put(s, nil)
	got := p.b.addPlayer(playerOf("cam", "m2"), nil)
	wantRecord(p.t, got, s)
	if got.Owner.Pod != podA {
		p.t.Fatalf("owner is %v", got.Owner)
	}
}

func testNativePlayers(p *pair) {
	player := playerOf("native", "m1")
	player.Native = true
	wantRecord(p.t, p.a.addPlayer(player, nil), state.Stream{})
	p.b.addPlayer(player, state.ErrMediaIDTaken)
	p.a.removePlayer(player)
	p.b.addPlayer(player, nil)
}

func testPodsOfStream(p *pair) {
	s := streamOf("cam", "m")
	p.a.claim(s, nil)
	p.a.put(s, nil)
	for i := range 20 {
		p.b.addPlayer(playerOf("cam", fmt.Sprintf("b%d", i)), nil)
	}
	p.a.put(s, nil, podB)
	p.a.addPlayer(playerOf("cam", "a0"), nil)
	p.a.put(s, nil, podA, podB)
	for i := range 20 {
		p.a.put(s, nil, podA, podB)
		p.b.removePlayer(playerOf("cam", fmt.Sprintf("b%d", i)))
	}
	p.a.put(s, nil, podA)
	p.b.removePlayer(playerOf("cam", "b0")) // can be repeated
	p.b.removePlayer(playerOf("cam", "a0")) // is not its own
	p.a.put(s, nil, podA)
	p.a.release(s, nil, podA)
	p.a.removePlayer(playerOf("cam", "a0"))
	p.b.claim(s, nil)
	p.b.put(s, nil)
}

func testRefusedPlayer(p *pair) {
	s := streamOf("cam", "m")
	p.a.claim(s, nil)
	player := playerOf("cam", "m1")
	p.a.addPlayer(player, nil)
	other := player
	other.Identity += "x" // another session's, with the same media id
	p.a.addPlayer(other, state.ErrMediaIDTaken)
	p.a.removePlayer(other)
	p.a.put(s, nil, podA)
	p.b.addPlayer(player, state.ErrMediaIDTaken)
}

func testNames(p *pair) {
	names := []string{
		"a", "A", "a b", "a+b", "a%20b", "{a}", "}{", "a}:record", "*", "wcs:test:", "Straße ü", "\x00\xff", "a/b?c#d", strings.Repeat("x", 1000),
	}
	for i, name := range names {
		p.a.claim(streamOf(name, fmt.Sprintf("{m}:%% %d", i)), nil)
	}
	for i, name := range names {
		media := fmt.Sprintf("{m}:%% %d", i)
		if got := p.b.find(name, nil); got.MediaID != media {
			p.t.Errorf("stream %q has media id %q, want %q", name, got.MediaID, media)
		}
		p.b.addPlayer(playerOf(name, fmt.Sprintf("{p}:%% %d", i)), nil)
		p.a.release(streamOf(name, media), nil, podB)
	}
}

func testConcurrentClaims(p *pair) {
	const claims = 20
	errs := make([]error, claims)
	var all sync.WaitGroup
	for i := range claims {
		all.Go(func() {
			n := []node{p.a, p.b}[i%2]
			errs[i] = n.ClaimStream(p.t.Context(), streamOf("cam", fmt.Sprintf("m%d", i)))
		})
	}
	all.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			p.a.has(streamOf("cam", fmt.Sprintf("m%d", i)), []string{podA, podB}[i%2])
			continue
		}
		wantErr(p.t, err, state.ErrNameTaken)
	}
	if won != 1 {
		p.t.Fatalf("%d of %d claims succeeded", won, claims)
	}
}

func testSessions(p *pair) {
	s := state.Session{
		ID: "/10.0.0.1:1234/0011223344556677", App: "defaultApp", TokenHash: state.TokenHash{1, 2, 254, 255},
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), ClientVersion: "2.0", TellEnd: true,
	}
	_, err := p.b.FindSession(p.t.Context(), s.ID)
	wantErr(p.t, err, state.ErrNotFound)
	p.a.PutSession(s)
	p.b.awaitSession(s, podA)
	changed := s
	changed.TokenHash = state.TokenHash{9}
	p.a.PutSession(changed)
	p.b.awaitSession(changed, podA)
	found, err := p.b.FindSessionOf(p.t.Context(), s.ID, changed.TokenHash)
	if err != nil || found.ID != s.ID || found.App != s.App {
		p.t.Errorf("found by its token: %+v, %v", found, err)
	}
	for _, id := range []string{s.ID, "none"} { // the token is the earlier one
		_, err = p.b.FindSessionOf(p.t.Context(), id, s.TokenHash)
		wantErr(p.t, err, state.ErrNotFound)
	}
	up := &state.SessionUpstream{Name: "old", Server: "a1", Token: []byte{0, 255}}
	p.a.PutUpstream(s.ID, s.TokenHash, up) // the earlier token
	p.a.PutUpstream("none", s.TokenHash, up)
	p.hasUpstream(changed, nil)
	p.a.PutUpstream(s.ID, changed.TokenHash, up)
	p.hasUpstream(changed, up)
	p.a.PutSession(changed) // keeps it
	p.hasUpstream(changed, up)
	p.a.PutUpstream(s.ID, changed.TokenHash, nil)
	p.hasUpstream(changed, nil)
	p.b.DropSession(s.ID) // is not its own
	p.b.PutSession(state.Session{ID: "other"})
	p.a.awaitSession(state.Session{ID: "other"}, podB) // b has processed its changes
	p.b.awaitSession(changed, podA)
	p.a.DropSession(s.ID)
	p.b.awaitNoSession(s.ID)
	p.a.PutSession(s)
	p.b.awaitSession(s, podA)
}

// hasUpstream compares the upstream of a session after the changes of pod a so far.
func (p *pair) hasUpstream(s state.Session, want *state.SessionUpstream) {
	p.t.Helper()
	p.a.processed(podA)
	got, err := p.b.FindSessionOf(p.t.Context(), s.ID, s.TokenHash)
	wantErr(p.t, err, nil)
	if diff := cmp.Diff(want, got.Upstream); diff != "" {
		p.t.Errorf("upstream (-want +got):\n%s", diff)
	}
	if want == nil {
		got = state.Session{ID: s.ID}
	}
	for _, pod := range []node{p.a, p.b} {
		found, err := pod.FindUpstream(p.t.Context(), s.ID, s.TokenHash)
		wantErr(p.t, err, nil)
		if diff := cmp.Diff(got, found); diff != "" {
			p.t.Errorf("found for a media socket (-want +got):\n%s", diff)
		}
		_, err = pod.FindUpstream(p.t.Context(), s.ID, state.TokenHash{7})
		wantErr(p.t, err, state.ErrNotFound)
	}
}

func testEvents(p *pair) {
	const events = 200
	s := streamOf("cam", "m1")
	for i := range events {
		from := []node{p.a, p.b}[i/(events/2)] // also from b to itself
		wantErr(p.t, from.Publish(p.t.Context(), podB, state.Event{
			Kind: state.EventChanged, Name: "cam", Room: "wcs.cam", Stream: &s, Body: []byte{byte(i), 0, 255},
		}), nil)
		if i == events/2-1 {
			wantEvents(p.t, p.eventB, s, podA, 0, events/2)
		}
	}
	wantEvents(p.t, p.eventB, s, podB, events/2, events)
	wantErr(p.t, p.a.Publish(p.t.Context(), "nobody", state.Event{Kind: state.EventEnded}), nil)
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

func testExpiredContext(p *pair) {
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	wantErr(p.t, p.a.ClaimStream(ctx, streamOf("cam", "m1")), state.ErrUnavailable)
	_, err := p.a.FindStream(ctx, "cam")
	wantErr(p.t, err, state.ErrUnavailable)
}
