package waiting

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// The table is compared with a list that is searched.
func TestPartyThatHoldsMostLosesItsOldest(t *testing.T) {
	type thing struct {
		entry *Entry[int]
		party int
	}
	const limit, perParty = 20, 15
	r := rand.New(rand.NewPCG(1, 7))
	var table Table[int]
	var things []thing // oldest first
	for i := range 20_000 {
		if len(things) > 0 && r.IntN(3) == 0 {
			at := r.IntN(len(things))
			if !table.Remove(things[at].entry) || table.Remove(things[at].entry) {
				t.Fatal("an entry is removed never or twice")
			}
			things = slices.Delete(things, at, at+1)
			continue
		}
		p := r.IntN(1 + r.IntN(6))
		e, lost := table.Add(address(p), i, perParty, limit)
		things = append(things, thing{e, p})
		held := make(map[int]int)
		for _, th := range things {
			held[th.party]++
		}
		want := -1
		switch {
		case held[p] > perParty:
			want = slices.IndexFunc(things, func(th thing) bool { return th.party == p })
		case len(things) > limit:
			most := 0
			for _, n := range held {
				most = max(most, n)
			}
			want = slices.IndexFunc(things, func(th thing) bool { return held[th.party] == most })
		}
		if want < 0 != (lost == nil) || lost != nil && lost != things[want].entry {
			t.Fatalf("step %d: lost %v, want entry %d of %v", i, lost, want, held)
		}
		if lost != nil {
			things = slices.Delete(things, want, want+1)
		}
		left := 0
		for _, th := range things {
			if th.party == p {
				left++
			}
		}
		if table.Len() != len(things) || table.of(address(p)) != left || len(table.order) != len(table.parties) {
			t.Fatalf("step %d: %d things, %d of the party, want %d and %d", i, table.Len(), table.of(address(p)), len(things), left)
		}
	}
}
