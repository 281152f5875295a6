package hooks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// connectSample is the body of the vendor's sample.
const connectSample = `{"nodeId":"5tWOFn5ZoMQs22KrEls2Ulhee57hQO9D","appKey":"defaultApp","sessionId":"/5.44.168.45:53438/abcdef0123456789",
 "useWsTunnel":false,"useWsTunnelPacketization2":false,"useBase64BinaryEncoding":false,
 "mediaProviders":["WebRTC","MSE","WSPlayer"],"clientVersion":"0.5.28","clientOSVersion":"5.0 (Windows)",
 "clientBrowserVersion":"Mozilla/5.0 …","keepAlive":false,"origin":"https://test2.flashphoner.com:8888"}`

func TestCallReturnsObject(t *testing.T) {
	type call struct {
		path string
		body string
	}
	calls := make(chan call, 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		calls <- call{r.Method + " " + r.RequestURI, string(body)}
		write(w, `{"custom":{"a":[1,2]},"restClientConfig":{}}`)
	})
	b := newBackend(t, Config{URL: srv.URL + "/rest/my_api"}, Deps{})
	got, err := b.Call(t.Context(), Connect, object(t, connectSample))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "answer", got, object(t, `{"custom":{"a":[1,2]},"restClientConfig":{}}`))
	c := receive(t, "the call", calls)
	if c.path != "POST /rest/my_api/connect" {
		t.Errorf("called %s", c.path)
	}
	equal(t, "body", object(t, c.body), object(t, connectSample))
}

// The request is compared byte for byte with a request of WCS.
func TestRequestEqualsThatOfWCS(t *testing.T) {
	requests := make(chan string, 1)
	srv := serveRaw(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		body := make([]byte, len(`{"name":"<b&b>","sdp":"a\u0000"}`))
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		requests <- head.String() + string(body)
		write(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	})
	b := newBackend(t, Config{URL: srv.url + "/api/"}, Deps{})
	if _, err := b.Call(t.Context(), PublishStream, object(t, `{"sdp":"a\u0000", "name": "<b&b>"}`)); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(receive(t, "request", requests), "\r\n")
	want := []string{
		"POST /api/publishStream HTTP/1.1",
		"Host: " + strings.TrimPrefix(srv.url, "http://"),
		"Accept: application/json",
		"Connection: keep-alive",
		"Content-Length: 32",
		"Content-Type: application/json;charset=UTF-8",
		"User-Agent: wcs-gateway",
		"",
		`{"name":"<b&b>","sdp":"a\u0000"}`,
	}
	slices.Sort(got[1:7])
	slices.Sort(want[1:7])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestMethodIsAppendedToURL(t *testing.T) {
	paths := make(chan string, 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		paths <- r.RequestURI
		write(w, "{}")
	})
	for prefix, want := range map[string]string{
		"":             "/connect",
		"/":            "/connect",
		"/a/b":         "/a/b/connect",
		"/a/b//":       "/a/b/connect",
		"/a//../x%2Fy": "/a//../x%2Fy/connect",
	} {
		b := newBackend(t, Config{URL: srv.URL + prefix}, Deps{})
		if _, err := b.Call(t.Context(), Connect, nil); err != nil {
			t.Errorf("%q: %v", prefix, err)
			continue
		}
		if got := receive(t, prefix, paths); got != want {
			t.Errorf("%q: called %s, want %s", prefix, got, want)
		}
	}
}

func TestBodyIsEncodedForBackends(t *testing.T) {
	bodies := make(chan string, 1)
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request, body []byte) {
		bodies <- string(body)
		write(w, "{}")
	})
	b := newBackend(t, Config{URL: srv.URL}, Deps{})
	for want, o := range map[string]Object{
		`{}`:                       nil,
		`{"a":null}`:               {"a": nil},
		`{"a":"\u2028","b":"é\/"}`: {"b": []byte(`"é\/"`), "a": []byte(` "\u2028" `)},
		"{\"a\":\"x\uFFFDy\"}":     {"a": []byte("\"x\xffy\"")},
	} {
		if _, err := b.Call(t.Context(), Connect, o); err != nil {
			t.Errorf("%s: %v", want, err)
		} else if got := receive(t, want, bodies); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	if _, err := b.Call(t.Context(), Connect, Object{"a": []byte("{")}); err == nil {
		t.Error("invalid JSON was sent")
	}
}

func TestAnswerBodyMustBeObject(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       string // empty: ErrBadResponse
	}{
		{"object", ` {"a": 1} `, `{"a":1}`},
		{"nothing", "", `{}`},
		{"spaces", " \r\n", `{}`},
		{"byte order mark", "\uFEFF{\"a\":1}", `{"a":1}`},
		{"Latin-1", "{\"name\":\"caf\xe9\"}", `{"name":"caf\ufffd"}`},
		{"garbage", "<html>It works!</html>", ""},
		{"array", `[{"a":1}]`, ""},
		{"null", "null", ""},
		{"string", `"{}"`, ""},
		{"cut off", `{"a":1`, ""},
		{"text behind", `{"a":1} Warning: x`, ""},
		{"depth", strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), ""},
		{"huge", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				w.Header().Set("Content-Type", "text/html") // ignored
				write(w, tt.body)
			})
			b := newBackend(t, Config{URL: srv.URL, MaxResponseBytes: 512 << 10}, Deps{})
			got, err := b.Call(t.Context(), Connect, nil)
			switch {
			case tt.want == "":
				if !errors.Is(err, ErrBadResponse) || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
			case err != nil:
				t.Error(err)
			case got == nil:
				t.Error("answer is nil")
			default:
				equal(t, "answer", got, object(t, tt.want))
			}
		})
	}
}

func TestAnswerOfExactlyTheLimitIsAccepted(t *testing.T) {
	body := `{"a":"` + strings.Repeat("x", 92) + `"}`
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		write(w, body)
		if strings.HasSuffix(r.URL.Path, string(PublishStream)) {
			write(w, " ")
		}
	})
	b := newBackend(t, Config{URL: srv.URL, MaxResponseBytes: int64(len(body))}, Deps{})
	if _, err := b.Call(t.Context(), Connect, nil); err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
	if _, err := b.Call(t.Context(), PublishStream, nil); !errors.Is(err, ErrBadResponse) {
		t.Errorf("%d bytes: %v", len(body)+1, err)
	}
}

func TestRefusalHasStatusAndReason(t *testing.T) {
	long := strings.Repeat("é", 150)
	for line, want := range map[string]Refusal{
		"403 No seats left":          {403, "No seats left"},
		"403 Forbidden":              {403, "Forbidden"},
		"403 ":                       {403, "Forbidden"},
		"500 Internal Server Error":  {500, "Internal Server Error"},
		"201 Created":                {201, "Created"},
		"204 No Content":             {204, "No Content"},
		"304 Not Modified":           {304, "Not Modified"},
		"599 ":                       {599, "599"},
		"403 \x00bell\x07 \x1b[31mA": {403, "bell [31mA"},
		"403 caf\xe9 \u202e\u2028":   {403, "caf"},
		"403 " + long:                {403, long[:200]},
		"403 x" + long:               {403, "x" + long[:198]},
	} {
		body := "Content-Length: 13\r\n\r\n{\"a\":\"hello\"}"
		if want.Status == 204 || want.Status == 304 { // have none
			body = "\r\n"
		}
		srv := serveRaw(t, replying("HTTP/1.1 "+line+"\r\n"+body))
		b := newBackend(t, Config{URL: srv.url}, Deps{})
		_, err := b.Call(t.Context(), PublishStream, nil)
		var got *Refusal
		if !errors.As(err, &got) || *got != want {
			t.Errorf("%q: got %v, want %+v", line, err, want)
		}
	}
}

// A refusal must not close the connection.
func TestRefusalKeepsConnection(t *testing.T) {
	srv := serveRaw(t, func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); take(r); {
			write(c, "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nsorry")
		}
	})
	b := newBackend(t, Config{URL: srv.url}, Deps{})
	for range 3 {
		if _, err := b.Call(t.Context(), Connect, nil); !errors.As(err, new(*Refusal)) {
			t.Fatal(err)
		}
	}
	if n := srv.connections(); n != 1 {
		t.Errorf("three calls took %d connections", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serveRaw(t, replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	for _, code := range []int{300, 301, 302, 303, 307, 308} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
			w.Header().Set("Location", elsewhere.url)
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(code)
		})
		b := newBackend(t, Config{URL: srv.URL}, Deps{})
		_, err := b.Call(t.Context(), Connect, nil)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Status != code {
			t.Errorf("%d: %v", code, err)
		}
	}
	if n := elsewhere.connections(); n != 0 {
		t.Errorf("%d calls followed a redirect", n)
	}
}

// An answer cannot influence the headers of the next call.
func TestAnswerDoesNotChangeNextCall(t *testing.T) {
	heads := make(chan http.Header, 2)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		heads <- r.Header
		w.Header().Set("Set-Cookie", "a=b; Path=/")
		w.Header().Set("Alt-Svc", `h2="elsewhere:443"`)
		write(w, `{"Host":"elsewhere","Authorization":"x"}`)
	})
	b := newBackend(t, Config{URL: srv.URL}, Deps{})
	for range 2 {
		if _, err := b.Call(t.Context(), Connect, nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(<-heads, <-heads); diff != "" {
		t.Errorf("the second call's headers differ:\n%s", diff)
	}
	if b.transport.Proxy != nil {
		t.Error("a proxy of the environment is used")
	}
}

func TestOnlyConfiguredMethodsAreSent(t *testing.T) {
	srv := serveRaw(t, replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	b := newBackend(t, Config{URL: srv.url, Methods: []Method{PlayStream}}, Deps{
		Observe: func(m Method, _ time.Duration, _ error) { t.Errorf("%s was observed", m) },
	})
	var none *Backend
	if !b.Sends(PlayStream) || b.Sends(Connect) || b.Sends("") || none.Sends(Connect) {
		t.Error("Sends is wrong")
	}
	for _, m := range []Method{Connect, "", "../playStream"} {
		if _, err := b.Call(t.Context(), m, nil); err == nil {
			t.Errorf("%q was called", m)
		}
	}
	if n := srv.connections(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestObserveReceivesEachCall(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if strings.HasSuffix(r.URL.Path, string(PublishStream)) {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	var mu sync.Mutex
	seen := map[Method]string{}
	b := newBackend(t, Config{URL: srv.URL}, Deps{Observe: func(m Method, d time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		seen[m] = fmt.Sprint(err)
		if d <= 0 {
			t.Errorf("%s took %v", m, d)
		}
	}})
	for _, m := range []Method{Connect, PublishStream} {
		_, _ = b.Call(t.Context(), m, nil) // the error is checked in Observe
	}
	want := map[Method]string{Connect: "<nil>", PublishStream: "refused by the backend: 403 Forbidden"}
	mu.Lock()
	defer mu.Unlock()
	if !maps.Equal(seen, want) {
		t.Errorf("observed %v", seen)
	}
}

func TestNewRejectsBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"url must be http":             {URL: "ftp://host"},
		"url must be http(s)://host":   {URL: "http://:80/a"},
		"url must be http(s)":          {URL: ""},
		"url must not have a user":     {URL: "http://user@host"},
		"url must end with the path":   {URL: "http://host/a?method="},
		"must end with the path":       {URL: "http://host/a?"},
		"end with the path":            {URL: "http://host/a#"},
		`"Connect" is not a REST hook`: {URL: "http://host", Methods: []Method{"Connect"}},
		"timeout must":                 {URL: "http://host", Timeout: -1},
		"retries":                      {URL: "http://host", Retries: -1},
		"limits":                       {URL: "http://host", MaxWaiting: -1},
		"set together":                 {URL: "http://host", Password: "x"},
		"colon":                        {URL: "http://host", Username: "a:b", Password: "x"},
		"the Authorization header":     {URL: "http://host", Username: "a", Password: "x", HMACSecret: "y"},
		"must be verified":             {URL: "https://host", TLS: insecure()},
	} {
		_, err := New(cfg, Deps{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New(Config{URL: "http://user:hunter2@host?token=hunter2", Retries: -1}, Deps{})
	for _, part := range []string{"user or password", "retries"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in the error: %v", part, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Errorf("the error contains the password: %v", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	came := make(chan struct{}, 2)
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		came <- struct{}{}
		<-r.Context().Done()
	})
	b := newBackend(t, Config{URL: srv.URL, MaxInFlight: 1, MaxWaiting: 1}, Deps{})
	done := make(chan error, 2)
	for range 2 { // one in progress, one waiting
		go func() {
			_, err := b.Call(context.Background(), Connect, nil)
			done <- err
		}()
	}
	receive(t, "call", came)
	eventually(t, "one waits", func() bool { return b.calls.Load() == 2 })
	b.Close()
	for range 2 {
		if err := receive(t, "end of the call", done); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errClosed) {
			t.Errorf("call ended with %v", err)
		}
	}
	if _, err := b.Call(t.Context(), Connect, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("call after Close: %v", err)
	}
	if len(came) != 0 {
		t.Error("the backend was called after Close")
	}
}
