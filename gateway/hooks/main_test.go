package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits for events that must happen; it is long enough for a busy machine.
const patience = 30 * time.Second

// soon is the Timeout of calls that must time out.
const soon = 300 * time.Millisecond

func newBackend(t testing.TB, cfg Config, deps Deps) *Backend {
	t.Helper()
	if cfg.Methods == nil {
		cfg.Methods = []Method{Connect, PublishStream, StreamStatusEvent}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	b, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// serve is a backend. It reads the body before it calls h, so that h notices when the client
// disconnects.
func serve(t testing.TB, h func(w http.ResponseWriter, r *http.Request, body []byte)) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(reading(t, h))
	t.Cleanup(srv.Close)
	return srv
}

func reading(t testing.TB, h func(w http.ResponseWriter, r *http.Request, body []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil && r.Context().Err() == nil {
			t.Errorf("reading the body: %v", err)
		}
		h(w, r, body)
	})
}

func write(w io.Writer, text string) {
	_, _ = io.WriteString(w, text) // the test checks the client
}

// rawServer is a TCP server. It calls h for each connection, with its number n from 1, and closes it
// afterwards.
type rawServer struct {
	url string

	mu       sync.Mutex
	accepted int
}

func serveRaw(t testing.TB, h func(n int, c net.Conn)) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{url: "http://" + l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := s.count()
			running.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				h(n, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); running.Wait() })
	return s
}

func (s *rawServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	return s.accepted
}

func (s *rawServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// take reads one request and reports whether it succeeded.
func take(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// replying returns a handler that writes text to each request and closes the connection.
func replying(text string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		if take(bufio.NewReader(c)) {
			write(c, text)
		}
	}
}

func object(t testing.TB, text string) Object {
	t.Helper()
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// equal compares two objects by their values.
func equal(t testing.TB, what string, got, want Object) {
	t.Helper()
	var g, w any
	for v, o := range map[*any]Object{&g: got, &w: want} {
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("timeout: %s", what)
		}
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("timeout: %s", what)
		panic("not reached")
	}
}
