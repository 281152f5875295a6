package socket

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestOutboundDropsBinaryAndLongMessages(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for _, m := range []struct {
			kind int
			text string
		}{{websocket.BinaryMessage, "x"}, {websocket.TextMessage, "12345678901"}, {websocket.TextMessage, "1234567890"}} {
			_ = ws.WriteMessage(m.kind, []byte(m.text))
		}
		_, b, _ := ws.ReadMessage()
		_ = ws.WriteMessage(websocket.TextMessage, b)
		_, _, _ = ws.ReadMessage()
	}))
	defer srv.Close()
	c, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := NewOutbound(t.Context(), c, "ws://host/path", nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for i, want := range []string{"", "", "1234567890"} {
		frame, ok, err := out.Read()
		if err != nil || ok != (want != "") || string(frame) != want {
			t.Errorf("message %d is %q, %v, %v; want %q", i, frame, ok, err, want)
		}
	}
	if err := out.Write([]byte("hello"), time.Second); err != nil {
		t.Fatal(err)
	}
	if frame, _, err := out.Read(); string(frame) != "hello" {
		t.Errorf("%q, %v", frame, err)
	}
	out.Close()
	out.Close()
	if _, _, err := out.Read(); err == nil {
		t.Error("a closed socket is read")
	}
}

// A server that sends a response without end is not read for longer than the response may be.
func TestOutboundRejectsLongResponse(t *testing.T) {
	here, there := net.Pipe()
	sent := make(chan int64, 1)
	go func() {
		_, _ = there.Read(make([]byte, 4096)) // the request
		_, _ = io.WriteString(there, "HTTP/1.1 101 Switching Protocols\r\n")
		n, _ := io.Copy(there, io.LimitReader(zeros{}, 1<<20))
		sent <- n
	}()
	if _, err := NewOutbound(t.Context(), here, "ws://host/", nil, 10); err == nil {
		t.Error("no error")
	}
	if n := <-sent; n > 2*maxResponse+32<<10 {
		t.Errorf("%d bytes were read", n)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
