package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/socket"
)

func (w *world) open(t *testing.T, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.Dial(w.urls[podA], header)
	if err == nil {
		t.Cleanup(func() { _ = ws.Close() })
	} else if res == nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return ws, res
}

func (w *world) wantRefusals(t *testing.T, r string, n float64) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "refusals are counted: "+string(r), func() bool {
		return testutil.ToFloat64(w.pods[podA].metrics.Rejections.WithLabelValues(string(r))) == n
	})
}

func TestSocketsOverALimitAreRefusedBeforeTheUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		limits    apps.Limits
		status    int
		rejection string
	}{
		"in all":        {apps.Limits{Limits: socket.Limits{Connections: 1}}, http.StatusServiceUnavailable, "connections"},
		"of an address": {apps.Limits{Limits: socket.Limits{ConnectionsPerAddress: 1}}, http.StatusTooManyRequests, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) { cfg.Limits = c.limits })
			first, _ := w.open(t, nil)
			_, res := w.open(t, nil)
			if res.StatusCode != c.status || res.Header.Get("Retry-After") == "" {
				t.Errorf("%d, Retry-After %q, want %d", res.StatusCode, res.Header.Get("Retry-After"), c.status)
			}
			w.wantRefusals(t, c.rejection, 1)
			_ = first.Close()
			rig.Eventually(t, 20*time.Second, "the place is free again", func() bool {
				ws, _ := w.open(t, nil)
				return ws != nil
			})
		})
	}
}

// Of the sockets without a session, the oldest makes room for the newcomer.
func TestOldestPendingSocketMakesRoom(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.Limits = apps.Limits{Limits: socket.Limits{Pending: 1}} })
	first, _ := w.open(t, nil)
	c := w.connect(t, podA)
	if _, _, err := first.ReadMessage(); err == nil {
		t.Error("the older socket is open")
	}
	w.wantRefusals(t, "pending", 1)
	c.Send("availableStream", map[string]any{"mediaSessionId": "a", "name": "s"})
	c.Await("availableStream")
}

// A session, and a socket that is refused, no longer count as one that has not said who it is.
func TestSessionsOfApplicationAreBounded(t *testing.T) {
	w := newWorld(t, func(cfg *Config) {
		cfg.Limits.Pending = 1
		app := cfg.Apps["defaultApp"]
		app.MaxSessions = 2
		cfg.Apps["defaultApp"] = app
	})
	a := w.connect(t, podA)
	w.connect(t, podA)
	c := rig.Dial(t, w.urls[podA])
	c.Send("connection", map[string]any{"appKey": "defaultApp"})
	if m := c.Await("fail"); !strings.Contains(m.Raw, "Too many sessions of this application") {
		t.Errorf("got %s", m.Raw)
	}
	_ = c.AwaitClosed()
	w.wantRefusals(t, "app_sessions", 1)
	rig.Eventually(t, 20*time.Second, "the refused socket is no longer counted as pending", func() bool {
		return w.pods[podA].admission.Pending() == 0
	})
	rig.Connect(t, w.urls[podA], "native") // has its own
	a.Close()
	rig.Eventually(t, 20*time.Second, "a place is free again", func() bool {
		ws, res := w.open(t, nil)
		if res.StatusCode != http.StatusSwitchingProtocols {
			return false
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"defaultApp"}]}`)); err != nil {
			return false
		}
		_, b, err := ws.ReadMessage()
		return err == nil && strings.Contains(string(b), "getUserData")
	})
}

func TestOriginsAreRefused(t *testing.T) {
	list := func(patterns ...string) origins.List {
		l, err := origins.Parse(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	w := newWorld(t, func(cfg *Config) {
		cfg.Origins = list("https://*.example.com")
		app := cfg.Apps["native"]
		app.Origins = list("https://own.example.com")
		cfg.Apps["native"] = app
	})
	for header, status := range map[string]int{
		"": 101, "https://a.example.com": 101, "https://evil.example": 403, "null": 403, "nonsense": 403,
	} {
		h := http.Header{}
		if header != "" {
			h.Set("Origin", header)
		}
		if _, res := w.open(t, h); res.StatusCode != status {
			t.Errorf("%q: %d, want %d", header, res.StatusCode, status)
		}
	}
	if _, res := w.open(t, http.Header{"Origin": {"https://a.example.com", "https://evil.example"}}); res.StatusCode != 403 {
		t.Errorf("two origins: %d", res.StatusCode)
	}
	w.wantRefusals(t, "origin", 4)

	for header, want := range map[string]string{"https://own.example.com": "getUserData", "https://a.example.com": "Origin not allowed"} {
		ws, _ := w.open(t, http.Header{"Origin": {header}})
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"native"}]}`)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s %v, want %s", header, b, err, want)
		}
	}
	w.wantRefusals(t, "app_origin", 1)
}

// Without a list every origin is accepted, in any form: clients that are no browsers send all kinds.
func TestOriginsWithoutListAreAccepted(t *testing.T) {
	w := newWorld(t, nil)
	for header, status := range map[string]int{
		"https://a.example": 101, "null": 101, "file://": 101, "https://a.example/": 101, "about:blank": 101, "app": 101,
		"https://" + strings.Repeat("a", 300): 403,
	} {
		if _, res := w.open(t, http.Header{"Origin": {header}}); res.StatusCode != status {
			t.Errorf("%.40s: %d, want %d", header, res.StatusCode, status)
		}
	}
}

// WebSocket libraries that are not browsers send the server's own address as Origin: SocketRocket on iOS,
// React Native, websocket-client for Python.
func TestOwnAddressAsOriginIsAccepted(t *testing.T) {
	pages, err := origins.Parse([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(cfg *Config) {
		cfg.Origins = pages
		app := cfg.Apps["native"]
		app.Origins = pages
		cfg.Apps["native"] = app
	})
	secure := httptest.NewTLSServer(w.pods[podA].Public()) // its certificate is for example.com
	t.Cleanup(secure.Close)
	plain := strings.TrimSuffix(strings.TrimPrefix(w.urls[podA], "ws://"), "/")
	for _, tt := range []struct {
		url, origin string
		status      int
	}{
		{"ws://" + plain, "http://" + plain, 101},
		{"ws://" + plain, "https://" + plain, 101},
		{"ws://" + plain, "http://127.0.0.1:1", 403},
		{"wss://example.com", "https://example.com", 101}, // the client has verified the name
		{"wss://example.com", "http://example.com", 403},
		{"wss://example.com", "https://www.example.com", 403},
		{"ws://rebound.example", "http://rebound.example", 403}, // a name that its owner points to this server
	} {
		dialer := websocket.Dialer{
			TLSClientConfig: secure.Client().Transport.(*http.Transport).TLSClientConfig,
			NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				addr := plain
				if strings.HasPrefix(tt.url, "wss:") {
					addr = secure.Listener.Addr().String()
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		}
		ws, res, err := dialer.Dial(tt.url, http.Header{"Origin": {tt.origin}})
		if res == nil {
			t.Fatalf("%s: %v", tt.url, err)
		}
		if res.StatusCode != tt.status {
			t.Errorf("%s from %s: %d, want %d", tt.url, tt.origin, res.StatusCode, tt.status)
		}
		if err != nil {
			continue
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"native"}]}`)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), "getUserData") {
			t.Errorf("%s from %s: %s %v, want a session", tt.url, tt.origin, b, err)
		}
		_ = ws.Close()
	}
}

// Running sessions keep their application; new ones get the new.
func TestReloadKeepsApplicationsOfRunningSessions(t *testing.T) {
	w := newWorld(t, nil)
	old := w.connect(t, podA)
	g := w.pods[podA]
	g.Reload(apps.Reloadable{Apps: map[string]apps.App{"new": {Key: "new", Room: "new.{name}", Native: apps.NativeOff}}})
	publishAV(t, old, "m", "s")
	old.AwaitSDP("m")
	if room, _ := w.sfu.only(t, "pub"); room != "wcs.s" {
		t.Errorf("a running session publishes to %s", room)
	}
	rig.Connect(t, w.urls[podA], "new")
	c := rig.Dial(t, w.urls[podA])
	c.Send("connection", map[string]any{"appKey": "defaultApp"})
	if m := c.Await("fail"); !strings.Contains(m.Raw, "Application not found") {
		t.Errorf("got %s", m.Raw)
	}
	w.wantRefusals(t, "unknown_app", 1)
	g.Reload(apps.Reloadable{Apps: map[string]apps.App{}, Limits: apps.Limits{Limits: socket.Limits{Connections: 1}}})
	if _, res := w.open(t, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new limit does not count: %d", res.StatusCode)
	}
}

func TestFloodingSocketsAreClosed(t *testing.T) {
	message := []byte(`{"message":"pushLogs","data":[{"logs":"` + strings.Repeat("x", 400) + `"}]}`)
	for name, c := range map[string]struct {
		limits    apps.Limits
		send      func(*websocket.Conn) error
		rejection string
	}{
		"messages": {apps.Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.TextMessage, message)
		}, "messages"},
		"control pings": {apps.Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute))
		}, "messages"},
		"control pongs": {apps.Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute))
		}, "messages"},
		"bytes": {apps.Limits{Limits: socket.Limits{BytesPerSecond: 1, ByteBurst: 20000}}, func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.TextMessage, message)
		}, "bytes"},
		// Never a message: frames without content and without an end.
		"fragments": {apps.Limits{Limits: socket.Limits{BytesPerSecond: 1, ByteBurst: 2000}}, func(ws *websocket.Conn) error {
			_, err := ws.NetConn().Write([]byte{0, 0x80, 0, 0, 0, 0})
			return err
		}, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) { cfg.Limits = c.limits })
			ws, _ := w.open(t, nil)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"defaultApp"}]}`)); err != nil {
				t.Fatal(err)
			}
			if name == "fragments" { // the first one begins a message
				if _, err := ws.NetConn().Write([]byte{1, 0x81, 0, 0, 0, 0, '"'}); err != nil {
					t.Fatal(err)
				}
			}
			for range 1000 {
				if c.send(ws) != nil {
					break // closed meanwhile
				}
			}
			var closed *websocket.CloseError
			for closed == nil {
				_, _, err := ws.ReadMessage()
				if err != nil && !errors.As(err, &closed) {
					t.Fatalf("no close frame: %v", err)
				}
			}
			if closed.Code != websocket.ClosePolicyViolation || !strings.Contains(closed.Text, "too_many_") {
				t.Errorf("closed with %d %q", closed.Code, closed.Text)
			}
			w.wantRefusals(t, c.rejection, 1)
		})
	}
}

// Refused commands are counted and leave the session as it is.
func TestRejectedCommandsAreCounted(t *testing.T) {
	w := newWorld(t, func(cfg *Config) {
		cfg.Limits = apps.Limits{JSONDepth: 20, NameBytes: 50, IDBytes: 50, CustomBytes: 50, PayloadBytes: 50, LoginBytes: 50}
	})
	c := w.connect(t, podA)
	deep := strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)
	long := strings.Repeat("x", 60)
	for _, tt := range []struct {
		name    string
		send    func()
		answer  string
		refusal string
		n       float64
	}{
		{"deep", func() {
			c.SendRaw(`{"message":"sendData","data":[{"operationId":"o","payload":` + deep[:500_000] + `}]}`)
		}, "fail", "json_depth", 1},
		{"deep and closed", func() { c.SendRaw(strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000)) }, "fail", "json_depth", 2},
		{"name", func() { publishAV(t, c, "m", long) }, "notifyStreamStatusEvent", "name", 1},
		{"media id", func() { publishAV(t, c, long, "s") }, "notifyStreamStatusEvent", "id", 1},
		{"custom", func() {
			c.Send("publishStream", rig.StreamRequest("m", "s", offerOf(t, "publish"), true, map[string]any{"custom": long}))
		}, "notifyStreamStatusEvent", "member_size", 1},
		{"payload", func() { c.Send("sendData", map[string]any{"operationId": "o", "payload": long}) }, "DataStatusEvent", "member_size", 2},
		{"operation id", func() { c.Send("sendData", map[string]any{"operationId": long}) }, "fail", "id", 2},
		{"call id", func() { c.Send("call", map[string]any{"callId": long}) }, "fail", "id", 3},
		{"question", func() { c.Send("availableStream", map[string]any{"mediaSessionId": long, "name": "s"}) }, "fail", "id", 4},
		{"snapshot", func() { c.Send("snapshot", map[string]any{"mediaSessionId": long, "name": "s"}) }, "fail", "id", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.send()
			if m := c.Await(tt.answer); !strings.Contains(m.Raw, `"FAILED"`) || len(m.Raw) > 2000 {
				t.Errorf("got %.300s", m.Raw)
			}
			w.wantRefusals(t, tt.refusal, tt.n)
		})
	}
	publishAV(t, c, "m", "s")
	c.AwaitSDP("m")

	d := rig.Dial(t, w.urls[podA])
	d.Send("connection", map[string]any{"appKey": "defaultApp", "custom": map[string]any{"token": long}})
	if m := d.Await("fail"); !strings.Contains(m.Raw, "custom is too big") {
		t.Errorf("got %s", m.Raw)
	}
	_ = d.AwaitClosed()
}

// headerless is a connection of a proxy that has not sent its PROXY header, for which RemoteAddr waits.
type headerless struct {
	net.Conn
	t *testing.T
}

func (c headerless) RemoteAddr() net.Addr {
	c.t.Error("the listener waits for a PROXY header and accepts no other connection")
	return &net.TCPAddr{}
}

func TestConnectionWithoutProxyHeaderDoesNotDelayOthers(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ProxyProtocol = true })
	c := headerless{t: t}
	w.pods[podA].ConnState(c, http.StateNew)
	w.pods[podA].ConnState(c, http.StateClosed)
}
