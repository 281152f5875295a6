package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Hook is a call that a backend got.
type Hook struct {
	Method string // the end of the path
	Path   string
	Header http.Header
	Raw    []byte
	Body   map[string]json.RawMessage
}

// Text is a member of the body that is a string, "" if it is none.
func (h Hook) Text(member string) (s string) {
	_ = json.Unmarshal(h.Body[member], &s) // no string, or not there
	return s
}

// Reply answers a hook.
type Reply func(w http.ResponseWriter, h Hook)

// Echo allows everything and changes nothing, as the vendor's EchoApp.
func Echo(w http.ResponseWriter, h Hook) { writeBody(w, http.StatusOK, h.Raw) }

// Refuse answers with a status and a body.
func Refuse(status int) Reply {
	return func(w http.ResponseWriter, h Hook) { writeBody(w, status, h.Raw) }
}

// Change answers with the body of the call and these members.
func Change(members map[string]any) Reply {
	return func(w http.ResponseWriter, h Hook) {
		answer := map[string]any{}
		for k, v := range h.Body {
			answer[k] = v
		}
		for k, v := range members {
			answer[k] = v
		}
		b, err := json.Marshal(answer)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeBody(w, http.StatusOK, b)
	}
}

// Say answers 200 with a text.
func Say(text string) Reply {
	return func(w http.ResponseWriter, _ Hook) { writeBody(w, http.StatusOK, []byte(text)) }
}

// Hold answers with then once the channel is closed, or not at all if the caller disconnects first.
func Hold(until <-chan struct{}, then Reply) Reply {
	return func(w http.ResponseWriter, h Hook) {
		<-until
		then(w, h)
	}
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may be gone
}

// Backend is an application's REST backend (docs/backend-hooks.md). It keeps what it was called with and
// answers as a test sets, by default with Echo.
type Backend struct {
	URL string // with a path, which hooks are below

	t    testing.TB
	addr string

	mu      sync.Mutex
	server  *http.Server
	served  chan struct{}
	replies map[string]Reply
	inbox   []Hook
	order   []string
	news    chan struct{} // closed and replaced at each call
}

// StartBackend starts a backend on a free port. It ends with the test.
func StartBackend(t testing.TB) *Backend {
	t.Helper()
	b := &Backend{t: t, addr: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), replies: map[string]Reply{}, news: make(chan struct{})}
	b.URL = "http://" + b.addr + "/rest/my_api"
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// Start lets a backend that was stopped listen again.
func (b *Backend) Start() {
	b.t.Helper()
	var l net.Listener
	bind(b.t, func() (err error) {
		l, err = net.Listen("tcp", b.addr)
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.server, b.served = &http.Server{Handler: b, ReadHeaderTimeout: patience}, make(chan struct{})
	go func(s *http.Server, served chan struct{}) {
		defer close(served)
		_ = s.Serve(l) // ends with Stop
	}(b.server, b.served)
}

// Stop closes the backend and all its connections. It may be repeated.
func (b *Backend) Stop() {
	b.mu.Lock()
	server, served := b.server, b.served
	b.mu.Unlock()
	_ = server.Close() // it was only listening
	<-served
}

// On sets how a method is answered from now on.
func (b *Backend) On(method string, r Reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies[method] = r
}

// ServeHTTP takes a hook.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	h := Hook{Method: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], Path: r.URL.RequestURI(), Header: r.Header.Clone(), Raw: raw}
	if err := json.Unmarshal(raw, &h.Body); err != nil || r.Method != http.MethodPost {
		b.t.Errorf("backend: %s %s: %v", r.Method, r.URL, err)
	}
	b.mu.Lock()
	b.inbox = append(b.inbox, h)
	b.order = append(b.order, strings.TrimSpace(h.Method+" "+h.Text("status")))
	close(b.news)
	b.news = make(chan struct{})
	reply := b.replies[h.Method]
	b.mu.Unlock()
	if reply == nil {
		reply = Echo
	}
	reply(w, h)
}

// Await takes the next call of a method.
func (b *Backend) Await(method string) Hook {
	b.t.Helper()
	return b.AwaitMatch(method, func(h Hook) bool { return h.Method == method })
}

// AwaitStatus takes the next call of an event with this status.
func (b *Backend) AwaitStatus(method, status string) Hook {
	b.t.Helper()
	return b.AwaitMatch(method+" "+status, func(h Hook) bool { return h.Method == method && h.Text("status") == status })
}

// AwaitMatch takes the first call that matches. what is for the failure.
func (b *Backend) AwaitMatch(what string, match func(Hook) bool) Hook {
	b.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		b.mu.Lock()
		for i, h := range b.inbox {
			if match(h) {
				b.inbox = append(b.inbox[:i:i], b.inbox[i+1:]...)
				b.mu.Unlock()
				return h
			}
		}
		news := b.news
		b.mu.Unlock()
		select {
		case <-news:
		case <-limit.C:
			b.t.Fatalf("backend was not called: %s; calls so far: %v", what, b.Order())
		}
	}
}

// Order lists all calls so far: method and status.
func (b *Backend) Order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.order...)
}

// Count counts the calls of a method so far.
func (b *Backend) Count(method string) (n int) {
	for _, call := range b.Order() {
		if name, _, _ := strings.Cut(call, " "); name == method {
			n++
		}
	}
	return n
}
