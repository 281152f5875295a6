package gateway

import (
	"context"
	"sync"
	"time"
)

// pingSlots spreads the pings of all sockets over the interval.
const pingSlots = 50

// pinger pings every socket once an interval. One ticker serves all: a timer per socket would cost more
// than the pings.
type pinger struct {
	interval time.Duration
	slots    [pingSlots]pingSlot

	mu   sync.Mutex
	next int // slot of the next socket
}

type pingSlot struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
}

// add gives the socket its slot; leave takes it out again.
func (p *pinger) add(c *conn) (leave func()) {
	p.mu.Lock()
	slot := &p.slots[p.next]
	p.next = (p.next + 1) % pingSlots
	p.mu.Unlock()

	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.conns == nil {
		slot.conns = make(map[*conn]struct{})
	}
	slot.conns[c] = struct{}{}
	return func() {
		slot.mu.Lock()
		defer slot.mu.Unlock()
		delete(slot.conns, c)
	}
}

// run pings until ctx is done.
func (p *pinger) run(ctx context.Context) {
	tick := time.NewTicker(p.interval / pingSlots)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % pingSlots {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.slots[i].ping()
	}
}

func (s *pingSlot) ping() {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.ping() // outside the lock: it may close the socket, which leaves the slot
	}
}
