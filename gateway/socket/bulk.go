package socket

import "time"

// Bulk is messages that together are too large for a socket's queue, such as a snapshot. They wait beside the
// queue, are not counted in it, and are written only while the queue is empty.
type Bulk struct {
	Frames [][]byte
	Done   func() // called once, when no frame waits any more; must not block or call the Conn
}

// slowestClient is the rate in bytes per second at which a client must read, in addition to the time for any
// message. Without it, a client that reads a snapshot as fast as its network allows would be closed as slow.
const slowestClient = 128 << 10

// writeLimit returns the time that the write of a frame can take. While the network's buffers can be full of
// what other clients caused, only unanswered pings show that the client is gone. It needs mu.
func (c *Conn) writeLimit(frame []byte) time.Duration {
	limit := c.cfg.WriteTimeout
	if unread := c.cfg.DetectionTime(); time.Since(c.othersAt) < unread {
		limit = max(limit, unread)
	}
	return limit + time.Duration(len(frame))*time.Second/slowestClient
}

// SendBulk queues b. If the socket is closing, b is done at once. The caller bounds the bytes that wait.
func (c *Conn) SendBulk(b *Bulk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != nil {
		b.Done()
		return
	}
	c.bulks = append(c.bulks, b)
	c.startWriting()
}

// nextBulk returns the next bulk frame, nil if there is none. A Bulk is done after its last frame was
// written. It needs mu.
func (c *Conn) nextBulk() (frame []byte) {
	for len(c.bulks) > 0 {
		if b := c.bulks[0]; len(b.Frames) > 0 {
			frame, b.Frames = b.Frames[0], b.Frames[1:]
			return frame
		}
		c.bulks[0].Done()
		c.bulks = c.bulks[1:]
	}
	c.bulks = nil
	return nil
}

// dropBulks needs mu.
func (c *Conn) dropBulks() (bytes int) {
	for _, b := range c.bulks {
		for _, f := range b.Frames {
			bytes += len(f)
		}
		b.Done()
	}
	c.bulks = nil
	return bytes
}
