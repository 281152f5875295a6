package state

import (
	"testing"
	"time"
)

// at returns a time in seconds after a fixed start.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func TestLeaseIsFreshForTwoThirds(t *testing.T) {
	l := lease{length: 9 * time.Second}
	l.begin(Owner{Pod: "a", Epoch: 1})
	if _, fresh := l.writer(at(0)); fresh {
		t.Error("fresh without a renewal")
	}
	l.renewed(at(10))
	for s, want := range map[float64]bool{10: true, 15.9: true, 16: false, 100: false} {
		if _, fresh := l.writer(at(s)); fresh != want {
			t.Errorf("%v s after a renewal: fresh is %v", s-10, fresh)
		}
	}
	l.begin(Owner{Pod: "a", Epoch: 2})
	if o, fresh := l.writer(at(10)); fresh || o.Epoch != 2 {
		t.Errorf("new life is %v, fresh %v", o, fresh)
	}
	l.renewed(at(20))
	l.leave()
	if _, fresh := l.writer(at(20)); fresh {
		t.Error("fresh after leaving")
	}
}

func TestLeaseGaps(t *testing.T) {
	type renewal struct {
		at      float64
		fails   bool
		gap     bool
		quietAt float64 // when unbroken is called
		quiet   float64 // its result
	}
	for name, renewals := range map[string][]renewal{
		"steady": {
			{at: 0, gap: true, quietAt: 1, quiet: 1},
			{at: 2, quietAt: 3, quiet: 3},
			{at: 7, quietAt: 8, quiet: 8},
		},
		"late": {
			{at: 0, gap: true, quietAt: 6, quiet: 0}, // not fresh any more
			{at: 6, gap: true, quietAt: 7, quiet: 1},
		},
		"failed": {
			{at: 0, gap: true, quietAt: 1, quiet: 1},
			{at: 2, fails: true, quietAt: 2, quiet: 0},
			{at: 3, gap: true, quietAt: 4, quiet: 1},
			{at: 5, quietAt: 6, quiet: 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lease{length: 9 * time.Second}
			for _, r := range renewals {
				if r.fails {
					l.fail()
				} else if gap := l.renewed(at(r.at)); gap != r.gap {
					t.Errorf("renewal at %v: gap is %v", r.at, gap)
				}
				if got := l.unbroken(at(r.quietAt)); got != time.Duration(r.quiet*float64(time.Second)) {
					t.Errorf("at %v: unbroken for %v, want %v s", r.quietAt, got, r.quiet)
				}
			}
		})
	}
}

func TestLeaseWatchRestartsAfterGap(t *testing.T) {
	a, b := Owner{"a", 1}, Owner{"b", 1}
	const pause = 4 * time.Second
	look := func(aAnswers, bAnswers bool) []leaseObservation {
		return []leaseObservation{{owner: a, answered: aAnswers}, {owner: b, answered: bAnswers}}
	}
	var w leaseWatch
	want := func(o Owner, seconds float64) {
		t.Helper()
		if got := w.unbroken(o); got != time.Duration(seconds*float64(time.Second)) {
			t.Errorf("%v: unbroken for %v, want %v s", o, got, seconds)
		}
	}
	w.observe(at(0), pause, look(true, true))
	want(a, 0)
	w.observe(at(3), pause, look(true, true))
	want(a, 3)
	w.observe(at(6), pause, look(true, false)) // the server of b is unreachable
	want(a, 6)
	want(b, 0)
	w.observe(at(9), pause, look(true, true))
	want(a, 9)
	want(b, 0)
	w.observe(at(12), pause, look(true, true))
	want(b, 3)
	w.observe(at(12.5), pause, nil) // the list itself was not answered
	w.observe(at(13), pause, look(true, true))
	want(a, 0)
	w.observe(at(15), pause, look(true, true))
	want(a, 2)
	w.observe(at(20), pause, look(true, true)) // this process stood still
	want(a, 0)
}
