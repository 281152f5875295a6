package hooks

import "sync"

const defaultMaxQueued = 64

// Line runs functions one at a time in the order they were given: a session's calls of its backend. It has a goroutine
// only while there is something to run. The zero Line is ready; it must not be copied.
type Line struct {
	Max int // functions that may wait, not counting the one that runs; 0: 64. Set before the first Do

	mu      sync.Mutex
	queue   []func()
	running bool
}

// Do runs f after all that was given before, and does not wait for it. It is false, and f will not be run, if too many
// wait already.
func (l *Line) Do(f func()) bool {
	limit := l.Max
	orDefault(&limit, defaultMaxQueued)
	return l.DoWithin(limit, f)
}

// DoWithin is Do with another limit than Max: what may be left out gives way to what may not.
func (l *Line) DoWithin(limit int, f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		l.running = true
		go l.run(f)
		return true
	}
	if len(l.queue) >= limit {
		return false
	}
	l.queue = append(l.queue, f)
	return true
}

func (l *Line) run(f func()) {
	for f != nil {
		f()
		f = l.next()
	}
}

// next takes the first function off the queue; without one the goroutine ends.
func (l *Line) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue, l.running = nil, false
		return nil
	}
	f := l.queue[0]
	l.queue = l.queue[1:]
	return f
}
