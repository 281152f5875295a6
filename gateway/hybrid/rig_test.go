package hybrid

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/serial"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

const patience = 10 * time.Second

// server is an upstream that says what a test says.
type server struct {
	t    *testing.T
	url  string
	came chan *visitor
}

// visitor is a link at the upstream.
type visitor struct {
	t       *testing.T
	ws      *websocket.Conn
	request *http.Request
}

func newServer(t *testing.T) *server {
	s := &server{t: t, came: make(chan *visitor, 10)}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = ws.Close() })
		s.came <- &visitor{t, ws, r}
	}))
	t.Cleanup(h.Close)
	s.url = "ws" + strings.TrimPrefix(h.URL, "http")
	return s
}

// next returns the next link, of which nothing was read.
func (s *server) next() *visitor {
	s.t.Helper()
	select {
	case v := <-s.came:
		return v
	case <-time.After(patience):
		s.t.Fatal("no link has come")
		return nil
	}
}

// welcome accepts the next client and returns its link.
func (s *server) welcome() *visitor {
	s.t.Helper()
	v := s.next()
	if m := v.read(); !strings.Contains(m, `"message":"connection"`) {
		s.t.Fatalf("the first message is %s", m)
	}
	v.send(`{"message":"getUserData","data":[{"authToken":"secret-of-upstream","status":"ESTABLISHED"}]}`)
	v.send(`{"message":"getVersion","data":["5.2"]}`)
	return v
}

func (v *visitor) read() string {
	v.t.Helper()
	_ = v.ws.SetReadDeadline(time.Now().Add(patience))
	_, b, err := v.ws.ReadMessage()
	if err != nil {
		v.t.Fatalf("the link has no message: %v", err)
	}
	return string(b)
}

func (v *visitor) want(m string) {
	v.t.Helper()
	if got := v.read(); got != m {
		v.t.Fatalf("the upstream gets %s, want %s", got, m)
	}
}

func (v *visitor) send(text string) {
	v.t.Helper()
	if err := v.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		v.t.Fatal(err)
	}
}

// wantClosed waits for the end of the link.
func (v *visitor) wantClosed() {
	v.t.Helper()
	_ = v.ws.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := v.ws.ReadMessage(); err != nil {
			if netErr, ok := err.(interface{ Timeout() bool }); ok && netErr.Timeout() {
				v.t.Fatal("the link is open")
			}
			return
		}
	}
}

// session is a session without a gateway.
type session struct {
	t      *testing.T
	loop   serial.Executor
	client *Client

	mu      sync.Mutex
	names   map[string]bool // streams here
	own     map[string]bool // media ids here
	full    bool            // the client takes nothing
	poor    bool            // every request is over the limit
	streams int
	asked   []string      // names that were looked at
	block   chan struct{} // not nil: looks wait for it
	got     chan string   // what the client is sent
	served  chan string   // what is executed here
	dropped prometheus.Counter
}

func (s *session) Post(f func())     { s.loop.Post(f) }
func (s *session) Send(frame []byte) { s.got <- string(frame) }
func (s *session) HasRoom() bool     { s.mu.Lock(); defer s.mu.Unlock(); return !s.full }
func (s *session) HasStream(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[id]
}
func (s *session) Serve(c wcs.Command)    { s.served <- string(c.Name) }
func (s *session) Charge(quota.Kind) bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.poor }
func (s *session) CountStreams(delta int) { s.streams += delta }
func (s *session) Knows(name string) bool {
	s.mu.Lock()
	s.asked = append(s.asked, name)
	block, here := s.block, s.names[name]
	s.mu.Unlock()
	if block != nil {
		<-block
	}
	return here
}

// set changes the session under its lock.
func (s *session) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

// do runs f on the session's loop and waits for it.
func (s *session) do(f func()) {
	done := make(chan struct{})
	s.loop.Post(func() { f(); close(done) })
	<-done
}

// command sends commands of the client, with nothing between them. It reports whether the upstream might have
// all of them.
func (s *session) command(frames ...string) (taken bool) {
	s.t.Helper()
	taken = true
	s.do(func() {
		for _, frame := range frames {
			cmd, err := wcs.Decode([]byte(frame))
			taken = err == nil && s.client.Take(cmd, []byte(frame)) && taken
		}
	})
	return taken
}

// sends is command for those that must be taken.
func (s *session) sends(frames ...string) {
	s.t.Helper()
	if !s.command(frames...) {
		s.t.Fatalf("%s is executed here", frames)
	}
}

// wantHere is command for one that must be executed here at once.
func (s *session) wantHere(frame string) {
	s.t.Helper()
	if s.command(frame) {
		s.t.Fatalf("%s is not executed here", frame)
	}
}

func (s *session) want(parts ...string) {
	s.t.Helper()
	select {
	case got := <-s.got:
		for _, part := range parts {
			if !strings.Contains(got, part) {
				s.t.Fatalf("the client is sent %s, want %q", got, part)
			}
		}
	case <-time.After(patience):
		s.t.Fatalf("the client is sent nothing, want %q", parts)
	}
}

func (s *session) wantServed(name wcs.Name) {
	s.t.Helper()
	select {
	case got := <-s.served:
		if got != string(name) {
			s.t.Fatalf("%s is executed here, want %s", got, name)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s is not executed here", name)
	}
}

// wantQuiet fails if the client was sent something.
func (s *session) wantQuiet() {
	s.t.Helper()
	s.do(func() {})
	if len(s.got) > 0 {
		s.t.Fatalf("the client is sent %s", <-s.got)
	}
}

// pod is the part of a gateway that sessions with upstreams need.
type pod struct {
	t       *testing.T
	clients *Clients
	server  *upstream.Server
	kept    *tokens
}

// token is the authToken of every session.
const token = "/s/secret-of-gateway"

// tokens is what is kept with the sessions.
type tokens struct {
	mu    sync.Mutex
	last  *state.SessionUpstream
	calls int
	names map[string]bool

	failing bool
}

func (k *tokens) PutUpstreamNames(_ context.Context, names []state.UpstreamName) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(names) > maxNames || k.failing {
		return state.ErrUnavailable
	}
	for _, n := range names {
		k.names[n.Name] = true
	}
	return nil
}

func (k *tokens) DropUpstreamNames(_ context.Context, names []state.UpstreamName) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(names) > maxNames || k.failing {
		return state.ErrUnavailable
	}
	for _, n := range names {
		delete(k.names, n.Name)
	}
	return nil
}

func (k *tokens) HasUpstreamName(_ context.Context, n state.UpstreamName) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.names[n.Name], nil
}

func (k *tokens) PutUpstream(session string, h state.TokenHash, u *state.SessionUpstream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if session != "/s" || h != sha256.Sum256([]byte(token)) {
		panic("kept with another session")
	}
	k.last = u
	k.calls++
}

func (*tokens) FindUpstream(context.Context, string, state.TokenHash) (state.Session, error) {
	return state.Session{}, state.ErrNotFound
}

func (k *tokens) get() (*state.SessionUpstream, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last, k.calls
}

func newPod(t *testing.T, url string, change func(*Deps, *upstream.ServerConfig)) *pod {
	t.Helper()
	gauge := func(name string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name}, labels)
	}
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	links := upstream.NewLinks(upstream.Deps{
		Context: t.Context(), Stall: patience, Recovered: func() {}, Log: zerolog.Nop(), Opened: func() {}, Ended: func(socket.Reason) {}, Refusing: func() bool { return false },
		Metrics: &upstream.Metrics{Sessions: gauge("s", "app", "upstream"), Opened: counter("o", "upstream", "result"), Commands: counter("c", "app", "upstream", "cmd")},
	})
	kept := &tokens{names: make(map[string]bool)}
	d := Deps{
		Context: t.Context(), Links: links, Tokens: kept, Names: kept, StoreTimeout: patience, MaxStreams: 8, MaxMessageBytes: 64 << 10, MaxQueueBytes: 128 << 10, MaxQueued: 100, Stall: patience,
		Metrics:   &Metrics{Links: gauge("l", "app", "upstream"), Streams: gauge("st", "app", "upstream", "kind"), Dropped: counter("d", "app")},
		Recovered: func() {}, Log: zerolog.Nop(),
	}
	cfg := upstream.ServerConfig{Name: "old", URL: url, ConnectTimeout: patience, BufferBytes: 4096}
	if change != nil {
		change(&d, &cfg)
	}
	to, err := upstream.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &pod{t, New(d), to, kept}
}

// session opens a session whose streams go to the upstream if there is true.
func (p *pod) session(there bool, change func(*App)) *session {
	p.t.Helper()
	app := App{Upstream: p.server}
	if there {
		app.Publishes.Default = p.server
	}
	if change != nil {
		change(&app)
	}
	var c wcs.Connection
	if err := json.Unmarshal([]byte(`{"appKey":"a","custom":{"x":1},"authToken":"secret-of-gateway","keepAlive":true,"sipLogin":"100"}`), &c); err != nil {
		p.t.Fatal(err)
	}
	s := &session{t: p.t, names: map[string]bool{}, own: map[string]bool{}, got: make(chan string, 1000), served: make(chan string, 1000)}
	from := Origin{Handshake: upstream.Handshake{Target: "/path?q=1", Origin: "https://page.example", UserAgent: "Browser", Client: netip.MustParseAddr("192.0.2.7"), Via: []string{"new"}}}
	s.client = p.clients.Open("a", app, &c, &from, s)
	p.t.Cleanup(func() { s.do(func() { s.client.End() }) })
	return s
}

func (p *pod) wantFigure(what string, m prometheus.Collector, want float64) {
	p.t.Helper()
	p.eventually(what, func() bool { return testutil.ToFloat64(m) == want })
}

func (p *pod) eventually(what string, ok func() bool) {
	p.t.Helper()
	rig.Eventually(p.t, patience, what, ok)
}

// frames of commands and statuses.
func command(name wcs.Name, id, stream string) string {
	return fmt.Sprintf(`{"message":%q,"data":[{"mediaSessionId":%q,"name":%q,"sdp":"v=0 <&>"}]}`, name, id, stream)
}

func status(id, stream string, s wcs.Status, info string) string {
	return fmt.Sprintf(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"name":%q,"status":%q,"info":%q,"future":[1]}]}`, id, stream, s, info)
}

func (s *session) lookedAt() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.asked) }
