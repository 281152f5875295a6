package gateway

import (
	"context"
	"sync"
	"time"
)

// beatSlots spreads the members of a beat over its interval.
const beatSlots = 50

// beat calls do for every member once an interval, each at a moment of its own in it and evenly spaced. One timer serves all: a
// timer for each would cost more than what most of them do.
type beat[T comparable] struct {
	interval time.Duration
	do       func(T) // must not wait: the others' turn comes after it
	slots    [beatSlots]beatSlot[T]

	mu   sync.Mutex
	next int // slot of the next member
}

type beatSlot[T comparable] struct {
	mu      sync.Mutex
	members map[T]struct{}
}

// add gives the member its slot; leave takes it out again.
func (b *beat[T]) add(member T) (leave func()) {
	b.mu.Lock()
	slot := &b.slots[b.next]
	b.next = (b.next + 1) % beatSlots
	b.mu.Unlock()

	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.members == nil {
		slot.members = make(map[T]struct{})
	}
	slot.members[member] = struct{}{}
	return func() {
		slot.mu.Lock()
		defer slot.mu.Unlock()
		delete(slot.members, member)
	}
}

// run beats until ctx is done. A slot that is late does not make the next ones late: over any time there is one
// beat for each interval, unless the process stood still for longer than one.
func (b *beat[T]) run(ctx context.Context) {
	step := b.interval / beatSlots
	due := time.Now().Add(step)
	timer := time.NewTimer(step)
	defer timer.Stop()
	for i := 0; ; i = (i + 1) % beatSlots {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		b.slots[i].beat(b.do)
		due = due.Add(step)
		if time.Since(due) > b.interval {
			due = time.Now()
		}
		timer.Reset(time.Until(due))
	}
}

func (s *beatSlot[T]) beat(do func(T)) {
	s.mu.Lock()
	members := make([]T, 0, len(s.members))
	for m := range s.members {
		members = append(members, m)
	}
	s.mu.Unlock()
	for _, m := range members {
		do(m) // outside the lock: it may make the member leave
	}
}
