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

	mu     sync.Mutex
	next   int // slot of the next member
	last   int // slot that was the last to beat
	lastAt time.Time
}

type beatSlot[T comparable] struct {
	mu      sync.Mutex
	members map[T]time.Time // from when on
}

// add gives the member its slot; leave takes it out again.
func (b *beat[T]) add(member T) (leave func()) {
	b.mu.Lock()
	slot := &b.slots[b.next]
	b.next = (b.next + 1) % beatSlots
	b.mu.Unlock()
	return slot.add(member, time.Time{})
}

// addIn is add for a member that has its first beat after d, which is less than two intervals, to the nearest slot. It is for
// when the beat is running.
func (b *beat[T]) addIn(member T, d time.Duration) (leave func()) {
	step, now := b.interval/beatSlots, time.Now()
	b.mu.Lock()
	ahead := (now.Sub(b.lastAt) + d + step/2) / step
	slot := &b.slots[(b.last+int(ahead))%beatSlots]
	b.mu.Unlock()
	return slot.add(member, now.Add(d/2)) // not the slot's turn before that
}

func (slot *beatSlot[T]) add(member T, from time.Time) (leave func()) {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.members == nil {
		slot.members = make(map[T]time.Time)
	}
	slot.members[member] = from
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
	due := time.Now()
	b.mu.Lock()
	b.last, b.lastAt = beatSlots-1, due
	b.mu.Unlock()
	due = due.Add(step)
	timer := time.NewTimer(step)
	defer timer.Stop()
	for i := 0; ; i = (i + 1) % beatSlots {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		b.mu.Lock()
		b.last, b.lastAt = i, due
		b.mu.Unlock()
		b.slots[i].beat(b.do)
		due = due.Add(step)
		if time.Since(due) > b.interval {
			due = time.Now()
		}
		timer.Reset(time.Until(due))
	}
}

func (slot *beatSlot[T]) beat(do func(T)) {
	now := time.Now()
	slot.mu.Lock()
	members := make([]T, 0, len(slot.members))
	for m, from := range slot.members {
		if now.After(from) {
			members = append(members, m)
		}
	}
	slot.mu.Unlock()
	for _, m := range members {
		do(m) // outside the lock: it may make the member leave
	}
}
