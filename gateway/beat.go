package gateway

import (
	"context"
	"sync"
	"time"
)

// beatSlots spreads the members of a beat over its interval.
const beatSlots = 50

// beat calls do for every member once an interval, each at a moment of its own in it and evenly spaced. One timer serves all: a
// timer for each would cost more than what most of them do. Without members it rests.
type beat[T comparable] struct {
	interval time.Duration
	do       func(T) // must not wait: the others' turn comes after it

	mu      sync.Mutex
	slots   [beatSlots]map[T]time.Time // members, and from when on it is their turn
	members int
	resting chan struct{} // closed when there is a member; nil while there are some
	next    int           // slot of the next member
	last    int           // slot that was the last to beat
	lastAt  time.Time     // when it was due
}

// add gives the member its slot; leave takes it out again.
func (b *beat[T]) add(member T) (leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = (b.next + 1) % beatSlots
	return b.enter(b.next, member, time.Time{})
}

// addIn is add for a member that has its first beat after d, which is less than two intervals, to the nearest slot.
func (b *beat[T]) addIn(member T, d time.Duration) (leave func()) {
	step, now := b.step(), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	ahead := (now.Sub(b.lastAt)%b.interval + d + step/2) / step
	return b.enter((b.last+int(ahead))%beatSlots, member, now.Add(d/2)) // not the slot's turn before that
}

func (b *beat[T]) step() time.Duration { return b.interval / beatSlots }

// enter needs mu.
func (b *beat[T]) enter(slot int, member T, from time.Time) (leave func()) {
	if b.slots[slot] == nil {
		b.slots[slot] = make(map[T]time.Time)
	}
	b.slots[slot][member] = from
	b.members++
	if b.resting != nil {
		close(b.resting)
		b.resting = nil
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.slots[slot], member)
		b.members--
	}
}

// run beats until ctx is done. A slot that is late does not make the next ones late: over any time there is one
// beat for each interval, unless the process stood still for longer than one.
func (b *beat[T]) run(ctx context.Context) {
	step, due := b.step(), time.Now()
	b.turn(0, due) // from here all slots are counted
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 1; ; i++ {
		patience := b.interval
		if rest := b.rest(); rest != nil {
			select {
			case <-ctx.Done():
				return
			case <-rest:
				patience = 0
			}
		}
		due = due.Add(step)
		if late := time.Since(due); late > patience { // turns that nobody missed, or that are too late now
			due = due.Add(late / step * step)
			i += int(late / step)
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for _, m := range b.turn(i%beatSlots, due) {
			b.do(m) // may make the member leave
		}
	}
}

// rest gives what to wait for while there are no members, nil if there are some.
func (b *beat[T]) rest() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members == 0 && b.resting == nil {
		b.resting = make(chan struct{})
	}
	return b.resting
}

// turn gives the members of a slot whose turn it is.
func (b *beat[T]) turn(slot int, due time.Time) []T {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.lastAt = slot, due
	members := make([]T, 0, len(b.slots[slot]))
	for m, from := range b.slots[slot] {
		if now.After(from) {
			members = append(members, m)
		}
	}
	return members
}
