// Package serial runs functions one at a time. Sessions use it as their event loop, and for the calls to
// their application's backend.
package serial

import "sync"

// maxWaiting is the number of waiting functions from which on PostWait blocks.
const maxWaiting = 16

// Executor runs functions one at a time, in the order in which they were queued. It has a goroutine only
// while there are functions to run, so ten thousand idle sessions need no stacks for it. The zero value is
// ready to use. It must not be copied. Its methods may be called from any goroutine, also by the functions
// that it runs.
type Executor struct {
	// Recovered is called with the value of a panic in a function; the next function runs after it. If Recovered
	// is nil, panics are not recovered. It is set before the first function is queued.
	Recovered func(v any)

	// guarded by mu
	mu      sync.Mutex
	queue   []func() // without the one that runs
	running bool
	room    sync.Cond // the queue has shrunk; its locker is set by PostWait
}

// Post queues f. It never blocks.
func (e *Executor) Post(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.push(f)
}

// TryPost queues f unless limit or more functions wait, not counting the one that runs. It reports whether f
// was queued. It never blocks.
func (e *Executor) TryPost(f func(), limit int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running && len(e.queue) >= limit {
		return false
	}
	e.push(f)
	return true
}

// PostWait queues f as soon as fewer than maxWaiting functions wait. A session's reader blocks in it, which
// slows down the client instead of filling memory. Only one goroutine may call it, and not a function that e
// runs.
func (e *Executor) PostWait(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.room.L = &e.mu
	for len(e.queue) >= maxWaiting {
		e.room.Wait()
	}
	e.push(f)
}

// push needs mu.
func (e *Executor) push(f func()) {
	if e.running {
		e.queue = append(e.queue, f)
		return
	}
	e.running = true
	go e.run(f)
}

func (e *Executor) run(f func()) {
	for f != nil {
		e.runOne(f)
		f = e.next()
	}
}

// next takes the first function off the queue. It returns nil if there is none, and the goroutine ends.
func (e *Executor) next() func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		e.queue, e.running = nil, false
		return nil
	}
	f := e.queue[0]
	e.queue = e.queue[1:]
	e.room.Signal()
	return f
}

func (e *Executor) runOne(f func()) {
	if e.Recovered != nil {
		defer func() {
			if v := recover(); v != nil {
				e.Recovered(v)
			}
		}()
	}
	f()
}
