package waiting

import "testing"

func TestEntriesOfLowerRankAreEvictedFirst(t *testing.T) {
	var r Ranks[string]
	add := func(party int, v string, worthMore bool, lost string) *Entry[string] {
		t.Helper()
		e, gone := r.Add(address(party), v, worthMore, 3, 4)
		if lost == "" && gone != nil || lost != "" && (gone == nil || gone.Value != lost) {
			t.Errorf("%s: %v lost, want %q", v, gone, lost)
		}
		return e
	}
	first := add(1, "a", true, "")
	add(2, "b", false, "")
	add(2, "c", false, "")
	add(3, "d", false, "")
	add(3, "e", true, "b")  // the party with most entries of the lower rank
	add(1, "f", true, "c")  // the oldest of these
	add(4, "g", true, "d")  // the last
	add(5, "h", false, "h") // no entry of the higher rank is evicted for it
	add(1, "i", true, "a")  // the party that has most
	if r.Len() != 4 || r.Remove(first) || !r.Remove(add(1, "j", true, "f")) {
		t.Errorf("%d things", r.Len())
	}
	if _, lost := r.Add(address(6), "k", true, 0, -1); lost == nil || lost.Value != "k" {
		t.Errorf("%v lost of a table without places", lost)
	}
}
