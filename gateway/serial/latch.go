package serial

import "sync"

// Latch is an event that happens once. It has a channel only if Done is called before, which most latches of
// ten thousand sessions do not need. The zero value is ready for use. Its methods may be called from any
// goroutine.
type Latch struct {
	mu       sync.Mutex
	done     chan struct{} // nil until Done is called
	released bool
}

// Release causes the event. It can be repeated.
func (l *Latch) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.released && l.done != nil {
		close(l.done)
	}
	l.released = true
}

// Done returns a channel that is closed when the event has happened.
func (l *Latch) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.released {
			close(l.done)
		}
	}
	return l.done
}
