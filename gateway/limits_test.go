package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate/wcs"
)

func TestNames(t *testing.T) {
	l := Limits{NameBytes: 40}
	for name, ok := range map[string]bool{
		"test": true, "a/b/c": true, "rtsp://host:554/path?x=1": true, "..a/b..": true, "a...b": true, "потік-1": true, "名前 with blanks": true,
		"family👨‍👩‍👧": true, "עברית\u200f": true, strings.Repeat("x", 40): true,
		"": false, "..": false, "../etc/passwd": false, "a/../b": false, "a/..": false, `a\..\b`: false, "a\nb": false, "a\x00": false, "a\x7f": false,
		"a\u0085b": false, "a\u2028b": false, "gnp\u202e.exe": false, "a\u2067b": false, "\xff\xfe": false, strings.Repeat("x", 41): false,
	} {
		if err := l.checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSizesOfMembers(t *testing.T) {
	l := Limits{IDBytes: 36, LoginBytes: 10, CustomBytes: 30, PayloadBytes: 20}
	connection := func(arg string) wcs.Connection {
		t.Helper()
		cmd, err := wcs.Decode([]byte(`{"message":"connection","data":[` + arg + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		var c wcs.Connection
		if err := cmd.Bind(&c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for arg, want := range map[string]error{
		`{}`:                               nil,
		`{"custom":"x"}`:                   nil,
		`{"custom":{"login":"12345678"}}`:  nil,
		`{"custom":{"login":"123456789"}}`: errLoginSize,
		`{"login":"123456789"}`:            errLoginSize,
		`{"sipLogin":"123456789"}`:         errLoginSize,
		`{"custom":{"token":"` + strings.Repeat("x", 30) + `"}}`: errCustomSize,
	} {
		if err := l.checkConnection(connection(arg)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", arg, err, want)
		}
	}
	for id, ok := range map[string]bool{"": true, strings.Repeat("i", 36): true, strings.Repeat("i", 37): false, "a\nb": false} {
		if err := l.checkID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
	if l.checkPayload(make([]byte, 20)) != nil || l.checkPayload(make([]byte, 21)) == nil || l.checkCustom(30) != nil || l.checkCustom(31) == nil {
		t.Error("sizes of payload or custom are wrong")
	}
	if none := (Limits{}); none.checkPayload(make([]byte, 1<<20)) != nil || none.checkName(strings.Repeat("x", 1000)) != nil {
		t.Error("0 is a limit")
	}
}

// open tries to open a socket and gives the HTTP status.
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

func (w *world) wantRefusals(t *testing.T, r refusal, n float64) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "refusals are counted: "+string(r), func() bool {
		return testutil.ToFloat64(w.pods[podA].metrics.refusals.WithLabelValues(string(r))) == n
	})
}

func TestSocketsOverALimitAreRefusedBeforeTheUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		status int
		refusal
	}{
		"in all":         {Limits{Limits: socket.Limits{Connections: 1}}, http.StatusServiceUnavailable, refusedConnections},
		"of an address":  {Limits{Limits: socket.Limits{ConnectionsPerAddress: 1}}, http.StatusTooManyRequests, refusedAddress},
		"not a session ": {Limits{Limits: socket.Limits{Pending: 1}}, http.StatusServiceUnavailable, refusedPending},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) { cfg.Limits = c.limits })
			first, _ := w.open(t, nil)
			_, res := w.open(t, nil)
			if res.StatusCode != c.status || res.Header.Get("Retry-After") == "" {
				t.Errorf("%d, Retry-After %q, want %d", res.StatusCode, res.Header.Get("Retry-After"), c.status)
			}
			w.wantRefusals(t, c.refusal, 1)
			_ = first.Close()
			rig.Eventually(t, 20*time.Second, "the place is free again", func() bool {
				ws, _ := w.open(t, nil)
				return ws != nil
			})
		})
	}
}

// A session, and a socket that is refused, no longer count as one that has not said who it is.
func TestPlacesOfSessions(t *testing.T) {
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
	if m := c.Await("fail"); !strings.Contains(m.Raw, infoTooManyOfTheir) {
		t.Errorf("got %s", m.Raw)
	}
	_ = c.AwaitClosed()
	w.wantRefusals(t, refusedAppSessions, 1)
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
	w.wantRefusals(t, refusedOrigin, 4)

	for header, want := range map[string]string{"https://own.example.com": "getUserData", "https://a.example.com": infoWrongOrigin} {
		ws, _ := w.open(t, http.Header{"Origin": {header}})
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"native"}]}`)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s %v, want %s", header, b, err, want)
		}
	}
	w.wantRefusals(t, refusedAppOrigin, 1)
}

// Running sessions keep their application; new ones get the new.
func TestReloadOfApplications(t *testing.T) {
	w := newWorld(t, nil)
	old := w.connect(t, podA)
	g := w.pods[podA]
	g.Reload(Live{Apps: map[string]App{"new": {Key: "new", Room: "new.{name}", Native: NativeOff}}})
	publishAV(t, old, "m", "s")
	old.AwaitSDP("m")
	if room, _ := w.sfu.only(t, "pub"); room != "wcs.s" {
		t.Errorf("a running session publishes to %s", room)
	}
	rig.Connect(t, w.urls[podA], "new")
	c := rig.Dial(t, w.urls[podA])
	c.Send("connection", map[string]any{"appKey": "defaultApp"})
	if m := c.Await("fail"); !strings.Contains(m.Raw, infoNoApplication) {
		t.Errorf("got %s", m.Raw)
	}
	w.wantRefusals(t, refusedUnknownApp, 1)
	g.Reload(Live{Apps: map[string]App{}, Limits: Limits{Limits: socket.Limits{Connections: 1}}})
	if _, res := w.open(t, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new limit does not count: %d", res.StatusCode)
	}
}

func TestFloodsAreEnded(t *testing.T) {
	message := []byte(`{"message":"pushLogs","data":[{"logs":"` + strings.Repeat("x", 400) + `"}]}`)
	for name, c := range map[string]struct {
		limits Limits
		send   func(*websocket.Conn) error
		refusal
	}{
		"messages": {Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.TextMessage, message)
		}, refusedMessages},
		"control pings": {Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute))
		}, refusedMessages},
		"control pongs": {Limits{Limits: socket.Limits{MessagesPerSecond: 1, MessageBurst: 50}}, func(ws *websocket.Conn) error {
			return ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute))
		}, refusedMessages},
		"bytes": {Limits{Limits: socket.Limits{BytesPerSecond: 1, ByteBurst: 20000}}, func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.TextMessage, message)
		}, refusedBytes},
		// Never a message: frames without content that go on for ever.
		"fragments": {Limits{Limits: socket.Limits{BytesPerSecond: 1, ByteBurst: 2000}}, func(ws *websocket.Conn) error {
			_, err := ws.NetConn().Write([]byte{0, 0x80, 0, 0, 0, 0})
			return err
		}, refusedBytes},
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
			w.wantRefusals(t, c.refusal, 1)
		})
	}
}

// Refused commands are counted and leave the session as it is.
func TestRefusedCommandsAreCounted(t *testing.T) {
	w := newWorld(t, func(cfg *Config) {
		cfg.Limits = Limits{JSONDepth: 20, NameBytes: 50, IDBytes: 50, CustomBytes: 50, PayloadBytes: 50, LoginBytes: 50}
	})
	c := w.connect(t, podA)
	deep := strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)
	long := strings.Repeat("x", 60)
	for _, tt := range []struct {
		name    string
		send    func()
		answer  string
		refusal refusal
		n       float64
	}{
		{"deep", func() {
			c.SendRaw(`{"message":"sendData","data":[{"operationId":"o","payload":` + deep[:500_000] + `}]}`)
		}, "fail", refusedDepth, 1},
		{"deep and closed", func() { c.SendRaw(strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000)) }, "fail", refusedDepth, 2},
		{"name", func() { publishAV(t, c, "m", long) }, "notifyStreamStatusEvent", refusedName, 1},
		{"media id", func() { publishAV(t, c, long, "s") }, "notifyStreamStatusEvent", refusedID, 1},
		{"custom", func() {
			c.Send("publishStream", rig.StreamRequest("m", "s", offerOf(t, "publish"), true, map[string]any{"custom": long}))
		}, "notifyStreamStatusEvent", refusedMember, 1},
		{"payload", func() { c.Send("sendData", map[string]any{"operationId": "o", "payload": long}) }, "DataStatusEvent", refusedMember, 2},
		{"operation id", func() { c.Send("sendData", map[string]any{"operationId": long}) }, "fail", refusedID, 2},
		{"call id", func() { c.Send("call", map[string]any{"callId": long}) }, "fail", refusedID, 3},
		{"question", func() { c.Send("availableStream", map[string]any{"mediaSessionId": long, "name": "s"}) }, "fail", refusedID, 4},
		{"snapshot", func() { c.Send("snapshot", map[string]any{"mediaSessionId": long, "name": "s"}) }, "fail", refusedID, 5},
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
