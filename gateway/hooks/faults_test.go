package hooks

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// logged sends each line of a log.
type logged chan string

func (l logged) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestCallEndsAtTimeout(t *testing.T) {
	trickle := func(c net.Conn, head string) {
		write(c, head)
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			if _, err := io.WriteString(c, " "); err != nil {
				tick.Stop()
				return
			}
		}
	}
	for name, h := range map[string]func(net.Conn){
		"no answer":             func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"body that trickles":    func(c net.Conn) { trickle(c, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{") },
		"chunk that trickles":   func(c net.Conn) { trickle(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{") },
		"body that never comes": func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\n\r\n"); _, _ = io.Copy(io.Discard, c) },
		"header that trickles":  func(c net.Conn) { trickle(c, "HTTP/1.1 200 OK\r\nA: ") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serveRaw(t, func(_ int, c net.Conn) {
				if take(bufio.NewReader(c)) {
					h(c)
				}
			})
			b := newBackend(t, Config{URL: srv.url, Timeout: soon, Retries: 3}, Deps{})
			start := time.Now()
			_, err := b.Call(t.Context(), Connect, nil)
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took < soon || took > patience/2 {
				t.Errorf("took %v", took)
			}
			if n := srv.connections(); n != 1 {
				t.Errorf("was called %d times", n)
			}
			if b.calls.Load() != 0 {
				t.Error("the slot of the call is not released")
			}
		})
	}
}

// A refusal is returned before its body has arrived.
func TestRefusalDoesNotWaitForItsBody(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.WriteHeader(http.StatusForbidden)
		_ = http.NewResponseController(w).Flush() // without a flush the status is not sent
		<-r.Context().Done()
	})
	b := newBackend(t, Config{URL: srv.URL, Timeout: soon}, Deps{})
	if _, err := b.Call(t.Context(), Connect, nil); !errors.As(err, new(*Refusal)) {
		t.Errorf("got %v", err)
	}
}

func TestMalformedResponseIsAnError(t *testing.T) {
	endless := func(c net.Conn, head, more string) {
		for _, err := io.WriteString(c, head); err == nil; {
			_, err = io.WriteString(c, more)
		}
	}
	for _, tt := range []struct {
		name string
		h    func(net.Conn)
		want error
	}{
		{"closed without response", func(net.Conn) {}, ErrUnavailable},
		{"garbage", func(c net.Conn) { write(c, "SSH-2.0-hunter2\r\n") }, ErrBadResponse},
		{"garbage in the header", func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\nhunter2\r\n\r\n{}") }, ErrBadResponse},
		{"truncated header", func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\nContent-Le") }, ErrBadResponse},
		{"truncated body", func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}") }, ErrBadResponse},
		{"bad chunk", func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n") }, ErrBadResponse},
		{"two lengths", func(c net.Conn) { write(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ") }, ErrBadResponse},
		{"endless header", func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\n", "A: hunter2\r\n") }, ErrBadResponse},
		{"endless status", func(c net.Conn) { endless(c, "HTTP/1.1 403 ", "hunter2") }, ErrBadResponse},
		{"endless informational responses", func(c net.Conn) { endless(c, "", "HTTP/1.1 103 Early Hints\r\n\r\n") }, ErrBadResponse},
		{"endless body", func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\n\r\n{\"a\":\"", "hunter2") }, ErrBadResponse},
		{"endless chunks", func(c net.Conn) {
			endless(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "7\r\nhunter2\r\n")
		}, ErrBadResponse},
		{"protocol switch", func(c net.Conn) {
			write(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := serveRaw(t, func(_ int, c net.Conn) {
				if take(bufio.NewReader(c)) {
					tt.h(c)
				}
			})
			b := newBackend(t, Config{URL: srv.url, Retries: 3}, Deps{})
			_, err := b.Call(t.Context(), Connect, nil)
			if tt.want == nil {
				if !errors.As(err, new(*Refusal)) {
					t.Errorf("got %v, want a refusal", err)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the answer: %v", err)
			}
			if n := srv.connections(); n != 1 {
				t.Errorf("was called %d times", n)
			}
		})
	}
}

// A call that received a status is not repeated.
func TestCallWithStatusIsNotRepeated(t *testing.T) {
	for _, code := range []int{400, 408, 425, 429, 500, 502, 503, 504} {
		var calls atomic.Int32
		srv := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			calls.Add(1)
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(code)
		})
		b := newBackend(t, Config{URL: srv.URL, Retries: 3}, Deps{})
		if _, err := b.Call(t.Context(), Connect, nil); !errors.As(err, new(*Refusal)) || calls.Load() != 1 {
			t.Errorf("%d: %v after %d calls", code, err, calls.Load())
		}
	}
}

// restart starts a new backend at the same address.
func restart(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	srv.Start()
	t.Cleanup(srv.Close)
}

func TestCallIsRepeatedWhileBackendRestarts(t *testing.T) {
	handler := reading(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { write(w, "{}") })
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	log := make(logged, 10)
	b := newBackend(t, Config{URL: srv.URL, Retries: 10}, Deps{Log: zerolog.New(log)})
	if _, err := b.Call(t.Context(), Connect, nil); err != nil {
		t.Fatal(err)
	}
	srv.CloseClientConnections()
	srv.Close()
	done := make(chan error, 1)
	go func() {
		_, err := b.Call(context.Background(), PublishStream, nil)
		done <- err
	}()
	if line := receive(t, "first failure", log); !strings.Contains(line, "publishStream") {
		t.Errorf("logged %s", line)
	}
	restart(t, srv.Listener.Addr().String(), handler)
	if err := receive(t, "end of the call", done); err != nil {
		t.Error(err)
	}
}

func TestDeadBackendIsUnavailableAfterRetries(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	log := make(logged, 10)
	b := newBackend(t, Config{URL: "http://" + l.Addr().String(), Retries: 2}, Deps{Log: zerolog.New(log)})
	_, err = b.Call(t.Context(), Connect, nil)
	var op *net.OpError
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &op) {
		t.Errorf("got %v", err)
	}
	if len(log) != 2 {
		t.Errorf("repeated %d times", len(log))
	}
}

func TestCancelBetweenAttemptsEndsCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := newBackend(t, Config{URL: "http://backend", Retries: 10}, Deps{Log: zerolog.New(writer(cancel))})
	refused := errors.New("refused")
	b.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	_, err := b.Call(ctx, Connect, nil)
	for _, want := range []error{ErrUnavailable, context.Canceled, refused} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, which is not %v", err, want)
		}
	}
}

// writer is called on each write.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// The backend closes an idle connection while a call is sent on it.
func TestCallIsRepeatedIfIdleConnectionIsClosed(t *testing.T) {
	var calls atomic.Int32
	srv := serveRaw(t, func(n int, c net.Conn) {
		r := bufio.NewReader(c)
		for i := 1; take(r); i++ {
			calls.Add(1)
			if n == 1 && i == 2 {
				return
			}
			write(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	b := newBackend(t, Config{URL: srv.url, Retries: 1}, Deps{})
	for range 2 {
		if _, err := b.Call(t.Context(), Connect, nil); err != nil {
			t.Error(err)
		}
	}
	if calls.Load() != 3 || srv.connections() != 2 {
		t.Errorf("%d calls on %d connections", calls.Load(), srv.connections())
	}
}

// The backend resets the connection before it reads the call.
func TestCallIsRepeatedIfWriteFails(t *testing.T) {
	srv := serveRaw(t, func(n int, c net.Conn) {
		if n == 1 {
			_ = c.(*net.TCPConn).SetLinger(0) // closes with RST
			return
		}
		if take(bufio.NewReader(c)) {
			write(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	b := newBackend(t, Config{URL: srv.url, Retries: 1}, Deps{})
	large := Object{"sdp": []byte(`"` + strings.Repeat("x", 8<<20) + `"`)}
	if _, err := b.Call(t.Context(), Connect, large); err != nil {
		t.Error(err)
	}
	if n := srv.connections(); n != 2 {
		t.Errorf("took %d connections", n)
	}
}

func TestCancelEndsCall(t *testing.T) {
	came := make(chan struct{})
	gone := make(chan struct{})
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		close(came)
		<-r.Context().Done()
		close(gone)
	})
	b := newBackend(t, Config{URL: srv.URL, Retries: 3}, Deps{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.Call(ctx, Connect, nil)
		done <- err
	}()
	receive(t, "call", came)
	cancel()
	if err := receive(t, "end of the call", done); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	receive(t, "the backend learns of it", gone)
	if b.calls.Load() != 0 {
		t.Error("the slot of the call is not released")
	}
}

// Errors and logs contain neither secrets nor parts of the request or the response.
func TestErrorsAndLogsHaveNoSecrets(t *testing.T) {
	log := make(logged, 100)
	deps := Deps{Log: zerolog.New(log)}
	dead := serveRaw(t, func(int, net.Conn) {})
	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { write(w, `hunter2`) })
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.WriteHeader(http.StatusForbidden)
		write(w, `hunter2`)
	})
	var output strings.Builder
	for _, url := range []string{dead.url, garbage.URL, refusing.URL, "http://127.0.0.1:1"} {
		for _, cfg := range []Config{{HMACSecret: "hunter2"}, {Username: "joe", Password: "hunter2"}} {
			cfg.URL, cfg.Retries = url, 1
			_, err := newBackend(t, cfg, deps).Call(t.Context(), Connect, object(t, `{"custom":{"token":"hunter2"}}`))
			if err == nil {
				t.Fatalf("%s allowed", url)
			}
			output.WriteString(err.Error() + "\n")
		}
	}
	close(log)
	for line := range log {
		output.WriteString(line)
	}
	for _, secret := range []string{"hunter2", "am9l", "Authorization"} { // joe in base64
		if strings.Contains(output.String(), secret) {
			t.Errorf("%s is in the output:\n%s", secret, output.String())
		}
	}
	if !strings.Contains(output.String(), "retrying") {
		t.Error("no retry was logged: the test is void")
	}
}
