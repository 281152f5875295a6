package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/socket"
)

// pipes is a link whose client and server ends are in memory, where a write waits for its read.
func pipes(t *testing.T, bufferBytes int) (l *Link, client, server net.Conn, ended chan socket.Reason) {
	t.Helper()
	return tappedPipes(t, bufferBytes, nil)
}

func tappedPipes(t *testing.T, bufferBytes int, tap *tap) (l *Link, client, server net.Conn, ended chan socket.Reason) {
	t.Helper()
	to, err := NewServer(ServerConfig{Name: "old", URL: "ws://old", BufferBytes: bufferBytes})
	if err != nil {
		t.Fatal(err)
	}
	metered, _ := socket.NewAdmission(func(socket.Rejection) {}).Acquire(netip.MustParseAddr("192.0.2.1"), &socket.Limits{})
	client, metered.Conn = net.Pipe()
	server, inner := net.Pipe()
	l = &Link{to: to, client: metered, server: inner, stall: time.Minute, tap: tap}
	ended = make(chan socket.Reason, 1)
	go func() { ended <- l.run(nil, nil, func() {}) }()
	return l, client, server, ended
}

// A frame without end that the client does not read: at most one buffer waits.
func TestSlowClientHoldsBackItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 32 << 10
		_, client, server, ended := pipes(t, buffer)
		var mu sync.Mutex
		written := 0
		go func() {
			chunk := []byte("\x82\x7f\x00\x00\x00\xff\x00\x00\x00\x00") // the head of a frame of 1 TB
			for {
				n, err := server.Write(chunk)
				mu.Lock()
				written += n
				mu.Unlock()
				if err != nil {
					return
				}
				chunk = make([]byte, 1<<10)
			}
		}()
		synctest.Wait()
		mu.Lock()
		if written > buffer+smallBuffer {
			t.Errorf("%d bytes wait", written)
		}
		mu.Unlock()
		if _, err := io.ReadFull(client, make([]byte, 1<<20)); err != nil { // it reads after all
			t.Fatal(err)
		}
		since := time.Now()
		if r := <-ended; r != socket.ClosedSlow {
			t.Errorf("the link ended with %s", r.Name)
		}
		if d := time.Since(since); d != time.Minute+lingerTime {
			t.Errorf("a client that reads nothing is closed after %v", d)
		}
		_ = server.Close()
	})
}

func TestSlowServerHoldsBackItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server, ended := pipes(t, 4096)
		go func() {
			for {
				if _, err := client.Write(frame(2, true, 1, make([]byte, 100))); err != nil {
					return
				}
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if r := <-ended; r != socket.ClosedUpstream {
			t.Errorf("the link ended with %s", r.Name)
		}
		_, _ = client.Close(), server.Close()
	})
}

// A server that never ends its frame does not keep a link that the gateway closes.
func TestClosedLinkEndsInMidFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, client, server, ended := pipes(t, 4096)
		go func() { _, _ = server.Write([]byte{0x82, 100, 1, 2, 3}) }()
		got := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(client)
			got <- string(b)
		}()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		synctest.Wait()
		l.Close(socket.ClosedShutdown)
		if r := <-ended; r != socket.ClosedShutdown {
			t.Errorf("the link ended with %s", r.Name)
		}
		if b := <-got; b != "\x82\x64\x01\x02\x03" {
			t.Errorf("the client got %q", b)
		}
		_, _ = client.Close(), server.Close()
	})
}

func TestConnectingToServerHasDeadline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nothing is accepted
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	s, err := NewServer(ServerConfig{Name: "old", URL: "ws://" + listener.Addr().String(), ConnectTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.dial(context.Background(), Handshake{Target: "/"}); err == nil {
		t.Error("a server that does not answer is connected")
	}
}

func TestResponseThatIsNoUpgradeIsRefused(t *testing.T) {
	for name, response := range map[string]string{
		"another status": "HTTP/1.1 200 OK\r\n\r\n",
		"wrong accept":   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"garbage":        "garbage\r\n\r\n",
		"without end":    "",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewServer(ServerConfig{Name: "old", URL: "ws://old", ConnectTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			defer func() { _ = near.Close() }()
			go func() {
				defer func() { _ = far.Close() }()
				_, _ = far.Read(make([]byte, 4096))
				if _, err := io.WriteString(far, response); err != nil || response != "" {
					return
				}
				for { // a head without end
					if _, err := io.WriteString(far, "HTTP/1.1 101 Switching Protocols and more and more "); err != nil {
						return
					}
				}
			}()
			if _, err := s.upgrade(t.Context(), near, Handshake{Target: "/"}); err == nil {
				t.Error("it is accepted")
			}
		})
	}
}

func TestServerURLHasDefaultPort(t *testing.T) {
	for text, address := range map[string]string{
		"ws://old": "old:80", "wss://old": "old:443", "wss://old:8443/": "old:8443", "ws://[::1]": "[::1]:80", "ws://[::1]:8080": "[::1]:8080",
	} {
		if s, err := NewServer(ServerConfig{URL: text}); err != nil || s.address != address {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "old", "http://old", "ws://", "ws://old/path", "ws://old?x", "ws://old#x", "ws://u:p@old", "ws://:80"} {
		if CheckURL(text) == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestServersCertificateIsChecked(t *testing.T) {
	upgrader := websocket.Upgrader{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("at once")) // before the client's first message
			_ = ws.Close()
		}
	}))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	for name, tt := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"right":       {&tls.Config{RootCAs: roots, ServerName: "example.com"}, true},
		"wrong name":  {&tls.Config{RootCAs: roots, ServerName: "other.example"}, false},
		"unknown one": {&tls.Config{ServerName: "example.com"}, false},
	} {
		s, err := NewServer(ServerConfig{URL: "wss" + strings.TrimPrefix(srv.URL, "https"), TLS: tt.config, ConnectTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		c, rest, err := s.dial(t.Context(), Handshake{Target: "/"})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		all, _ := io.ReadAll(c)
		if got := string(rest) + string(all); !strings.HasPrefix(got, "\x81\x07at once") {
			t.Errorf("%s: server's bytes %q", name, got)
		}
		_ = c.Close()
	}
}
