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

func TestGapsAreFoundBetweenRenewals(t *testing.T) {
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

// A lease of 8 s, and a pod that may take over after 13 s of answered looks.
func TestPodIsDeadOnlyAfterAnsweredLooks(t *testing.T) {
	const quiet = 13 * time.Second
	a, b := Owner{"a", 1}, Owner{"b", 1}
	renewed := func(entry string) map[Owner]string { return map[Owner]string{b: entry} }
	missing, unanswered := look{answered: true}, look{}
	type step struct {
		at    float64
		entry string // of b; "": the list is not answered
		look  look   // at the lease of b
		looks bool   // the lease is looked at
		dead  bool   // b is dead
	}
	// b renewed its lease every 2 s, for 20 s.
	steady := func(then ...step) []step {
		var all []step
		for s := range 21 {
			all = append(all, step{at: float64(s), entry: "renewal " + itoa(s/2)})
		}
		return append(all, then...)
	}
	for name, steps := range map[string][]step{
		"living": steady(),
		"dead": steady(
			step{at: 21, entry: "renewal 10"}, step{at: 22, entry: "renewal 10"},
			step{at: 23, entry: "renewal 10", looks: true, look: look{true, 5 * time.Second}},
			step{at: 27, entry: "renewal 10", looks: true, look: look{true, time.Second}},
			step{at: 28, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"slow": steady(
			step{at: 23, entry: "renewal 10", looks: true, look: look{true, 5 * time.Second}},
			step{at: 24, entry: "renewal 11"}, step{at: 26, entry: "renewal 12"},
		),
		"redis lost the lease": steady(
			step{at: 23, entry: "renewal 10", looks: true, look: missing},
			step{at: 26, entry: "renewal 10", looks: true, look: missing},
			step{at: 27.9, entry: "renewal 10", looks: true, look: missing},
			step{at: 28, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"redis lost a lease that was seen": steady(
			step{at: 23, entry: "renewal 10", looks: true, look: look{true, 7 * time.Second}}, // the entry was not written
			step{at: 26, entry: "renewal 10", looks: true, look: missing},
			step{at: 29, entry: "renewal 10", looks: true, look: missing},
			step{at: 30, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"the server of the lease is unreachable": steady(
			step{at: 23, entry: "renewal 10", looks: true, look: unanswered},
			step{at: 26, entry: "renewal 10", looks: true, look: missing},
			step{at: 29, entry: "renewal 10", looks: true, look: missing},
			step{at: 32, entry: "renewal 10", looks: true, look: missing},
			step{at: 35, entry: "renewal 10", looks: true, look: missing},
			step{at: 38.9, entry: "renewal 10", looks: true, look: missing},
			step{at: 39, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"the list is not answered": steady(
			step{at: 21},
			step{at: 22, entry: "renewal 10"},
			step{at: 25, entry: "renewal 10", looks: true, look: missing},
			step{at: 28, entry: "renewal 10", looks: true, look: missing},
			step{at: 31, entry: "renewal 10", looks: true, look: missing},
			step{at: 34, entry: "renewal 10", looks: true, look: missing},
			step{at: 37.9, entry: "renewal 10", looks: true, look: missing},
			step{at: 38, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"this process stood still": steady(
			step{at: 30, entry: "renewal 10"},
			step{at: 33, entry: "renewal 10", looks: true, look: missing},
			step{at: 36, entry: "renewal 10", looks: true, look: missing},
			step{at: 39, entry: "renewal 10", looks: true, look: missing},
			step{at: 42, entry: "renewal 10", looks: true, look: missing},
			step{at: 45.9, entry: "renewal 10", looks: true, look: missing},
			step{at: 46, entry: "renewal 10", looks: true, look: missing, dead: true},
		),
		"the entry changed at some time of a pause": steady(
			step{at: 24, entry: "renewal 11", looks: true, look: unanswered},
			step{at: 27, entry: "renewal 11", looks: true, look: look{true, time.Second}},
			step{at: 29, entry: "renewal 11", looks: true, look: missing},
		),
		"left":              steady(step{at: 20.5, entry: leftEntry, looks: true, look: missing, dead: true}),
		"left, still there": steady(step{at: 20.5, entry: leftEntry, looks: true, look: look{true, time.Second}}),
	} {
		t.Run(name, func(t *testing.T) {
			w := leaseWatch{length: 8 * time.Second}
			for _, s := range steps {
				if s.entry == "" {
					w.restart()
					continue
				}
				w.list(at(s.at), renewed(s.entry))
				if got := len(w.toLookAt(a)) == 1; got != s.looks {
					t.Fatalf("at %v: the lease is looked at: %v", s.at, got)
				}
				if s.looks && w.look(at(s.at), b, s.look, quiet) != s.dead {
					t.Fatalf("at %v: dead is %v", s.at, !s.dead)
				}
			}
		})
	}
}

// However many pods die at once, a pod looks at few leases. A lease that no look reached is not dead.
func TestLeaseWatchLooksAtFewLeases(t *testing.T) {
	w := leaseWatch{length: 8 * time.Second}
	entries := make(map[Owner]string)
	for i := range 100 {
		entries[Owner{"p" + itoa(100+i), 1}] = ""
	}
	self := Owner{"p180", 1}
	var owners []Owner
	for s := range 20 {
		w.list(at(float64(s)), entries)
		owners = w.toLookAt(self)
		for _, o := range owners {
			w.look(at(float64(s)), o, look{answered: true}, time.Hour)
		}
	}
	if len(owners) != maxLooks || owners[0] != self || owners[19].Pod != "p199" || owners[20].Pod != "p100" {
		t.Fatalf("looks at %v", owners)
	}
	if !w.look(at(19), Owner{"p199", 1}, look{answered: true}, 13*time.Second) {
		t.Error("a successor is not dead")
	}
	if w.look(at(19), Owner{"p170", 1}, look{answered: true}, 13*time.Second) {
		t.Error("the first look at a lease finds a dead pod")
	}
}
