package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/translate/wcs"
)

// serve starts a server with scripted replies. handle returns the reply to a command, and whether the socket
// is closed after it with 1012. The result is the address of its sockets.
func serve(t *testing.T, handle func(wcs.Command) (reply []byte, closes bool)) (url string) {
	t.Helper()
	var upgrader websocket.Upgrader
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer func() { _ = ws.Close() }() // a close frame, if any, was sent before
		if err := converse(ws, handle); !websocket.IsCloseError(err, websocket.CloseNormalClosure) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("socket: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func converse(ws *websocket.Conn, handle func(wcs.Command) ([]byte, bool)) error {
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		command, err := wcs.Decode(frame)
		if err != nil {
			return err
		}
		reply, closes := handle(command)
		if reply != nil {
			if err := ws.WriteMessage(websocket.TextMessage, reply); err != nil {
				return err
			}
		}
		if closes {
			bye := websocket.FormatCloseMessage(websocket.CloseServiceRestart, "restart")
			if err := ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Minute)); err != nil {
				return err
			}
			return net.ErrClosed
		}
	}
}

// accept is the reply to connection.
func accept() []byte { return wcs.UserData{AuthToken: "t"}.Frame() }

func TestRejectedStreamsAreReported(t *testing.T) {
	var streams atomic.Int64
	url := serve(t, func(c wcs.Command) ([]byte, bool) {
		if c.Name == wcs.CmdConnection {
			return accept(), false
		}
		var r wcs.StreamRequest
		if err := c.Bind(&r); c.Name != wcs.CmdPublishStream || err != nil || !strings.HasPrefix(r.SDP, "v=0") || !bool(r.HasAudio && r.HasVideo) {
			t.Errorf("%s: %+v, %v", c.Name, r, err)
		}
		info := wcs.InfoStreamNameAlreadyInUse
		if streams.Add(1) == 1 {
			info = wcs.InfoFailedToAddStreamToProxy
		}
		return wcs.StreamStatus{StreamHead: wcs.StreamHead{MediaSessionID: r.MediaSessionID, Name: r.Name, Status: wcs.StatusFailed}, Info: info}.Frame(), false
	})
	out := bringUp(t, "--scenario", "publish", "--sessions", "4", "--rate", "100", "--duration", "1s", "--url", url)
	if out.code != exitFailed {
		t.Errorf("exit code %d, want %d", out.code, exitFailed)
	}
	want := []failure{{"publish", wcs.InfoStreamNameAlreadyInUse, 3}, {"publish", wcs.InfoFailedToAddStreamToProxy, 1}}
	if !slices.Equal(out.Failures, want) {
		t.Errorf("failures %+v, want %+v", out.Failures, want)
	}
	if want := []step{{"connect", 4, 4, 0}, {"publish", 4, 0, 4}}; !slices.Equal(out.Steps, want) {
		t.Errorf("steps %+v, want %+v", out.Steps, want)
	}
}

func TestSilentServerIsReported(t *testing.T) {
	url := serve(t, func(c wcs.Command) ([]byte, bool) {
		if c.Name == wcs.CmdConnection {
			return accept(), false
		}
		return nil, false
	})
	out := bringUp(t, "--scenario", "fanout", "--players", "1", "--duration", "1s", "--timeout", "500ms", "--url", url)
	if want := []failure{{"publish", "no setRemoteSDP: timeout of 500ms", 1}}; !slices.Equal(out.Failures, want) {
		t.Errorf("failures %+v, want %+v", out.Failures, want)
	}
}

func TestClosedSessionsAreReported(t *testing.T) {
	var sessions atomic.Int64
	url := serve(t, func(wcs.Command) ([]byte, bool) {
		return accept(), sessions.Add(1) > 2 // the first is the probe
	})
	out := bringUp(t, "--scenario", "idle", "--sessions", "3", "--rate", "100", "--duration", "1s", "--url", url)
	if want := []failure{{"hold", "socket closed with 1012 restart", 2}}; !slices.Equal(out.Failures, want) {
		t.Errorf("failures %+v, want %+v", out.Failures, want)
	}
	if want := []step{{"connect", 3, 3, 0}, {"hold", 3, 1, 2}}; !slices.Equal(out.Steps, want) {
		t.Errorf("steps %+v, want %+v", out.Steps, want)
	}
}

// Each cycle lasts for the timeout, and only two can run.
func TestChurnReportsRunningOutOfSlots(t *testing.T) {
	url := serve(t, func(c wcs.Command) ([]byte, bool) {
		if c.Name == wcs.CmdConnection {
			return accept(), false
		}
		return nil, false
	})
	out := bringUp(t, "--scenario", "churn", "--sessions", "2", "--rate", "20", "--duration", "1s", "--timeout", "4s", "--url", url)
	if done := out.stepsDone(stepCycle); done != 2 {
		t.Errorf("%d cycles, want 2", done)
	}
	if !slices.ContainsFunc(out.Failures, func(f failure) bool { return f.Step == stepCycle && f.Info == "2 cycles are running" && f.Count > 2 }) {
		t.Errorf("failures %+v, want cycles for lack of slots", out.Failures)
	}
}

func TestUnusableServerIsReported(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, but nothing answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	stranger := serve(t, func(wcs.Command) ([]byte, bool) { return wcs.ConnectionFailed("Forbidden"), false })
	for _, tt := range []struct{ name, url, want string }{
		{"no listener", "ws" + strings.TrimPrefix(gone.URL, "http"), "connect: connection refused"},
		{"server without sockets", "ws" + strings.TrimPrefix(refusing.URL, "http"), "rejected with HTTP 404"},
		{"no answer", "ws://" + silent.Addr().String(), "no socket: timeout of 300ms"},
		{"refused", stranger, "Forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stderr := endAtOnce(t, "--scenario", "idle", "--timeout", "300ms", "--url", tt.url)
			if want := fmt.Sprintf("wcs-bench: no session at %s: ", tt.url); code != exitFailed || !strings.HasPrefix(stderr, want) || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stderr %q, want %q and %q in it", code, stderr, want, tt.want)
			}
		})
	}
}

func TestUnwritableReportFails(t *testing.T) {
	url := serve(t, func(wcs.Command) ([]byte, bool) { return accept(), false })
	file := filepath.Join(t.TempDir(), "missing", "report.json")
	var faults strings.Builder
	code := run(t.Context(), []string{"--scenario", "idle", "--sessions", "1", "--duration", "100ms", "--json", file, "--url", url}, t.Output(), &faults)
	if code != exitFailed || !strings.Contains(faults.String(), "write the report: open "+file) {
		t.Errorf("exit code %d, stderr %q", code, faults.String())
	}
}

// A reply counts if it came before the end of its stream or socket, however late the waiting goroutine runs.
func TestReplyBeforeEndCounts(t *testing.T) {
	url := serve(t, func(wcs.Command) ([]byte, bool) { return accept(), false })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, _, err := newServer(options{url: url, app: "a"}).dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st := &stream{answer: make(chan event, 1), ended: make(chan struct{}), end: event{status: wcs.StatusFailed}}
	close(st.ended)
	for range 50 { // select takes any channel that is ready
		offer(st.answer, event{text: "v=0"})
		if e, err := s.await(ctx, st, st.answer, "setRemoteSDP"); err != nil || e.text != "v=0" {
			t.Fatalf("%+v, %v", e, err)
		}
	}
}
