package socket

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/net/http/httpguts"
)

// firstRead is the buffer of a connection that waits for its request, which doubles up to maxHead. Browsers
// send 500 to 700 bytes without cookies.
const (
	firstRead = 512
	maxHead   = 8 << 10
)

// ListenerConfig is what a Listener needs. ConnState is called as by an http.Server.
type ListenerConfig struct {
	Upgrade   http.Handler  // of requests for a WebSocket
	Timeout   time.Duration // from a connection to the end of its request
	ConnState func(net.Conn, http.ConnState)
	Abort     func() // closes the connections that are still counted by ConnState
	Recovered func() // recovers a panic; is deferred
}

// Listener reads the requests of its connections and serves those for a WebSocket itself. All others are
// left to the http.Server that calls Accept. A connection that waits for its request costs 3 KB here, and
// 13 KB in net/http, which would also leave 12 KB of buffers behind each upgrade.
type Listener struct {
	// set once
	net.Listener
	cfg    ListenerConfig
	others chan net.Conn // for the http.Server
	faults chan error    // of accepting
	closed chan struct{}

	accepting, closing sync.Once
}

// NewListener returns a Listener on l. It accepts connections from the first call of Accept.
func NewListener(l net.Listener, cfg ListenerConfig) *Listener {
	return &Listener{Listener: l, cfg: cfg, others: make(chan net.Conn), faults: make(chan error), closed: make(chan struct{})}
}

// Accept returns a connection with a request that is not for a WebSocket, or a fault of the listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.accepting.Do(func() { go l.accept() })
	select {
	case c := <-l.others:
		return c, nil
	case err := <-l.faults:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// ConnState is for the http.Server that calls Accept.
func (l *Listener) ConnState(c net.Conn, s http.ConnState) {
	if r, ok := c.(*replayed); ok && s != http.StateNew {
		l.cfg.ConnState(r.Conn, s)
	}
}

// Close closes the listener, and the connections whose request is not read.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	err := l.Listener.Close()
	l.cfg.Abort()
	return err
}

// accept reports a fault to Accept, whose caller waits before it calls again.
func (l *Listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			select {
			case l.faults <- err:
				continue
			case <-l.closed:
				return
			}
		}
		l.cfg.ConnState(c, http.StateNew)
		select {
		case <-l.closed: // Abort can have been called before
			l.end(c)
		default:
			go l.serve(c)
		}
	}
}

func (l *Listener) end(c net.Conn) {
	_ = c.Close() // ended either way
	l.cfg.ConnState(c, http.StateClosed)
}

// serve reads the request of a connection. It has a small stack until the request is there.
func (l *Listener) serve(c net.Conn) {
	defer l.cfg.Recovered()
	kept := false
	defer func() {
		if !kept {
			l.end(c)
		}
	}()
	_ = c.SetReadDeadline(time.Now().Add(l.cfg.Timeout)) // fails only on a dead connection, which the read reports
	read, end, err := readHead(c)
	if err != nil {
		return
	}
	kept = l.respond(c, read, end)
}

// respond reports whether the connection is a socket now, or the http.Server's.
func (l *Listener) respond(c net.Conn, read []byte, end int) (kept bool) {
	b := buffers.Get().(*buffer)
	defer b.free()
	if r := b.upgrade(read[:end]); r != nil {
		r.RemoteAddr = c.RemoteAddr().String()
		w := response{listener: l, conn: c, buffer: b, after: read[end:]}
		l.cfg.Upgrade.ServeHTTP(&w, r)
		w.finish()
		return w.hijacked
	}
	select {
	case l.others <- &replayed{Conn: c, read: read}:
		return true
	case <-l.closed:
		return false
	}
}

// readHead reads until the end of a request's header lines, which is 0 if they are longer than maxHead.
func readHead(c net.Conn) (read []byte, end int, err error) {
	read = make([]byte, 0, firstRead)
	for {
		n, err := c.Read(read[len(read):cap(read)])
		if err != nil {
			return nil, 0, err
		}
		before := len(read)
		read = read[:before+n]
		end = endOfHead(read, max(0, before-2))
		if end > 0 || len(read) == maxHead {
			return read, end, nil
		}
		if len(read) == cap(read) {
			read = append(make([]byte, 0, 2*cap(read)), read...)
		}
	}
}

// endOfHead returns where the empty line ends, 0 if there is none. Lines can end without CR, as for net/http.
func endOfHead(b []byte, from int) int {
	for {
		n := bytes.IndexByte(b[from:], '\n')
		if n < 0 {
			return 0
		}
		from += n + 1
		switch next := b[from:]; {
		case bytes.HasPrefix(next, []byte("\n")):
			return from + 1
		case bytes.HasPrefix(next, []byte("\r\n")):
			return from + 2
		}
	}
}

// buffer is what one request needs while it is served.
type buffer struct {
	source bytes.Reader
	bufio.ReadWriter
}

// responseSize holds the response to an upgrade.
const responseSize = 512

var buffers = sync.Pool{New: func() any {
	return &buffer{ReadWriter: bufio.ReadWriter{Reader: bufio.NewReader(nil), Writer: bufio.NewWriterSize(nil, responseSize)}}
}}

func (b *buffer) free() {
	b.source.Reset(nil)
	b.Reader.Reset(nil)
	b.Writer.Reset(nil)
	buffers.Put(b)
}

// upgrade returns the request for a WebSocket, or nil for every other one: net/http knows best how to answer
// what is unusual or wrong.
func (b *buffer) upgrade(head []byte) *http.Request {
	if !bytes.HasPrefix(head, []byte("GET ")) || hosts(head) != 1 {
		return nil
	}
	b.source.Reset(head)
	b.Reader.Reset(&b.source)
	r, err := http.ReadRequest(b.Reader)
	if err != nil || !websocket.IsWebSocketUpgrade(r) || r.Body != http.NoBody || !r.ProtoAtLeast(1, 1) || r.Header["Expect"] != nil ||
		!httpguts.ValidHostHeader(r.Host) {
		return nil
	}
	for name, values := range r.Header {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return nil
			}
		}
	}
	return r
}

// hosts returns the number of Host lines: http.ReadRequest removes them.
func hosts(head []byte) (n int) {
	const name = "Host:"
	for line := range bytes.Lines(head) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			n++
		}
	}
	return n
}

// response is the http.ResponseWriter of a request that Listener has read. It keeps what is written until the
// end.
type response struct {
	listener *Listener
	conn     net.Conn
	buffer   *buffer
	after    []byte // what was read after the request

	header   http.Header
	status   int
	body     bytes.Buffer
	hijacked bool
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Hijack implements http.Hijacker. The buffers are valid until the handler returns.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	w.listener.cfg.ConnState(w.conn, http.StateHijacked)
	_ = w.conn.SetDeadline(time.Time{}) // fails only on a dead connection, which the write reports
	w.buffer.Reader.Reset(nil)
	if len(w.after) > 0 {
		return &replayed{Conn: w.conn, read: w.after}, &w.buffer.ReadWriter, nil
	}
	return w.conn, &w.buffer.ReadWriter, nil
}

// finish sends the response, unless the connection was taken.
func (w *response) finish() {
	if w.hijacked {
		return
	}
	w.WriteHeader(http.StatusOK)
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	r := http.Response{
		ProtoMajor: 1, ProtoMinor: 1, StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Close: true,
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.listener.cfg.Timeout)) // fails only on a dead connection, as the write does
	w.buffer.Writer.Reset(w.conn)
	_ = r.Write(w.buffer.Writer) // the client may be gone
	_ = w.buffer.Writer.Flush()
}

// replayed is a connection of which a part was read already.
type replayed struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (r *replayed) Read(b []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}
