// Package wheel spreads periodic work of many members evenly over time with a single timer. It knows nothing
// of what the members are; sockets, rooms and video rates use it.
package wheel

import (
	"context"
	"sync"
	"time"
)

// Slots is the number of slots into which a wheel divides its interval.
const Slots = 50

// Wheel is a one-level timing wheel: it calls a function for every member once per interval, spread evenly
// over Slots slots. One timer serves all members: a timer for each would cost more than most of the calls.
// The timer is stopped while the wheel is empty. Add, AddIn and the functions they return may be called from
// any goroutine.
type Wheel[T comparable] struct {
	// set once
	interval time.Duration
	do       func(T)
	since    time.Time // of the times in slots

	// guarded by mu
	mu      sync.Mutex
	slots   [Slots]map[T]time.Duration // members, and the time from which they are due
	members int
	idle    chan struct{} // closed when the wheel gets a member; nil while it has some
	next    int           // slot of the next member
	last    int           // slot of the last tick
	lastAt  time.Time     // when that tick was due
}

// New returns a wheel that calls do for every member once per interval while Run runs. The calls are made one
// after the other, so do must not block. It may remove its member.
func New[T comparable](interval time.Duration, do func(T)) *Wheel[T] {
	return &Wheel[T]{interval: interval, do: do, since: time.Now()}
}

// Add adds a member in the next slot and returns a function that removes it. remove must be called once.
func (w *Wheel[T]) Add(member T) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = (w.next + 1) % Slots
	return w.insert(w.next, member, -1)
}

// AddIn adds a member whose first call comes after d, rounded to the nearest slot. d must be less than two
// intervals. remove must be called once.
func (w *Wheel[T]) AddIn(member T, d time.Duration) (remove func()) {
	step, now := w.step(), time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	ahead := (now.Sub(w.lastAt)%w.interval + d + step/2) / step
	return w.insert((w.last+int(ahead))%Slots, member, now.Add(d/2).Sub(w.since)) // skips a tick of the slot before that
}

func (w *Wheel[T]) step() time.Duration { return w.interval / Slots }

// insert needs mu.
func (w *Wheel[T]) insert(slot int, member T, from time.Duration) (remove func()) {
	if w.slots[slot] == nil {
		w.slots[slot] = make(map[T]time.Duration)
	}
	w.slots[slot][member] = from
	w.members++
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.slots[slot], member)
		w.members--
	}
}

// Run ticks until ctx is done. A late tick does not delay the next ones: every interval has one call per
// member, unless the process stood still for longer than an interval.
func (w *Wheel[T]) Run(ctx context.Context) {
	step, due := w.step(), time.Now()
	w.tick(0, due) // the first slot; the others follow from it
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 1; ; i++ {
		tolerance := w.interval
		if added := w.untilAdded(); added != nil {
			select {
			case <-ctx.Done():
				return
			case <-added:
				tolerance = 0
			}
		}
		due = due.Add(step)
		if late := time.Since(due); late > tolerance { // skips the ticks of an empty wheel or of a standstill
			due = due.Add(late / step * step)
			i += int(late / step)
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for _, m := range w.tick(i%Slots, due) {
			w.do(m)
		}
	}
}

// untilAdded returns a channel that is closed when an empty wheel gets a member, nil if it has members.
func (w *Wheel[T]) untilAdded() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.members == 0 && w.idle == nil {
		w.idle = make(chan struct{})
	}
	return w.idle
}

// tick returns the members of a slot that are due.
func (w *Wheel[T]) tick(slot int, due time.Time) []T {
	now := time.Since(w.since)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.lastAt = slot, due
	members := make([]T, 0, len(w.slots[slot]))
	for m, from := range w.slots[slot] {
		if now > from {
			members = append(members, m)
		}
	}
	return members
}
