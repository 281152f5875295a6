package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate/transcript"
)

// lingerTime is how long a link goes on when one direction has ended, so that the last messages and the close
// frames of the other arrive.
const lingerTime = time.Second

// smallBuffer is what an idle direction of a link holds, in bytes. It is enough for pings; a direction that
// fills it takes a larger buffer until one read does not fill that.
const smallBuffer = 512

// Link is a client spliced to a server. Bytes are copied unchanged in both directions, and with them the
// frames' boundaries, pings and close codes. A receiver that does not read holds back its sender, and no
// other link: one buffer waits in each direction at most.
type Link struct {
	// set once
	app    string
	to     *Server
	client *socket.MeteredConn
	server net.Conn
	stall  time.Duration // after which a receiver that takes nothing is closed
	tap    *tap          // nil: no transcript is written

	reason atomic.Pointer[socket.Reason] // why it ends: the first cause; nil: it does not end
	closes atomic.Int32                  // close frames of both sides

	up scanner // of the client's frames; belongs to the goroutine that reads the client

	mu   sync.Mutex // of writes to the client
	down scanner    // of the server's frames; guarded by mu

	streams *streams // nil: none are counted; guarded by mu until the link has ended

	issued   *issued         // set once; nil: no token is looked for
	greeting *greeting       // nil: the token is known, or not looked for; guarded by mu
	token    state.TokenHash // zero: none; guarded by mu until the link has ended

	bye  *socket.Reason // of the close frame that the gateway is to send; guarded by mu
	said bool           // it was sent, and nothing more is; guarded by mu
}

// run copies until both directions have ended, and closes both connections. sent and rest are what client and
// server have sent before.
func (l *Link) run(sent, rest []byte, recovered func()) socket.Reason {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer l.end(socket.ClosedLost) // after a panic
		defer recovered()
		l.end(l.serverToClient(rest))
		closeWrite(l.client.Conn)
	}()
	l.end(l.clientToServer(sent))
	closeWrite(l.server)
	<-done
	l.cut()
	return *l.reason.Load()
}

// note records why the link ends, unless that is known.
func (l *Link) note(r socket.Reason) { l.reason.CompareAndSwap(nil, &r) }

// sawClose records a close frame and whose it is. After those of both sides nothing follows.
func (l *Link) sawClose(r socket.Reason) {
	l.note(r)
	if l.closes.Add(1) == 2 {
		time.AfterFunc(lingerTime, l.cut)
	}
}

// end records the end of one direction. The other one ends soon.
func (l *Link) end(r socket.Reason) {
	l.note(r)
	time.AfterFunc(lingerTime, l.cut)
}

// cut closes both connections. It can be repeated.
func (l *Link) cut() {
	_ = l.client.Close() // ended either way
	_ = l.server.Close() // ended either way
}

// Close ends the link: the client gets a close frame after the frame in progress, and the server the client's
// answer to it.
func (l *Link) Close(r socket.Reason) {
	l.end(r)
	go func() { // a write to the client can be in progress
		l.mu.Lock()
		defer l.mu.Unlock()
		l.bye = &r
		l.sayBye()
	}()
}

// sayBye sends the gateway's close frame if one is due and no frame is in progress. It needs mu.
func (l *Link) sayBye() {
	if l.bye == nil || l.said || !l.down.between() {
		return
	}
	l.said = true
	_ = l.client.SetWriteDeadline(time.Now().Add(lingerTime)) // fails only on a dead socket, as the write does
	_, _ = l.client.Write(closeFrame(*l.bye))                 // the client may be gone
}

// clientToServer returns why it ended.
func (l *Link) clientToServer(sent []byte) socket.Reason {
	if r := l.toServer(sent, func() error { return nil }); r != nil { // they were counted when they were read
		return *r
	}
	r, err := pump(l.client, &l.to.buffers, func(b []byte) *socket.Reason { return l.toServer(b, l.client.CountMessage) })
	if r != nil {
		return *r
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return socket.ClosedLost
	}
	fault := socket.ReadFault(err)
	if fault != socket.ClosedLost {
		l.Close(fault)
	}
	return fault
}

// toServer passes the client's bytes on. count is called for each frame.
func (l *Link) toServer(b []byte, count func() error) *socket.Reason {
	for rest := b; len(rest) > 0; {
		n, started, _ := l.up.next(rest)
		rest = rest[n:]
		if !started {
			continue
		}
		if l.up.opcode() == opClose {
			l.sawClose(socket.ClosedByClient)
		}
		if err := count(); err != nil {
			fault := socket.ReadFault(err)
			l.Close(fault)
			return &fault
		}
	}
	l.tap.take(transcript.Client, b)
	if err := l.write(l.server, b); err != nil {
		return &socket.ClosedUpstream
	}
	return nil
}

// serverToClient returns why it ended.
func (l *Link) serverToClient(rest []byte) socket.Reason {
	if r := l.toClient(rest); r != nil {
		return *r
	}
	if r, _ := pump(l.server, &l.to.buffers, l.toClient); r != nil {
		return *r
	}
	return socket.ClosedUpstream
}

// toClient passes the server's bytes on, or drops them after the gateway's close frame.
func (l *Link) toClient(b []byte) *socket.Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said {
		return nil
	}
	at, ended := 0, false
	for at < len(b) && (l.bye == nil || !ended) {
		n, started := 0, false
		n, started, ended = l.down.next(b[at:])
		at += n
		if started && l.down.opcode() == opClose {
			l.sawClose(socket.ClosedUpstream)
		}
	}
	l.tap.take(transcript.Server, b[:at])
	l.greet(b[:at])
	if err := l.write(l.client, b[:at]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return &socket.ClosedSlow
		}
		return &socket.ClosedLost
	}
	l.sayBye()
	return nil
}

func (l *Link) write(c net.Conn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(l.stall)) // fails only on a dead socket, as the write does
	_, err := c.Write(b)
	return err
}

// pump passes all that it reads until pass returns a reason or the read fails.
func pump(c net.Conn, buffers *sync.Pool, pass func([]byte) *socket.Reason) (*socket.Reason, error) {
	small := make([]byte, smallBuffer)
	for {
		n, err := c.Read(small)
		r := pass(small[:n])
		if n == len(small) && r == nil && err == nil {
			r, err = pumpFull(c, buffers, pass)
		}
		if r != nil || err != nil {
			return r, err
		}
	}
}

// pumpFull is pump with a large buffer. It also returns when a read did not fill the buffer.
func pumpFull(c net.Conn, buffers *sync.Pool, pass func([]byte) *socket.Reason) (*socket.Reason, error) {
	large := buffers.Get().(*[]byte)
	defer buffers.Put(large)
	for {
		n, err := c.Read(*large)
		if r := pass((*large)[:n]); r != nil || err != nil || n < len(*large) {
			return r, err
		}
	}
}

// closeWrite ends what is sent on a connection and leaves what is received.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // ended either way
	}
}
