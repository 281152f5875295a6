package gateway

import "sync"

// loop runs a session's events one at a time, in the order they were posted. It has
// a goroutine only while there are events: ten thousand idle sessions hold no stacks for it.
type loop struct {
	recovered func(v any) // a panic in an event; the loop goes on with the next

	mu      sync.Mutex
	events  []func()
	running bool
	room    chan struct{} // non-nil while somebody waits for the queue to shrink
}

// maxBacklog is how many events may wait before postWait holds its caller back.
const maxBacklog = 16

// post queues f. It never blocks.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.push(f)
}

func (l *loop) push(f func()) {
	l.events = append(l.events, f)
	if !l.running {
		l.running = true
		go l.run()
	}
}

// postWait queues f once fewer than maxBacklog events wait, which holds back the client's
// socket instead of filling memory. Only the reader may call it: one waiter at a time.
func (l *loop) postWait(f func()) {
	l.mu.Lock()
	for len(l.events) >= maxBacklog {
		room := make(chan struct{})
		l.room = room
		l.mu.Unlock()
		<-room
		l.mu.Lock()
	}
	l.push(f)
	l.mu.Unlock()
}

func (l *loop) run() {
	for {
		f := l.next()
		if f == nil {
			return
		}
		l.one(f)
	}
}

// next takes the first event off the queue; without one the loop's goroutine ends.
func (l *loop) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		l.events, l.running = nil, false
		return nil
	}
	f := l.events[0]
	l.events = l.events[1:]
	if l.room != nil && len(l.events) < maxBacklog {
		close(l.room)
		l.room = nil
	}
	return f
}

func (l *loop) one(f func()) {
	defer func() {
		if v := recover(); v != nil {
			l.recovered(v)
		}
	}()
	f()
}
