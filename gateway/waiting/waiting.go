// Package waiting holds things that wait for something, such as connections for their request, under a limit
// for all of them. A full table does not reject the newcomer: the party that holds most loses its oldest
// thing. One party can therefore not lock out the others. The edge, sockets and sessions use it.
package waiting

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// Table is a set of waiting things by party, which is a client's realip.LimitKey. Clients whose address is
// not known are one party. All methods cost O(log parties). It is not safe for concurrent use.
type Table[V any] struct {
	parties map[netip.Addr]*party[V]
	order   order[V]
	all     int
	clock   uint64
}

// Entry is a thing in a Table.
type Entry[V any] struct {
	Value V

	party *party[V] // nil: removed
	at    *list.Element
	since uint64
}

type party[V any] struct {
	key     netip.Addr
	entries list.List // of *Entry[V], oldest first
	index   int       // in order
}

func (p *party[V]) oldest() *Entry[V] { return p.entries.Front().Value.(*Entry[V]) }

// Len returns the number of things.
func (t *Table[V]) Len() int { return t.all }

// of returns the number of things of a party.
func (t *Table[V]) of(key netip.Addr) int {
	if p := t.parties[key]; p != nil {
		return p.entries.Len()
	}
	return 0
}

// oldestOf returns the oldest entry of a party, nil if it has none.
func (t *Table[V]) oldestOf(key netip.Addr) *Entry[V] {
	if p := t.parties[key]; p != nil {
		return p.oldest()
	}
	return nil
}

// oldestOfLargest returns the oldest entry of the party that holds most, nil if the table is empty.
func (t *Table[V]) oldestOfLargest() *Entry[V] {
	if len(t.order) == 0 {
		return nil
	}
	return t.order[0].oldest()
}

// Add adds a thing and returns its entry. If the party then has more than perParty things, or the table more
// than most, lost is the entry that was removed for it; it can be the new one only if a limit is below 1. A
// limit of 0 is none.
func (t *Table[V]) Add(key netip.Addr, v V, perParty, most int) (e, lost *Entry[V]) {
	p := t.parties[key]
	if p == nil {
		if t.parties == nil {
			t.parties = make(map[netip.Addr]*party[V])
		}
		p = &party[V]{key: key}
		t.parties[key] = p
	}
	t.clock++
	t.all++
	e = &Entry[V]{Value: v, party: p, since: t.clock}
	e.at = p.entries.PushBack(e)
	if p.entries.Len() == 1 {
		heap.Push(&t.order, p)
	} else {
		heap.Fix(&t.order, p.index)
	}
	switch {
	case perParty > 0 && key.IsValid() && p.entries.Len() > perParty:
		lost = t.oldestOf(key)
	case most > 0 && t.all > most:
		lost = t.oldestOfLargest()
	default:
		return e, nil
	}
	t.Remove(lost)
	return e, lost
}

// Remove removes an entry and reports whether it was there.
func (t *Table[V]) Remove(e *Entry[V]) bool {
	if e == nil || e.party == nil {
		return false
	}
	p := e.party
	e.party = nil
	p.entries.Remove(e.at)
	t.all--
	if p.entries.Len() > 0 {
		heap.Fix(&t.order, p.index)
		return true
	}
	heap.Remove(&t.order, p.index)
	delete(t.parties, p.key)
	return true
}

// order is a heap of parties: the one that holds most is first, of equal ones that with the oldest thing.
type order[V any] []*party[V]

func (o order[V]) Len() int { return len(o) }

func (o order[V]) Less(i, j int) bool {
	a, b := o[i], o[j]
	if n, m := a.entries.Len(), b.entries.Len(); n != m {
		return n > m
	}
	return a.oldest().since < b.oldest().since
}

func (o order[V]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

// Push implements heap.Interface.
func (o *order[V]) Push(x any) {
	p := x.(*party[V])
	p.index = len(*o)
	*o = append(*o, p)
}

// Pop implements heap.Interface.
func (o *order[V]) Pop() any {
	last := len(*o) - 1
	p := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return p
}
