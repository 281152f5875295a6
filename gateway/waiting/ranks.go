package waiting

import "net/netip"

// Ranks is two Tables under one limit: things that are worth more are removed only when the table has none
// that are worth less. It is not safe for concurrent use.
type Ranks[V any] struct{ less, more Table[V] }

// Len returns the number of things.
func (r *Ranks[V]) Len() int { return r.less.Len() + r.more.Len() }

// Add is Table.Add. lost can be the new entry: nothing that is worth more makes room for it. A negative most
// admits nothing.
func (r *Ranks[V]) Add(key netip.Addr, v V, worthMore bool, perParty, most int) (e, lost *Entry[V]) {
	t := &r.less
	if worthMore {
		t = &r.more
	}
	e, _ = t.Add(key, v, 0, 0)
	switch {
	case most < 0:
		lost = e
	case perParty > 0 && key.IsValid() && r.less.of(key)+r.more.of(key) > perParty:
		if lost = r.less.oldestOf(key); lost == nil {
			lost = r.more.oldestOf(key)
		}
	case most > 0 && r.Len() > most:
		if lost = r.less.oldestOfLargest(); lost == nil {
			lost = r.more.oldestOfLargest()
		}
	}
	r.Remove(lost)
	return e, lost
}

// Remove removes an entry and reports whether it was there.
func (r *Ranks[V]) Remove(e *Entry[V]) bool {
	if e != nil && e.party != nil && r.less.parties[e.party.key] == e.party {
		return r.less.Remove(e)
	}
	return r.more.Remove(e)
}
