package gateway

// mark is a place in a socket's queue.
type mark struct {
	ahead   int // messages that are to be taken off the queue before
	written func()
}

// whenWritten calls f by the writer as soon as all that is queued by now is written, and never if it never is. f must not block, or
// call the conn.
func (c *conn) whenWritten(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing != nil:
	case c.writing:
		c.marks = append(c.marks, mark{len(c.queue), f})
	default: // the writer was faster
		f()
	}
}

// passMarks notes that what was taken off the queue is written, and that a message more is taken if there is one. It needs mu.
func (c *conn) passMarks() {
	for len(c.marks) > 0 && c.marks[0].ahead == 0 {
		c.marks[0].written()
		c.marks = c.marks[1:]
	}
	if len(c.marks) == 0 {
		c.marks = nil
	}
	for i := range c.marks {
		c.marks[i].ahead--
	}
}
