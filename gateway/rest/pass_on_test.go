package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wcsgateway/gateway/upstream"
)

// serveWithOther returns an API that passes requests on to a server, and the requests that the server got.
func serveWithOther(t *testing.T, change func(*Other), handler http.HandlerFunc) (*world, chan *http.Request) {
	t.Helper()
	got := make(chan *http.Request, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came of it
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		got <- r
		handler(w, r)
	}))
	t.Cleanup(srv.Close)
	o := Other{Name: "old", URL: srv.URL + "/", Username: "gateway", Password: "other-secret", Deployment: "media"}
	if change != nil {
		change(&o)
	}
	return serve(t, Config{Users: users(t), Others: []Other{o}}, nil), got
}

func asOps(r *http.Request) { r.SetBasicAuth("ops", "secret") }

func TestUnsupportedRequestIsPassedOnWithoutCredentials(t *testing.T) {
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "of=theirs")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"exact" : 1}`)
	})
	r := w.do(t, http.MethodPost, prefix+"//call/startup/?x=%2F1", `{"callee":"ä"}`, func(r *http.Request) {
		asOps(r)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Cookie", "of=ours")
		r.Header.Set("X-Forwarded-For", "192.0.2.9")
		r.Header.Set(upstream.ViaHeader, "first")
	})
	if r.status != http.StatusConflict || r.body != `{"exact" : 1}` || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("response %+v", r)
	}
	for _, name := range []string{"Set-Cookie", "Access-Control-Allow-Origin"} {
		if v := r.header.Get(name); v != "" {
			t.Errorf("%s: %s of the other server passed", name, v)
		}
	}
	q := <-got
	body, _ := io.ReadAll(q.Body)
	user, password, _ := q.BasicAuth()
	if q.Method != http.MethodPost || q.RequestURI != prefix+"/call/startup?x=%2F1" || string(body) != `{"callee":"ä"}` || user != "gateway" || password != "other-secret" {
		t.Errorf("%s %s as %s: %s", q.Method, q.RequestURI, user, body)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cookie": "", "X-Forwarded-For": "", upstream.ViaHeader: "first, media"} {
		if v := q.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if log := w.log.String(); !strings.Contains(log, `"audit":"passed on","user":"ops"`) || !strings.Contains(log, "/call/startup") || strings.Contains(log, "other-secret") {
		t.Errorf("log %s", log)
	}
}

func TestRequestIsPassedOnForAllowedUsersOnly(t *testing.T) {
	w, got := serveWithOther(t, func(o *Other) { o.Users = []string{"boss"} }, func(http.ResponseWriter, *http.Request) {})
	for _, tt := range []struct {
		path   string
		change func(*http.Request)
		status int
	}{
		{"/call/find_all", asOps, http.StatusForbidden},
		{"/call/find_all", nil, http.StatusUnauthorized},
		{"/stream/find_all", asOps, http.StatusOK}, // of this server
		{"/nonsense", asOps, http.StatusNotFound},
		{"/call/../nonsense", asOps, http.StatusNotFound},
	} {
		if r := w.do(t, http.MethodPost, prefix+tt.path, `{}`, tt.change); r.status != tt.status {
			t.Errorf("%s: %+v", tt.path, r)
		}
	}
	if len(got) > 0 {
		t.Errorf("the other server got %d requests", len(got))
	}
}

func TestFailureOfOtherServerIsBadGateway(t *testing.T) {
	w, _ := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case prefix + "/call/refused":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		case prefix + "/call/cut":
			w.Header().Set("Content-Length", "200000")
			_, _ = io.WriteString(w, strings.Repeat("a part ", 10_000))
		case prefix + "/call/elsewhere":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		default:
			panic(http.ErrAbortHandler)
		}
	})
	for path, status := range map[string]int{"/call/refused": 502, "/call/dead": 502, "/call/elsewhere": 302} {
		if r := w.do(t, http.MethodPost, prefix+path, `{}`, asOps); r.status != status || r.header.Get("WWW-Authenticate")+r.header.Get("Location") != "" {
			t.Errorf("%s: %+v", path, r)
		}
	}
	if r := w.do(t, http.MethodGet, prefix+"/call/cut", "", asOps); !strings.HasSuffix(r.body, " cut off") {
		t.Errorf("a part of a response: %d and %d bytes", r.status, len(r.body))
	}
	back := func(r *http.Request) {
		asOps(r)
		r.Header.Set(upstream.ViaHeader, "first, media")
	}
	if r := w.do(t, http.MethodPost, prefix+"/call/dead", `{}`, back); r.status != http.StatusLoopDetected {
		t.Errorf("a request that came back: %+v", r)
	}
	if r := w.do(t, http.MethodPost, prefix+"/call/dead", strings.Repeat(" ", bodyLimit+1), asOps); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %+v", r)
	}
}

func TestURLOfOtherServerIsAddressOnly(t *testing.T) {
	for _, text := range []string{"", "old", "ws://old", "http://", "http://:80", "http://old/rest-api", "HTTP://old", "http://u:p@old", "http://old?x", "http://old#x", "http://old:x"} {
		if _, err := ParseOther(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
		if _, err := New(Config{Others: []Other{{URL: text}}}, Deps{}); err == nil {
			t.Errorf("an API with %q is made", text)
		}
	}
	for _, text := range []string{"http://old", "https://old:8444", "https://[::1]:8444/"} {
		if _, err := ParseOther(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOtherServerIsReplacedWhileRequestsRun(t *testing.T) {
	running, finish := make(chan struct{}), make(chan struct{})
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == prefix+"/call/slow" {
			close(running)
			<-finish
		}
		_, _ = io.WriteString(w, "first")
	})
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "" || password != "" {
			t.Errorf("credentials of the first server: %s", user)
		}
		_, _ = io.WriteString(w, "second")
	}))
	defer second.Close()
	want := func(path, body string, status int) {
		t.Helper()
		if r := w.do(t, http.MethodPost, prefix+path, `{}`, asOps); r.status != status || body != "" && r.body != body {
			t.Errorf("%s: %+v, want %d %s", path, r, status, body)
		}
	}
	slow := make(chan reply, 1)
	go func() { slow <- w.do(t, http.MethodPost, prefix+"/call/slow", `{}`, asOps) }()
	<-running
	if err := w.api.SetOthers([]Other{{URL: second.URL, Deployment: "media"}}); err != nil {
		t.Fatal(err)
	}
	want("/call/find_all", "second", http.StatusOK)
	if err := w.api.SetOthers([]Other{{URL: second.URL}, {URL: "ws://old"}}); err == nil {
		t.Error("a wrong URL is accepted")
	}
	want("/call/find_all", "second", http.StatusOK)
	if err := w.api.SetOthers(nil); err != nil {
		t.Fatal(err)
	}
	want("/call/find_all", "", http.StatusNotImplemented)
	close(finish)
	if r := <-slow; r.status != http.StatusOK || r.body != "first" {
		t.Errorf("the running request: %+v", r)
	}
	if len(got) != 1 {
		t.Errorf("the first server got %d requests", len(got))
	}
}
