package socket

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// front is a Listener with its http.Server. Upgrades are echoed.
type front struct {
	*Listener
	server *http.Server

	mu     sync.Mutex
	open   map[net.Conn]http.ConnState // what the ConnState of a gateway was told last
	served []string                    // paths of requests that the server got
	panics int
}

func newFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{open: make(map[net.Conn]http.ConnState)}
	f.Listener = NewListener(l, ListenerConfig{
		Upgrade: http.HandlerFunc(f.upgrade), Timeout: time.Minute, ConnState: f.state, Abort: f.abort,
		Recovered: func() {
			if recover() != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.panics++
			}
		},
	})
	f.server = &http.Server{ConnState: f.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.served = append(f.served, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "page %s", body)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.server.Serve(f.Listener)
	}()
	t.Cleanup(func() {
		_ = f.server.Close()
		<-ended
		rig.Eventually(t, 20*time.Second, "no connection is counted", func() bool { return f.counted() == 0 })
	})
	return f
}

func (f *front) state(c net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[c] = s; s == http.StateClosed || s == http.StateHijacked {
		delete(f.open, c)
	}
}

func (f *front) abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

func (f *front) counted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

func (f *front) requests() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.served, ", ")
}

func (f *front) upgrade(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/panic":
		panic("handler")
	case "/refused":
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many connections", http.StatusTooManyRequests)
		return
	}
	ws, err := NewUpgrader().ws.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	go func() {
		defer func() { _ = ws.Close() }()
		for {
			typ, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			_ = ws.WriteMessage(typ, append(b, " of "+r.RemoteAddr...))
		}
	}()
}

func (f *front) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

const handshake = "GET /a?b=c HTTP/1.1\r\nhost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A request can come in any parts, and a client can send messages before it has the response.
func TestListenerServesUpgradesInAnyParts(t *testing.T) {
	f := newFront(t)
	frame := []byte{0x80 | websocket.TextMessage, 0x80 | 2, 0, 0, 0, 0, 'h', 'i'}
	long := strings.Replace(handshake, "Upgrade:", "Cookie: "+strings.Repeat("x", 5000)+"\r\nUpgrade:", 1)
	for name, parts := range map[string][]string{
		"at once":          {handshake},
		"byte by byte":     strings.Split(handshake, ""),
		"with a message":   {handshake + string(frame)},
		"with its half":    {handshake + string(frame[:3]), string(frame[3:])},
		"longer than 4 KB": {long[:100], long[100:4000], long[4000:]},
		"lines without CR": {strings.ReplaceAll(handshake, "\r\n", "\n")},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			for _, part := range parts {
				if _, err := io.WriteString(c, part); err != nil {
					t.Fatal(err)
				}
			}
			r := bufio.NewReader(c)
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("%v, %+v", err, res)
			}
			if !strings.Contains(name, "message") && !strings.Contains(name, "half") {
				if _, err := c.Write(frame); err != nil {
					t.Fatal(err)
				}
			}
			answer := make([]byte, 2+len("hi of ")+len(c.LocalAddr().String()))
			if _, err := io.ReadFull(r, answer); err != nil || !bytes.HasSuffix(answer, []byte("hi of "+c.LocalAddr().String())) {
				t.Errorf("%v, %q", err, answer)
			}
		})
	}
	if got := f.requests(); got != "" {
		t.Errorf("the server got %s", got)
	}
}

// What is no plain upgrade is the http.Server's, which answers as it always does.
func TestListenerLeavesOtherRequestsToTheServer(t *testing.T) {
	f := newFront(t)
	change := func(old, by string) string { return strings.Replace(handshake, old, by, 1) }
	for name, c := range map[string]struct {
		request, status string
		served          bool
	}{
		"page":            {"GET /page HTTP/1.1\r\nHost: gateway\r\n\r\n", "200", true},
		"with a body":     {"POST /post HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody", "200", true},
		"upgrade by POST": {change("GET ", "POST "), "200", true},
		"upgrade + body":  {change("Upgrade:", "Content-Length: 1\r\nUpgrade:") + "x", "200", true},
		"chunked":         {change("Upgrade:", "Transfer-Encoding: chunked\r\nUpgrade:") + "0\r\n\r\n", "200", true},
		"HTTP/1.0":        {change("HTTP/1.1", "HTTP/1.0"), "200", true},
		"over 8 KB":       {change("Upgrade:", "Cookie: "+strings.Repeat("x", 20_000)+"\r\nUpgrade:"), "200", true},
		"no host":         {change("host: gateway\r\n", ""), "400", false},
		"two hosts":       {change("host:", "Host: other\r\nhost:"), "400", false},
		"bad host":        {change("host: gateway", "host: a b"), "400", false},
		"bad name":        {change("Upgrade:", "a b: c\r\nUpgrade:"), "400", false},
		"bad value":       {change("Upgrade:", "a: \x01\r\nUpgrade:"), "400", false},
		"no HTTP":         {"hello\r\n\r\n", "400", false},
		"expectation":     {change("Upgrade:", "Expect: more\r\nUpgrade:"), "417", false},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.requests()
			conn := f.dial(t)
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || !strings.HasPrefix(res.Status, c.status) {
				t.Fatalf("%v, %+v, want %s", err, res, c.status)
			}
			if served := f.requests() != before; served != c.served {
				t.Errorf("the server's handler was called: %v", served)
			}
		})
	}
}

// A second request of a connection is the server's, too.
func TestListenerCountsConnectionsThatAreKeptOpen(t *testing.T) {
	f := newFront(t)
	c := f.dial(t)
	r := bufio.NewReader(c)
	for range 2 {
		if _, err := io.WriteString(c, "GET /page HTTP/1.1\r\nHost: gateway\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "page " {
			t.Errorf("%v, %s", err, b)
		}
	}
	if f.counted() != 1 {
		t.Errorf("%d connections are counted", f.counted())
	}
	_ = c.Close()
	rig.Eventually(t, 20*time.Second, "the connection is not counted", func() bool { return f.counted() == 0 })
}

func TestListenerSendsRefusals(t *testing.T) {
	f := newFront(t)
	c := f.dial(t)
	if _, err := io.WriteString(c, strings.Replace(handshake, "/a", "/refused", 1)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusTooManyRequests || string(body) != "too many connections\n" || !res.Close ||
		res.Header.Get("Retry-After") != "10" || res.ContentLength != int64(len(body)) || res.Header.Get("Date") == "" {
		t.Errorf("%v, %+v, %s", err, res, body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
	if _, err := io.WriteString(f.dial(t), strings.Replace(handshake, "/a", "/panic", 1)); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, 20*time.Second, "the panic is recovered", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.panics == 1 && len(f.open) == 0
	})
}

// faultyListener has faults first, as one has that has no file descriptors left.
type faultyListener struct {
	net.Listener
	faults int
}

// Accept implements net.Listener.
func (l *faultyListener) Accept() (net.Conn, error) {
	if l.faults--; l.faults >= 0 {
		return nil, errors.New("no file descriptors")
	}
	return l.Listener.Accept()
}

func TestListenerReportsFaultsOneByOne(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(&faultyListener{tcp, 3}, ListenerConfig{ConnState: func(net.Conn, http.ConnState) {}, Abort: func() {}})
	for range 3 {
		if _, err := l.Accept(); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("fault %v", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("fault after the end: %v", err)
	}
}
