package socket

import (
	"container/heap"
	"context"
	"net/netip"
	"sync"
	"time"
)

// turns distributes a rate of the pod among the sockets that wait for it. The addresses are served in turn by
// what they were served while sockets waited (start-time fair queueing), so that a client waits for one turn
// of each other address, however many sockets these have. The sockets of one address are served in order.
type turns struct {
	// set once
	since time.Time // of the times in tokens
	rate  tokenRate

	mu      sync.Mutex
	tokens  bucket
	parties map[netip.Addr]*turnParty // those that wait, or are ahead of the others
	order   turnOrder
	at      float64 // start of the last turn, in units of rate; 0 while no socket waits
	waiting int
	timer   *time.Timer // calls serve while sockets wait
}

// turnParty is the sockets of one address.
type turnParty struct {
	key   netip.Addr
	start float64 // of its next turn
	queue []*turn
	index int // in turnOrder
}

// turn is a socket that waits.
type turn struct {
	n      int
	served chan struct{} // closed at its turn
}

func newTurns(since time.Time, r tokenRate) *turns {
	return &turns{since: since, rate: r, parties: make(map[netip.Addr]*turnParty)}
}

// atMost returns n, or as much as can be taken at once.
func (t *turns) atMost(n int) int { return min(n, int(t.rate.burst)) }

// take takes n at once if no socket waits.
func (t *turns) take(now time.Duration, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting == 0 && t.tokens.take(now, t.atMost(n), t.rate) == 0
}

// wait takes n at the address's turn, or fails with ctx. contended reports whether other sockets waited too.
func (t *turns) wait(ctx context.Context, key netip.Addr, n int) (contended bool, err error) {
	w := &turn{n: t.atMost(n), served: make(chan struct{})}
	t.mu.Lock()
	p := t.enqueue(key, w)
	contended = t.waiting > 1
	if t.waiting == 1 {
		t.serve()
	}
	t.mu.Unlock()
	select {
	case <-w.served:
		return contended, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	contended = contended || t.waiting > 1
	for i, other := range p.queue {
		if other == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			t.leave()
			break
		}
	}
	return contended, ctx.Err()
}

// enqueue needs mu.
func (t *turns) enqueue(key netip.Addr, w *turn) *turnParty {
	p := t.parties[key]
	if p == nil {
		p = &turnParty{key: key, start: t.at}
		t.parties[key] = p
		heap.Push(&t.order, p)
	} else if p.start < t.at {
		p.start = t.at
		heap.Fix(&t.order, p.index)
	}
	p.queue = append(p.queue, w)
	t.waiting++
	return p
}

// serve serves the sockets whose turn it is. It needs mu.
func (t *turns) serve() {
	for t.waiting > 0 {
		p := t.order[0]
		if len(p.queue) == 0 { // it is not ahead of the others any more
			t.at = p.start
			heap.Pop(&t.order)
			delete(t.parties, p.key)
			continue
		}
		w := p.queue[0]
		if delay := t.tokens.take(time.Since(t.since), w.n, t.rate); delay > 0 {
			if t.timer != nil {
				t.timer.Stop() // one that leave was too late to stop
			}
			t.timer = time.AfterFunc(delay, func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.serve()
			})
			return
		}
		p.queue = p.queue[1:]
		t.at = p.start
		p.start += float64(w.n)
		heap.Fix(&t.order, p.index)
		close(w.served)
		t.leave()
	}
}

// leave records that a socket does not wait any more. It needs mu.
func (t *turns) leave() {
	if t.waiting--; t.waiting > 0 {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.order, t.at = nil, 0
	clear(t.parties)
}

// turnOrder is a heap of parties by their next turn.
type turnOrder []*turnParty

func (o turnOrder) Len() int { return len(o) }

func (o turnOrder) Less(i, j int) bool { return o[i].start < o[j].start }

func (o turnOrder) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

// Push implements heap.Interface.
func (o *turnOrder) Push(x any) {
	p := x.(*turnParty)
	p.index = len(*o)
	*o = append(*o, p)
}

// Pop implements heap.Interface.
func (o *turnOrder) Pop() any {
	last := len(*o) - 1
	p := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return p
}
