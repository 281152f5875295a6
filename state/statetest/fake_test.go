package statetest

import (
	"errors"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"wcsgateway/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFakeConforms(t *testing.T) {
	RunConformance(t, func(testing.TB) Opener {
		fake := New()
		return func(_ testing.TB, pod string, h state.Handlers) Node { return fake.Open(pod, h) }
	})
}

func TestFakeTakesOverDeadPod(t *testing.T) {
	fake := New()
	lost := 0
	var orphans []state.Orphan
	a := fake.Open(podA, state.Handlers{Lost: func() { lost++ }})
	b := fake.Open(podB, state.Handlers{TakenOver: func(o state.Orphan) { orphans = append(orphans, o) }})
	s := streamOf("cam", "m1")
	wantErr(t, a.ClaimStream(t.Context(), s), nil)
	node{a, t}.addPlayer(playerOf("cam", "m2"), nil)
	node{b, t}.addPlayer(playerOf("cam", "m3"), nil)
	a.PutSession(state.Session{ID: "s"})

	fake.TakeOver(podA, podB)
	if lost != 1 || len(orphans) != 3 {
		t.Fatalf("Lost was called %d times, TakenOver with %v", lost, orphans)
	}
	i := slices.IndexFunc(orphans, func(o state.Orphan) bool { return o.Stream != nil })
	wantPods(t, orphans[i].Pods, podB)
	if names := fake.Names(); len(names) != 0 {
		t.Errorf("names left: %v", names)
	}
	if ids := fake.MediaIDs(); !slices.Equal(ids, []string{"m3"}) {
		t.Errorf("media ids left: %v, want that of the other pod's player", ids)
	}
	if got, err := b.FindSession(t.Context(), "s"); err != nil || got.Owner != a.owner {
		t.Errorf("the session is %+v, %v: want it registered in the new life %v", got, err, a.owner)
	}
	wantErr(t, a.ClaimStream(t.Context(), s), nil) // in its new life
}

func TestFakeSimulatesOutageAndRestart(t *testing.T) {
	fake := New()
	reset := 0
	a := fake.Open(podA, state.Handlers{Reset: func() { reset++ }})
	b := fake.Open(podB, state.Handlers{})
	s := streamOf("cam", "m1")
	fake.SetAway(true)
	wantErr(t, a.ClaimStream(t.Context(), s), state.ErrUnavailable)
	fake.SetAway(false)
	wantErr(t, a.ClaimStream(t.Context(), s), nil)
	fake.Restart()
	if _, err := b.FindStream(t.Context(), "cam"); !errors.Is(err, state.ErrNotFound) || reset != 1 {
		t.Errorf("after a restart: %v, Reset was called %d times", err, reset)
	}
	wantErr(t, a.ClaimStream(t.Context(), s), nil)
	fake.Kill(podA)
	_, err := a.ReleaseStream(t.Context(), s)
	wantErr(t, err, state.ErrLeaseStale)
	node{b, t}.has(s, podA)
}
