package gateway

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/translate/wcs"
)

// ConnConfig bounds what one client's socket may cost.
type ConnConfig struct {
	HelloTimeout     time.Duration // from the upgrade to the connection command
	WriteTimeout     time.Duration // for one message
	MaxMessageBytes  int64         // of a client's message
	MaxQueueBytes    int           // outbound
	MaxQueueMessages int           // outbound
	PingInterval     time.Duration
	PingProbes       int // unanswered pings that close the socket
}

// DetectionTime returns how long a socket can be dead before the gateway closes it.
func (c ConnConfig) DetectionTime() time.Duration {
	return c.PingInterval * time.Duration(c.PingProbes+1)
}

// lingerTime is how long a socket that we close is still read, so that the client gets
// what was sent before the TCP connection is gone.
const lingerTime = time.Second

// conn is one client's socket. send and close may be called from any goroutine and never block.
type conn struct {
	// set once
	ws        *websocket.Conn
	cfg       *ConnConfig
	onMessage func([]byte)      // by the reader, in order
	onClose   func(closeReason) // once, as soon as the end is decided
	dropped   func(bytes int)   // messages that never went out
	guard     *guard            // nil: nothing is counted

	unanswered atomic.Int32 // pings since the last pong

	mu      sync.Mutex
	queue   [][]byte
	bytes   int // in queue
	parcels []*parcel
	writing bool
	closing *closeReason
	heard   []chan struct{} // closed at the next frame of the client
	pinged  int64           // Unix nanoseconds: when that was last asked for
}

var (
	pingFrame = wcs.Ping()
	pongFrame = []byte(`{"message":"pong","data":[null]}`) // as every SDK sends it (protocol.md §1.4)
)

// read is the goroutine of the connection. It ends when the socket is closed by either side.
func (c *conn) read() {
	c.ws.SetReadLimit(c.cfg.MaxMessageBytes)
	_ = c.ws.SetReadDeadline(time.Now().Add(c.cfg.HelloTimeout)) // fails only on a dead socket, which the read reports
	c.ws.SetPongHandler(func(string) error {
		c.hear()
		return c.guard.countMessage()
	})
	c.ws.SetPingHandler(c.controlPing)
	for {
		typ, frame, err := c.ws.ReadMessage()
		if err == nil {
			err = c.guard.countMessage()
		}
		if err != nil {
			reason := readFault(err)
			c.close(reason)
			if reason.ours() {
				return // the client is told why before the socket is closed; nothing more is read
			}
			break
		}
		c.hear()
		if c.ended() {
			continue // lingering: nothing is acted on any more
		}
		switch {
		case typ != websocket.TextMessage:
			c.close(closedBinary)
		case bytes.Equal(frame, pongFrame):
			c.pong()
		default:
			c.onMessage(frame)
		}
	}
	_ = c.ws.Close() // it is over either way
}

func readFault(err error) closeReason {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure: // gorilla's word for a plain EOF
		return closedByClient
	case errors.Is(err, websocket.ErrReadLimit):
		return closedTooBig
	case errors.Is(err, os.ErrDeadlineExceeded):
		return closedHello
	case errors.Is(err, errTooManyMessages):
		return closedTooManyMessages
	case errors.Is(err, errTooManyBytes):
		return closedTooManyBytes
	}
	return closedLost
}

// controlPing answers an RFC 6455 ping. Each is a write, so that they count as messages do.
func (c *conn) controlPing(data string) error {
	c.hear()
	if err := c.guard.countMessage(); err != nil {
		return err
	}
	_ = c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second)) // a dead socket is found out by reading
	return nil
}

// greeted lifts HelloTimeout: the client has said who it is.
func (c *conn) greeted() {
	_ = c.ws.SetReadDeadline(time.Time{}) // fails only on a dead socket, which the read reports
	if c.guard != nil {
		c.guard.settle()
	}
}

func (c *conn) pong() { c.unanswered.Store(0) }

// ping sends the JSON ping, or closes the socket when too many have gone unanswered.
func (c *conn) ping() {
	if int(c.unanswered.Load()) >= c.cfg.PingProbes {
		c.close(closedPingTimeout)
		return
	}
	c.unanswered.Add(1)
	c.send(pingFrame)
}

// send queues a message. A client that does not read fast enough for its queue is closed, alone.
func (c *conn) send(frame []byte) {
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return
	}
	if len(c.queue) >= c.cfg.MaxQueueMessages || c.bytes+len(frame) > c.cfg.MaxQueueBytes {
		c.mu.Unlock()
		c.close(closedSlow)
		return
	}
	c.push(frame)
	c.mu.Unlock()
}

// offer queues what another client says, for as long as that takes no more than half of the queue. It tells whether it did. Nobody can have
// a client closed by sending it more than it can read.
func (c *conn) offer(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := len(c.queue), c.bytes+len(frame)
	if c.closing != nil || size > c.cfg.MaxQueueBytes || n > 0 && (n >= c.cfg.MaxQueueMessages/2 || size > c.cfg.MaxQueueBytes/2) {
		return false
	}
	c.push(frame)
	return true
}

// push needs mu.
func (c *conn) push(frame []byte) {
	c.queue = append(c.queue, frame)
	c.bytes += len(frame)
	c.startWriting()
}

// startWriting needs mu.
func (c *conn) startWriting() {
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// close decides the end: what is queued still goes out, then a close frame, then the socket is read for
// lingerTime so that the client gets it all. A client that is closed for reading too slowly gets nothing more.
func (c *conn) close(r closeReason) {
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return
	}
	c.closing = &r
	lost := c.dropParcels()
	if r == closedSlow || r == closedLost {
		lost += c.bytes
		c.queue, c.bytes = nil, 0
	}
	if r != closedSlow {
		c.startWriting()
	}
	c.mu.Unlock()
	if r == closedSlow {
		_ = c.ws.Close() // also ends a write that hangs
	}
	c.dropped(lost)
	c.onClose(r)
}

// aliveEvery is the least time between two pings of alive: others can have it asked as often as they like, and the answers count as
// the client's messages.
const aliveEvery = 250 * time.Millisecond

// alive tells whether the client still answers. An RFC 6455 ping is sent, which browsers answer by themselves, even
// while the page's script is busy; any frame counts. Who asks meanwhile waits for the same answer.
func (c *conn) alive(limit time.Duration) bool {
	heard := make(chan struct{})
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return false
	}
	c.heard = append(c.heard, heard)
	if len(c.heard) == 1 {
		now := time.Now()
		wait := max(0, time.Unix(0, c.pinged).Add(aliveEvery).Sub(now))
		c.pinged = now.Add(wait).UnixNano()
		time.AfterFunc(wait, func() {
			_ = c.ws.WriteControl(websocket.PingMessage, nil, now.Add(limit)) // waits for a write that hangs; then the answer is no
		})
	}
	c.mu.Unlock()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-heard:
		return true
	case <-timeout.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = slices.DeleteFunc(c.heard, func(h chan struct{}) bool { return h == heard })
	return c.writing && c.closing == nil // it is slow, and the ping waits, too: the deadline of the write decides
}

// hear notes that the client has sent something.
func (c *conn) hear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.heard {
		close(h)
	}
	c.heard = nil
}

func (c *conn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != nil
}

// write is a goroutine that lives while there is something to send.
func (c *conn) write() {
	for {
		frame, closing := c.next()
		if frame == nil {
			if closing != nil {
				c.sayGoodbye(*closing)
			}
			return
		}
		_ = c.ws.SetWriteDeadline(time.Now().Add(c.writeLimit(frame))) // fails only on a dead socket, which the write reports
		if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
			c.writeFailed(err)
			return
		}
	}
}

// next takes a message off the queue. Without one the goroutine of write ends.
func (c *conn) next() (frame []byte, closing *closeReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		if frame = c.nextOfParcel(); frame != nil {
			return frame, nil
		}
		c.queue, c.writing = nil, false
		return nil, c.closing
	}
	frame = c.queue[0]
	c.queue = c.queue[1:]
	c.bytes -= len(frame)
	return frame, nil
}

func (c *conn) writeFailed(err error) {
	reason := closedLost
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason = closedSlow
	}
	c.close(reason)
	_ = c.ws.Close() // the reader ends with it
}

func (c *conn) sayGoodbye(r closeReason) {
	time.AfterFunc(lingerTime, func() { _ = c.ws.Close() }) // ends the reader, unless the client was faster
	code := r.code
	if code == websocket.CloseAbnormalClosure { // must not be sent (RFC 6455 §7.4.1)
		code = websocket.CloseNoStatusReceived
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, r.name), time.Now().Add(lingerTime)) // the client may be gone
}
