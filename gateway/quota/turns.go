package quota

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// Turns bounds calls that are under way. A party that waits gets its turn before those with more calls under
// way, and after those that waited for longer. One party has at most a quarter of the places, so that calls
// of it that take long leave places for the others. Its methods may be called from any goroutine.
type Turns struct {
	mu      sync.Mutex
	places  int // 0: no limit
	used    int
	parties map[netip.Addr]*turnsOf
	served  uint64 // counts turns
}

// turnsOf is the calls of one party.
type turnsOf struct {
	underWay int
	waiting  []chan struct{} // closed when it is its turn
	served   uint64          // the turn that it had last
}

// NewTurns returns Turns with a number of places; 0 is no limit.
func NewTurns(places int) *Turns {
	return &Turns{places: places, parties: make(map[netip.Addr]*turnsOf)}
}

// Acquire waits for a place for a call of a party. The caller calls release after the call. After an error,
// which is that of ctx, it does not.
func (t *Turns) Acquire(ctx context.Context, address netip.Addr) (release func(), err error) {
	t.mu.Lock()
	p := t.parties[address]
	if p == nil {
		p = &turnsOf{}
		t.parties[address] = p
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	t.next()
	t.mu.Unlock()
	release = sync.OnceFunc(func() { t.release(address) })
	select {
	case <-turn:
		return release, nil
	case <-ctx.Done():
	}
	if t.leave(address, turn) {
		release()
	}
	return func() {}, ctx.Err()
}

// next assigns free places to calls that wait. It needs mu.
func (t *Turns) next() {
	for t.places == 0 || t.used < t.places {
		var first *turnsOf
		for _, p := range t.parties {
			if len(p.waiting) == 0 || t.places > 0 && p.underWay >= max(1, t.places/4) {
				continue
			}
			if first == nil || p.underWay < first.underWay || p.underWay == first.underWay && p.served < first.served {
				first = p
			}
		}
		if first == nil {
			return
		}
		t.used++
		t.served++
		first.served = t.served
		first.underWay++
		close(first.waiting[0])
		first.waiting = first.waiting[1:]
	}
}

func (t *Turns) release(address netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used--
	t.parties[address].underWay--
	t.forget(address)
	t.next()
}

// leave drops a turn that is waited for. It reports whether the turn has come all the same.
func (t *Turns) leave(address netip.Addr, turn chan struct{}) (came bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.parties[address]
	i := slices.Index(p.waiting, turn)
	if i < 0 {
		return true
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	t.forget(address)
	return false
}

// forget drops a party without calls. It needs mu.
func (t *Turns) forget(address netip.Addr) {
	if p := t.parties[address]; p.underWay == 0 && len(p.waiting) == 0 {
		delete(t.parties, address)
	}
}
