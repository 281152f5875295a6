package gateway

import "time"

// parcel is messages so large that they would overflow a socket's queue: snapshots. They wait beside it, do not count for it, and are
// written when nothing else is to be.
type parcel struct {
	frames [][]byte
	gone   func() // once, when nothing of it waits any more; it must not block, or call the conn
}

// slowestClient is how many bytes a second a client has to take, besides what it is allowed for any message. Without
// it a client that takes a snapshot as fast as its network lets it would be closed for being slow.
const slowestClient = 128 << 10

// writeLimit is how long the writing of a message may take.
func (c *conn) writeLimit(frame []byte) time.Duration {
	return c.cfg.WriteTimeout + time.Duration(len(frame))*time.Second/slowestClient
}

// sendParcel queues a parcel. It is gone at once if the socket is closing. Whoever sends bounds what waits.
func (c *conn) sendParcel(p *parcel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != nil {
		p.gone()
		return
	}
	c.parcels = append(c.parcels, p)
	c.startWriting()
}

// nextOfParcel gives the next message of a parcel, nil without one. A parcel is gone when its last message was written. It needs mu.
func (c *conn) nextOfParcel() (frame []byte) {
	for len(c.parcels) > 0 {
		if p := c.parcels[0]; len(p.frames) > 0 {
			frame, p.frames = p.frames[0], p.frames[1:]
			return frame
		}
		c.parcels[0].gone()
		c.parcels = c.parcels[1:]
	}
	c.parcels = nil
	return nil
}

// dropParcels needs mu.
func (c *conn) dropParcels() (bytes int) {
	for _, p := range c.parcels {
		for _, f := range p.frames {
			bytes += len(f)
		}
		p.gone()
	}
	c.parcels = nil
	return bytes
}
