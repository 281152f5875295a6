package attacks

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// slowHandshake opens TCP connections that never become sockets. They are closed after 10 s; connections
// above the limit of an address are closed at once.
func slowHandshake(t *testing.T, s *scene) {
	before := s.refused(t, "handshakes")
	begun := map[string]string{
		"silence":         "",
		"half a request":  "GET / HTTP/1.1\r\nHost: gateway\r\nX-",
		"body not wanted": "POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\nx",
		"half an upgrade": "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
	}
	var (
		held    []net.Conn
		trickle = make(map[net.Conn]bool)
	)
	for _, text := range begun {
		for range 100 {
			c := s.dialTCP(t, attacker)
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
			trickle[c] = strings.HasPrefix(text, "GET")
		}
	}
	for range 300 { // 100 may stay, minus the connections closed since
		held = append(held, s.dialTCP(t, attacker))
	}
	s.wantRefusals(t, "handshakes", before, 100)
	s.connect(t, honest).Close() // other addresses can still connect

	stop := make(chan struct{})
	var dripping sync.WaitGroup
	defer dripping.Wait()
	defer close(stop)
	dripping.Go(func() { // single bytes do not keep a connection open
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for c := range trickle {
				_, _ = io.WriteString(c, "a") // fails when the connection is closed, as it must be
			}
		}
	})
	for _, c := range held {
		wantEnd(t, c)
	}
}

// wantEnd reads until the other side has closed the connection.
func wantEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // fails only on a dead connection, which the read reports
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("a connection is still open")
	}
}

// endlessFrame begins messages and does not end them. No pong fits into a message, so unanswered pings close
// the socket, whether the client is silent or sends single bytes. Before the session the timeout for
// connection closes it. Memory is bounded by the largest message, and is not allocated before the bytes
// arrive.
func endlessFrame(t *testing.T, s *scene) {
	hello, unanswered := s.refused(t, "hello_timeout"), s.refused(t, "ping_timeout")
	var held []net.Conn
	for range 20 {
		early := dial(t, s.Gateway.URL, attacker, nil)
		late := dial(t, s.Gateway.URL, attacker, nil)
		say(t, late, "connection", map[string]any{"appKey": "defaultApp"})
		for _, ws := range []*websocket.Conn{early, late} {
			if _, err := ws.NetConn().Write(endless); err != nil {
				t.Fatal(err)
			}
			held = append(held, ws.NetConn())
		}
	}
	stop := make(chan struct{})
	var dripping sync.WaitGroup
	defer dripping.Wait()
	defer close(stop)
	dripping.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, c := range held[:len(held)/2] {
				_, _ = c.Write([]byte{0}) // fails when the connection is closed, as it must be
			}
		}
	})
	for _, c := range held {
		wantEnd(t, c)
	}
	s.wantRefusals(t, "hello_timeout", hello, 20)
	s.wantRefusals(t, "ping_timeout", unanswered, 20)
}

// compressedBomb offers compression, which is not accepted, and sends compressed messages nevertheless.
func compressedBomb(t *testing.T, s *scene) {
	offering := dialer(attacker)
	offering.EnableCompression = true
	for range 20 {
		ws, res, err := offering.Dial(s.Gateway.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		t.Cleanup(func() { _ = ws.Close() })
		if ext := res.Header.Get("Sec-Websocket-Extensions"); ext != "" {
			t.Fatalf("the gateway accepts %s", ext)
		}
		if _, err := ws.NetConn().Write(compressed); err != nil {
			t.Fatal(err)
		}
		wantClose(t, ws, websocket.CloseProtocolError, "RSV1")
	}
}

// wantClose reads up to the close frame.
func wantClose(t *testing.T, ws *websocket.Conn, code int, text string) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(patience)) // fails only on a dead socket, which the read reports
	for {
		_, _, err := ws.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			if closed.Code != code || !strings.Contains(closed.Text, text) {
				t.Errorf("closed with %d %q, want %d %s", closed.Code, closed.Text, code, text)
			}
			return
		case err != nil:
			t.Errorf("no close frame: %v", err)
			return
		}
	}
}

// manyConnections tries to open 10,000 sockets from one address.
func manyConnections(t *testing.T, s *scene) {
	const tries, workers = 10_000, 64
	before, others := s.refused(t, "address"), s.metric(t, "wcs_connections")
	var (
		mu      sync.Mutex
		open    []*websocket.Conn
		refused atomic.Int64
		left    atomic.Int64
		work    sync.WaitGroup
	)
	left.Store(tries)
	for range workers {
		work.Go(func() {
			d := dialer(attacker)
			for left.Add(-1) >= 0 {
				ws, res, err := d.Dial(s.Gateway.URL, nil)
				switch {
				case err == nil:
					mu.Lock()
					open = append(open, ws)
					mu.Unlock()
				case res != nil && res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("neither open nor refused: %v", err)
				}
				if res != nil {
					_ = res.Body.Close()
				}
			}
		})
	}
	work.Wait()
	// Silent sockets are closed after the timeout for connection, so the total may exceed the limit somewhat.
	if len(open) < perAddress || refused.Load() < tries/10 || len(open)+int(refused.Load()) != tries {
		t.Errorf("%d of %d were opened, %d refused", len(open), tries, refused.Load())
	}
	if n := s.metric(t, "wcs_connections"); n > perAddress+10 {
		t.Errorf("%v sockets are open", n)
	}
	s.wantRefusals(t, "address", before, float64(refused.Load()))
	s.connect(t, honest).Close() // other addresses can connect
	for _, ws := range open {
		_ = ws.Close()
	}
	// Closed sockets count for another second, in which the client may read the reason.
	rig.Eventually(t, patience, "the address has its places back", func() bool {
		again := openMany(s.Gateway.URL, perAddress-10)
		for _, ws := range again {
			_ = ws.Close()
		}
		return len(again) == perAddress-10
	})
	rig.Eventually(t, patience, "all are closed", func() bool { return s.metric(t, "wcs_connections") <= others })
}

// openMany opens sockets from the attacker's address until one is refused.
func openMany(url string, n int) (open []*websocket.Conn) {
	for len(open) < n {
		ws, res, err := dialer(attacker).Dial(url, nil)
		if res != nil {
			_ = res.Body.Close()
		}
		if err != nil {
			break
		}
		open = append(open, ws)
	}
	return open
}
