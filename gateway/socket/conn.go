// Package socket owns a client's WebSocket: its reader, its writer with a bounded send queue, pings, and the
// limits on connections and rates. It knows nothing of sessions. The edge admits and upgrades sockets; a
// session sends on its Conn and receives messages through Handlers.
package socket

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

// Config bounds what one client's socket can cost.
type Config struct {
	HelloTimeout     time.Duration // from the upgrade to the connection command
	WriteTimeout     time.Duration // for one message
	MaxMessageBytes  int64         // of a client's message
	MaxQueueBytes    int           // outbound
	MaxQueueMessages int           // outbound
	PingInterval     time.Duration
	PingProbes       int // unanswered pings that close the socket
}

// DetectionTime returns how long a socket can be dead before the gateway closes it.
func (c Config) DetectionTime() time.Duration {
	return c.PingInterval * time.Duration(c.PingProbes+1)
}

// lingerTime is how long a closing socket is still read, so that the client receives all messages before the
// TCP connection ends.
const lingerTime = time.Second

// Handlers are called by a Conn. They must not block for long, except OnMessage, which slows down the client.
type Handlers interface {
	OnMessage([]byte)    // on the reader's goroutine, in order
	OnClose(Reason)      // once, as soon as the end is decided
	OnDrained()          // the queue is empty, after HasRoom returned false; must not call the Conn
	OnDropped(bytes int) // messages that were never sent
}

// Conn is one client's socket. Its methods may be called from any goroutine and, except Serve and Alive,
// never block.
type Conn struct {
	// set once
	ws      *websocket.Conn
	cfg     *Config
	metered *MeteredConn // nil: nothing is counted
	Handlers

	// guarded by mu
	mu          sync.Mutex
	queue       []queued
	own, others load // in queue
	bulks       []*Bulk
	othersAt    time.Time // when the last frame of others was written
	alive       *aliveProbe
	closing     *Reason
	drain       bool // OnDrained is due when the queue is empty
	writing     bool
	split       bool // a frame is written in part
	controls    int8 // control frames that are being written

	unanswered atomic.Int32 // pings since the last pong; here, because the struct is smaller than elsewhere
}

// aliveProbe is what Alive needs. Few sockets have one.
type aliveProbe struct {
	waiters []chan struct{} // closed at the next frame of the client
	last    time.Time       // of the last ping; monotonic, so that a clock set back delays no ping
}

// queued is a frame that waits.
type queued struct {
	frame  []byte
	others bool // other clients caused it
	rest   bool // frame is the end of frames that are written in part, with headers
}

// load is the size of frames that wait.
type load struct{ messages, bytes int }

func (l *load) add(messages, bytes int) { l.messages, l.bytes = l.messages+messages, l.bytes+bytes }

// New returns the Conn of an upgraded WebSocket. The caller runs Serve in a goroutine. A nil metered counts
// nothing.
func New(ws *websocket.Conn, cfg *Config, metered *MeteredConn, h Handlers) *Conn {
	return &Conn{ws: ws, cfg: cfg, metered: metered, Handlers: h}
}

var (
	// PingFrame is the JSON ping.
	PingFrame = wcs.Ping()
	pongFrame = []byte(`{"message":"pong","data":[null]}`) // as every SDK sends it
)

// Serve reads until the socket is closed by either side. first is a message that First has read, nil if none.
func (c *Conn) Serve(first []byte) {
	c.ws.SetReadLimit(c.cfg.MaxMessageBytes)
	_ = c.ws.SetReadDeadline(time.Now().Add(c.cfg.HelloTimeout)) // fails only on a dead socket, which the read reports
	c.ws.SetPongHandler(func(string) error {
		c.markAlive()
		return c.metered.CountMessage()
	})
	c.ws.SetPingHandler(c.controlPing)
	c.ws.SetCloseHandler(func(code int, _ string) error {
		c.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
		return nil
	})
	if first != nil {
		c.OnMessage(first)
	}
	for {
		typ, frame, err := readMessage(c.ws)
		if err == nil && !c.answersPing(frame) {
			err = c.metered.CountMessage()
		}
		if err != nil {
			reason := ReadFault(err)
			c.Close(reason)
			if reason.byGateway() {
				return // write sends the close frame and closes the socket; nothing more is read
			}
			break
		}
		if ended := c.markAlive(); ended {
			continue // lingering: messages are ignored
		}
		switch {
		case typ != websocket.TextMessage:
			c.Close(ClosedBinary)
		case !bytes.Equal(frame, pongFrame):
			c.OnMessage(frame)
		}
	}
	_ = c.ws.Close() // ended either way
}

// Owe counts work for the client that takes as long as a number of messages. Its next messages count as more
// than one until that is settled: in a burst they wait longer for their turn (docs/security.md).
func (c *Conn) Owe(messages int32) {
	if c.metered != nil {
		c.metered.owed.Add(messages)
	}
}

// ReadFault returns why a socket ends whose read failed with err.
func ReadFault(err error) Reason {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure: // gorilla's code for a plain EOF
		return ClosedByClient
	case errors.Is(err, websocket.ErrReadLimit):
		return ClosedTooBig
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ClosedHello
	case errors.Is(err, errTooManyMessages):
		return ClosedTooManyMessages
	case errors.Is(err, errTooManyBytes):
		return ClosedTooManyBytes
	case errors.Is(err, errExcess):
		return ClosedExcess
	}
	return ClosedLost
}

// controlPing answers an RFC 6455 ping. Pings count as messages, because each causes a write.
func (c *Conn) controlPing(data string) error {
	c.markAlive()
	if err := c.metered.CountMessage(); err != nil {
		return err
	}
	c.control(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
	return nil
}

// control writes a control frame, unless a client that reads slowly has a part of a frame. Its fault is not
// reported: the read reports a dead socket.
func (c *Conn) control(kind int, data []byte, deadline time.Time) {
	c.mu.Lock()
	if c.split {
		c.mu.Unlock()
		return
	}
	c.controls++
	c.mu.Unlock()
	_ = c.ws.WriteControl(kind, data, deadline)
	c.mu.Lock()
	c.controls--
	c.mu.Unlock()
}

// Established lifts HelloTimeout: the client sent its connection command.
func (c *Conn) Established() {
	_ = c.ws.SetReadDeadline(time.Time{}) // fails only on a dead socket, which the read reports
	if c.metered != nil {
		c.metered.Established()
	}
}

// Pong records a JSON pong.
func (c *Conn) Pong() { c.unanswered.Store(0) }

// answersPing records a JSON pong, and reports whether it answers a ping. Such a pong does not count as a
// message: the pings of a pod are sent in groups, whose answers would be read in turn.
func (c *Conn) answersPing(frame []byte) bool {
	return bytes.Equal(frame, pongFrame) && c.unanswered.Swap(0) > 0
}

// Ping sends the JSON ping, or closes the socket when too many pings are unanswered.
func (c *Conn) Ping() {
	if int(c.unanswered.Load()) >= c.cfg.PingProbes {
		c.Close(ClosedPingTimeout)
		return
	}
	c.unanswered.Add(1)
	c.Send(PingFrame)
}

// Send queues frames that the client caused, as one write if possible. If such frames fill the queue, the
// client is too slow and the socket is closed.
func (c *Conn) Send(frames ...[]byte) {
	size := sizeOf(frames)
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return
	}
	if c.own.messages >= c.cfg.MaxQueueMessages || c.own.bytes+size > c.cfg.MaxQueueBytes {
		c.mu.Unlock()
		c.Close(ClosedSlow)
		return
	}
	c.push(frames, size, false)
	c.mu.Unlock()
}

func sizeOf(frames [][]byte) (bytes int) {
	for _, f := range frames {
		bytes += len(f)
	}
	return bytes
}

// What other clients cause never closes the socket: a message is dropped for a slow client (TrySend), and a
// state is sent when the queue has drained (HasRoom, SendState).

// TrySend queues a message of another client and reports whether it was accepted. It is not if the message
// would use more than half of the queue.
func (c *Conn) TrySend(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != nil || len(frame) > c.cfg.MaxQueueBytes || len(c.queue) > 0 && !c.fits(1, len(frame)) {
		return false
	}
	c.push([][]byte{frame}, len(frame), true)
	return true
}

// HasRoom reports whether at most half of the queue is used. If it returns false, OnDrained is called when
// the queue is empty.
func (c *Conn) HasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != nil {
		return false
	}
	room := len(c.queue) == 0 || c.fits(0, 0)
	c.drain = c.drain || !room
	return room
}

// SendState queues a part of a state that other clients changed. It is always accepted: the caller has asked
// HasRoom, and the size of one state is bounded.
func (c *Conn) SendState(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.push([][]byte{frame}, len(frame), true)
	}
}

// fits reports whether the queue has at most half of its limits with the given addition. It needs mu.
func (c *Conn) fits(messages, bytes int) bool {
	return len(c.queue)+messages <= c.cfg.MaxQueueMessages/2 && c.own.bytes+c.others.bytes+bytes <= c.cfg.MaxQueueBytes/2
}

// push needs mu.
func (c *Conn) push(frames [][]byte, size int, others bool) {
	if c.sendNow(frames, size, others) {
		return
	}
	for _, f := range frames {
		c.enqueue(queued{frame: f, others: others})
	}
}

// enqueue needs mu.
func (c *Conn) enqueue(q queued) {
	c.queue = append(c.queue, q)
	c.loadOf(q.others).add(1, len(q.frame))
	c.startWriting()
}

// loadOf needs mu.
func (c *Conn) loadOf(others bool) *load {
	if others {
		return &c.others
	}
	return &c.own
}

// startWriting needs mu.
func (c *Conn) startWriting() {
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// Close starts the end of the socket: queued frames and a close frame are sent, then the socket is read for
// lingerTime, so that the client receives them. A client that is closed for reading too slowly gets nothing
// more, nor one that is gone or has closed the socket, and nothing of it is kept. Only the first call has an
// effect.
func (c *Conn) Close(r Reason) {
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return
	}
	c.closing = &r
	lost := c.dropBulks()
	if r == ClosedSlow || r == ClosedLost {
		lost += c.own.bytes + c.others.bytes
		c.queue, c.own, c.others = nil, load{}, load{}
	}
	if r.lingers() {
		c.startWriting()
	}
	c.mu.Unlock()
	if r == ClosedSlow || r == ClosedLost {
		_ = c.ws.Close() // also ends a write that hangs
	}
	c.OnDropped(lost)
	c.OnClose(r)
}

// probeInterval is the minimum time between two pings of Alive: other clients can trigger it as often as they
// like, and the pongs count as the client's messages.
const probeInterval = 250 * time.Millisecond

// aliveSteps is the number of steps in which Alive waits. While the pod does not run, because its machine is
// overloaded or suspended, at most one step ends. The next one reads the answer that has arrived meanwhile.
const aliveSteps = 8

// Alive reports whether the client answers within limit. It sends an RFC 6455 ping, which browsers answer
// even while the page's script is busy; any frame of the client counts. Concurrent calls wait for the same
// answer. A client that the pod itself does not read counts as alive: its answer would not be read either.
func (c *Conn) Alive(limit time.Duration) bool {
	answered := make(chan struct{})
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return false
	}
	if c.alive == nil {
		c.alive = new(aliveProbe)
	}
	c.alive.waiters = append(c.alive.waiters, answered)
	if len(c.alive.waiters) == 1 {
		now := time.Now()
		wait := max(0, c.alive.last.Add(probeInterval).Sub(now))
		c.alive.last = now.Add(wait)
		time.AfterFunc(wait, func() {
			c.control(websocket.PingMessage, nil, now.Add(limit)) // waits behind a write that blocks
		})
	}
	c.mu.Unlock()
	for range aliveSteps {
		select {
		case <-answered:
			return true
		case <-time.After(limit / aliveSteps):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive.waiters = slices.DeleteFunc(c.alive.waiters, func(h chan struct{}) bool { return h == answered })
	// A frame that is being written delays the ping, and the deadline of that write decides.
	return c.closing == nil && (c.writing || !c.metered.waitsForClient())
}

// markAlive records a frame of the client, and reports whether the end of the socket is decided.
func (c *Conn) markAlive() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive != nil {
		for _, h := range c.alive.waiters {
			close(h)
		}
		c.alive.waiters = nil
	}
	return c.closing != nil
}

// Ended reports whether the end of the socket is decided.
func (c *Conn) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != nil
}

// write is a goroutine that runs while frames wait.
func (c *Conn) write() {
	for {
		q, limit, closing := c.next()
		if q.frame == nil {
			if closing != nil && closing.lingers() {
				sendClose(c.ws, *closing)
			}
			return
		}
		if err := c.writeOne(q, time.Now().Add(limit)); err != nil {
			c.writeFailed(err)
			return
		}
	}
}

func (c *Conn) writeOne(q queued, deadline time.Time) error {
	if q.rest {
		_ = c.ws.NetConn().SetWriteDeadline(deadline) // fails only on a dead socket, which the write reports
		_, err := c.ws.NetConn().Write(q.frame)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.split = false
		return err
	}
	_ = c.ws.SetWriteDeadline(deadline)
	return c.ws.WriteMessage(websocket.TextMessage, q.frame)
}

// next takes a frame off the queue, with the time that its write can take. It returns none if the queue is
// empty, and the goroutine of write ends.
func (c *Conn) next() (q queued, limit time.Duration, closing *Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		if c.drain {
			c.drain = false
			c.OnDrained()
		}
		if q.frame = c.nextBulk(); q.frame != nil {
			return q, c.writeLimit(q.frame), nil
		}
		c.queue, c.writing = nil, false
		return q, 0, c.closing
	}
	q = c.queue[0]
	c.queue = c.queue[1:]
	c.loadOf(q.others).add(-1, -len(q.frame))
	if q.others {
		c.othersAt = time.Now()
	}
	return q, c.writeLimit(q.frame), nil
}

func (c *Conn) writeFailed(err error) {
	reason := ClosedLost
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason = ClosedSlow
	}
	c.Close(reason)
	_ = c.ws.Close() // the reader ends with it
}

func sendClose(ws *websocket.Conn, r Reason) {
	time.AfterFunc(lingerTime, func() { _ = ws.Close() }) // ends the reader, unless the client was faster
	code := r.Code
	if code == websocket.CloseAbnormalClosure { // must not be sent (RFC 6455 section 7.4.1)
		code = websocket.CloseNoStatusReceived
	}
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, r.Name), time.Now().Add(lingerTime)) // the client may be gone
}
