package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate"
)

func upstreamAt(t *testing.T, url string) *upstream.Server {
	t.Helper()
	s, err := upstream.NewServer(upstream.ServerConfig{Name: "old", URL: url, ConnectTimeout: 20 * time.Second, BufferBytes: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// routed changes the route of defaultApp.
func routed(c *Config, r upstream.Route) {
	app := c.Apps["defaultApp"]
	app.Route = r
	c.Apps["defaultApp"] = app
}

// splicedWorld is a world whose defaultApp is served by a scripted server.
func splicedWorld(t *testing.T, change func(*Config)) (*world, *rig.ScriptedServer) {
	t.Helper()
	old := rig.StartScriptedServer(t)
	return newWorld(t, func(c *Config) {
		routed(c, upstream.Route{Default: upstreamAt(t, old.URL)})
		if change != nil {
			change(c)
		}
	}), old
}

func dialSocket(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func send(t *testing.T, ws *websocket.Conn, typ int, message string) {
	t.Helper()
	if err := ws.WriteMessage(typ, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// hello is odd on purpose: it must arrive as it is.
const hello = `{"message":"connection", "data":[ {"appKey":"defaultApp","sipPassword":"pä\u0073s","x":1e5,"x2":[null]} ]}`

// spliced returns both ends of a spliced session.
func spliced(t *testing.T, w *world, old *rig.ScriptedServer) (client *websocket.Conn, server *rig.ScriptedConn) {
	t.Helper()
	client = dialSocket(t, w.urls[podA], nil)
	send(t, client, websocket.TextMessage, hello)
	server = old.Accept(t)
	server.Want(websocket.TextMessage, hello)
	return client, server
}

func random(seed uint64, n int) string {
	r, b := rand.New(rand.NewPCG(seed, 0)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func TestServerGetsHandshakeOfSplicedClient(t *testing.T) {
	w, old := splicedWorld(t, func(c *Config) { c.Proxies = realip.Proxies{} })
	client := dialSocket(t, w.urls[podA]+"/a%2Fb/ws?x=1&y=%20", http.Header{
		"Origin": {"https://app.example"}, "User-Agent": {"a browser"}, "X-Forwarded-For": {"198.51.100.1"}, "Cookie": {"c=1"},
		upstream.ViaHeader: {"first, second"},
	})
	send(t, client, websocket.TextMessage, hello)
	r := old.Accept(t).Request
	if r.RequestURI != "/a%2Fb/ws?x=1&y=%20" {
		t.Errorf("path and query %q", r.RequestURI)
	}
	for header, want := range map[string]string{
		"Origin": "https://app.example", "User-Agent": "a browser", "X-Forwarded-For": "127.0.0.1", "Cookie": "", "Sec-Websocket-Extensions": "",
		upstream.ViaHeader: "first, second, test",
	} {
		if got := strings.Join(r.Header.Values(header), "|"); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if !strings.HasSuffix(old.URL, r.Host) {
		t.Errorf("host %q", r.Host)
	}
}

func TestSplicedFramesPassUnchanged(t *testing.T) {
	w, old := splicedWorld(t, nil)
	client, server := spliced(t, w, old)
	for i, size := range []int{0, 1, 125, 126, 511, 512, 513, 65535, 65536, 3 << 20} {
		for _, typ := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			message := random(uint64(i), size)
			done := make(chan struct{})
			go func() {
				defer close(done)
				server.Send(typ, message)
			}()
			rig.WantMessage(t, client, typ, message)
			<-done
			if size < 1<<20 { // within the client's limit of bytes
				send(t, client, typ, message)
				server.Want(typ, message)
			}
		}
	}

	// A message in fragments with a ping in between.
	pings := make(chan string, 2)
	client.SetPingHandler(func(data string) error {
		pings <- data
		return client.WriteControl(websocket.PongMessage, []byte("answer to "+data), time.Now().Add(time.Second))
	})
	pongs := make(chan string, 1)
	server.SetPongHandler(func(data string) error {
		pongs <- data
		return nil
	})
	raw := server.NetConn()
	for _, frame := range []string{"\x01\x03abc", "\x89\x04ping", "\x00\x00", "\x80\x01d"} {
		if _, err := raw.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	rig.WantMessage(t, client, websocket.TextMessage, "abcd")
	send(t, client, websocket.TextMessage, "after the pong")
	server.Want(websocket.TextMessage, "after the pong")
	if got := <-pings + ", " + <-pongs; got != "ping, answer to ping" {
		t.Errorf("control frames: %s", got)
	}
}

func TestCloseCodesPassInBothDirections(t *testing.T) {
	w, old := splicedWorld(t, nil)
	client, server := spliced(t, w, old)
	_ = server.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "odd"), time.Now().Add(time.Second))
	rig.WantClose(t, client, 4321)
	rig.WantClose(t, server.Conn, 4321) // the client's answer

	client, server = spliced(t, w, old)
	_ = client.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4322, "odd"), time.Now().Add(time.Second))
	rig.WantClose(t, server.Conn, 4322)
	_ = server.Close()
	rig.WantClose(t, client, 4322)
	w.wantNoLinks(t, map[string]int{"upstream": 1, "client": 1})
}

// wantNoLinks waits for the end of all links of pod A and compares the reasons.
func (w *world) wantNoLinks(t *testing.T, closes map[string]int) {
	t.Helper()
	g := w.pods[podA]
	rig.Eventually(t, 20*time.Second, "all links have ended", func() bool { return g.links.Len() == 0 })
	for reason, n := range closes {
		rig.Eventually(t, 20*time.Second, fmt.Sprintf("%d sockets ended with %s", n, reason), func() bool {
			return testutil.ToFloat64(g.metrics.Closes.WithLabelValues(reason)) == float64(n)
		})
	}
	rig.Eventually(t, 20*time.Second, "no session is counted as spliced", func() bool {
		return testutil.ToFloat64(g.metrics.upstream.Sessions.WithLabelValues("defaultApp", "old")) == 0
	})
	rig.Eventually(t, 20*time.Second, "no socket is counted", func() bool { return testutil.ToFloat64(g.metrics.Connections) == 0 })
}

// writtenUsage passes on what a pod writes of its upstreams' use.
type writtenUsage chan map[state.UpstreamUse]int64

func (w writtenUsage) AddTranscript(context.Context, string, int, []byte) error { return nil }

func (w writtenUsage) CountUpstreamUse(_ context.Context, counts map[state.UpstreamUse]int64) error {
	w <- counts
	return nil
}

func TestUseOfUpstreamIsWrittenWhenPodEnds(t *testing.T) {
	old, written := rig.StartScriptedServer(t), make(writtenUsage, 10)
	w := emptyWorld()
	w.usage = written
	w.start(t, podA, func(c *Config) {
		routed(c, upstream.Route{Share: 0, Rules: []upstream.Rule{{SIP: true, To: upstreamAt(t, old.URL)}}})
	})
	messages := []string{
		`{"message":"connection","data":[{"appKey":"defaultApp","sipLogin":"a","clientVersion":"2.0.180"}]}`,
		`{"message":"call","data":[{}]}`, `{"message":"pong"}`, `{"message":"unheardOf","data":[]}`,
	}
	client := dialSocket(t, w.urls[podA], nil)
	for _, message := range messages {
		send(t, client, websocket.TextMessage, message)
	}
	server := old.Accept(t)
	for _, message := range messages {
		server.Want(websocket.TextMessage, message)
	}
	here := dialSocket(t, w.urls[podA], nil)
	send(t, here, websocket.TextMessage, `{"message":"connection","data":[{"appKey":"defaultApp","clientVersion":"0.5.28"}]}`)
	if _, _, err := here.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	w.stop(podA)
	use := func(command, version string) state.UpstreamUse {
		return state.UpstreamUse{App: "defaultApp", Upstream: "old", Command: command, ClientVersion: version}
	}
	want := map[state.UpstreamUse]int64{use("", "2.0.180"): 1, use("connection", ""): 1, use("call", ""): 1, use("other", ""): 1}
	got := make(map[state.UpstreamUse]int64)
	for counts := range written {
		for use, n := range counts {
			got[use] += n
		}
		if len(got) >= len(want) {
			break
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("written %v, want %v", got, want)
	}
}

func TestServerThatDiesMidFrameEndsItsClientOnly(t *testing.T) {
	w, old := splicedWorld(t, nil)
	client, server := spliced(t, w, old)
	other, otherServer := spliced(t, w, old)
	_, _ = server.NetConn().Write([]byte("\x82\x7d only a part of 125 bytes"))
	_ = server.NetConn().Close()
	if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
		t.Errorf("client's socket ended with %v", err)
	}
	_ = client.Close()
	otherServer.Send(websocket.TextMessage, "still here")
	rig.WantMessage(t, other, websocket.TextMessage, "still here")
	_ = other.Close() // without a close frame
	if _, _, err := otherServer.ReadMessage(); err == nil {
		t.Error("the server still has its client")
	}
	w.wantNoLinks(t, map[string]int{"upstream": 1, "lost": 1})
}

func TestGarbageOfServerReachesItsClientAlone(t *testing.T) {
	w, old := splicedWorld(t, nil)
	client, server := spliced(t, w, old)
	_, _ = server.NetConn().Write([]byte("\xf3\x05HTTP/1.1 400 what\r\n\r\n\x00\xff"))
	if _, _, err := client.ReadMessage(); err == nil {
		t.Error("the client accepts garbage")
	}
	_ = client.Close()
	w.wantNoLinks(t, nil)
}

func TestUpstreamThatCannotServeRejectsClient(t *testing.T) {
	down := rig.StartScriptedServer(t)
	down.Status.Store(http.StatusForbidden)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nothing is accepted
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, tt := range map[string]struct {
		server func() *upstream.Server
		want   string
	}{
		"refusing": {func() *upstream.Server { return upstreamAt(t, down.URL) }, "Upstream server is not available"},
		"down":     {func() *upstream.Server { return upstreamAt(t, "ws://127.0.0.1:1") }, "Upstream server is not available"},
		"slow": {func() *upstream.Server {
			s, err := upstream.NewServer(upstream.ServerConfig{Name: "old", URL: "ws://" + silent.Addr().String(), ConnectTimeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}, "Upstream server is not available"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { routed(c, upstream.Route{Default: tt.server()}) })
			client := dialSocket(t, w.urls[podA], nil)
			send(t, client, websocket.TextMessage, hello)
			_, message, err := client.ReadMessage()
			if err != nil || !strings.Contains(string(message), `"message":"fail"`) || !strings.Contains(string(message), tt.want) {
				t.Errorf("message %s, %v", message, err)
			}
			rig.WantClose(t, client, websocket.CloseInternalServerErr)
			w.wantNoLinks(t, map[string]int{"upstream": 1})
			if n := testutil.ToFloat64(w.pods[podA].metrics.upstream.Opened.WithLabelValues("old", "unavailable")); n != 1 {
				t.Errorf("%v failed connections are counted", n)
			}
		})
	}
}

func TestFurtherClientsOfFullUpstreamAreRejected(t *testing.T) {
	old := rig.StartScriptedServer(t)
	server, err := upstream.NewServer(upstream.ServerConfig{Name: "old", URL: old.URL, ConnectTimeout: 20 * time.Second, MaxLinks: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { routed(c, upstream.Route{Default: server}) })
	first, accepted := spliced(t, w, old)
	second := dialSocket(t, w.urls[podA], nil)
	send(t, second, websocket.TextMessage, hello)
	if _, message, err := second.ReadMessage(); err != nil || !strings.Contains(string(message), "Upstream server is busy") {
		t.Errorf("message %s, %v", message, err)
	}
	_ = first.Close()
	_, _, _ = accepted.ReadMessage()
	_ = accepted.Close()
	w.wantNoLinks(t, nil)
	_, _ = spliced(t, w, old) // there is room again
}

func TestReloadMovesNewSessionsOnly(t *testing.T) {
	w, old := splicedWorld(t, nil)
	g := w.pods[podA]
	client, server := spliced(t, w, old)
	here := apps.Reloadable{Apps: map[string]apps.App{"defaultApp": {Key: "defaultApp", Room: "wcs.{name}", Codecs: translate.DefaultCodecs()}}}
	was := apps.Reloadable{Apps: map[string]apps.App{"defaultApp": *g.table.Settings().Apps["defaultApp"]}}
	g.Reload(here)
	c := w.connect(t, podA)
	server.Send(websocket.TextMessage, "still here")
	rig.WantMessage(t, client, websocket.TextMessage, "still here")
	g.Reload(was) // rollback
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
	_, _ = spliced(t, w, old)
	if n, spliced := g.Admin().PodStatistics().Connections, g.Admin().PodStatistics().Spliced; n != 3 || spliced != 2 {
		t.Errorf("%d connections, %d spliced", n, spliced)
	}
	send(t, client, websocket.TextMessage, `{"message":"call","data":[{}]}`)
	server.Want(websocket.TextMessage, `{"message":"call","data":[{}]}`)
	w.allUp()
	c.WantStatus("pub", "PUBLISHING", "")
	sides := make(map[string]admin.Side)
	for _, s := range g.sides() {
		sides[s.Upstream] = s
	}
	if len(sides) != 2 {
		t.Fatalf("sides %+v", sides)
	}
	if s := sides["old"]; s.App != "defaultApp" || s.Upstream != "old" || s.Sessions != 2 || s.Commands["call"] != 1 || s.Commands["connection"] != 2 {
		t.Errorf("side of the upstream %+v", s)
	}
	if s := sides[""]; s.App != "defaultApp" || s.Sessions != 1 || s.Published != 1 || s.Played != 0 {
		t.Errorf("side of the gateway %+v", s)
	}
	for side, want := range map[string]float64{"old": 2} {
		rig.Eventually(t, 20*time.Second, "clients are counted", func() bool { // after their servers have received their messages
			return testutil.ToFloat64(g.metrics.routed.WithLabelValues("defaultApp", side)) >= want
		})
		if n := testutil.ToFloat64(g.metrics.routed.WithLabelValues("defaultApp", side)); n != want {
			t.Errorf("%v clients were routed to %s, want %v", n, side, want)
		}
	}
}

func TestClientsOfShareAreServedHereOnEveryPod(t *testing.T) {
	old := rig.StartScriptedServer(t)
	route := upstream.Route{Share: 50, Default: upstreamAt(t, old.URL)}
	w := newWorld(t, func(c *Config) { routed(c, route) })
	sides := map[bool]int{}
	for i := range 20 {
		for _, pod := range []string{podA, podB, podA} {
			client := dialSocket(t, w.urls[pod], nil)
			message := fmt.Sprintf(`{"message":"connection","data":[{"appKey":"defaultApp","custom":{"login":"user-%d"}}]}`, i)
			send(t, client, websocket.TextMessage, message)
			var c upstream.Client
			c.App, c.Connection.Sent = "defaultApp", map[string]json.RawMessage{"custom": json.RawMessage(fmt.Sprintf(`{"login":"user-%d"}`, i))}
			here := route.For(c) == nil
			sides[here]++
			if !here {
				old.Accept(t).Want(websocket.TextMessage, message)
				continue
			}
			if _, got, err := client.ReadMessage(); err != nil || !strings.Contains(string(got), "getUserData") {
				t.Fatalf("message %s, %v", got, err)
			}
		}
	}
	if len(sides) != 2 || old.Accepted() != 0 {
		t.Errorf("sides %v, %d too many at the other server", sides, old.Accepted())
	}
}

func TestSessionsOfThisGatewayAreResumedHere(t *testing.T) {
	old := rig.StartScriptedServer(t)
	w := newWorld(t, func(c *Config) { c.KeepAliveGrace, c.Limits.Detached = time.Hour, 10 })
	client := w.dial(t, podA)
	token := client.LoginKept("defaultApp", "")
	for _, pod := range []string{podA, podB} {
		settings := w.pods[pod].table.Settings()
		app := *settings.Apps["defaultApp"]
		app.Route.Default = upstreamAt(t, old.URL)
		w.pods[pod].Reload(apps.Reloadable{Apps: map[string]apps.App{"defaultApp": app}, Limits: settings.Limits})
	}
	if n := testutil.ToFloat64(w.pods[podB].metrics.routed.WithLabelValues("defaultApp", sideHere)); n != 0 {
		t.Errorf("%v clients were routed here", n)
	}
	client.Drop()
	if renewed := w.dial(t, podB).LoginKept("defaultApp", token); !strings.HasPrefix(renewed, token[:strings.LastIndexByte(token, '/')]) {
		t.Errorf("token %.40q is not of the session %.40q", renewed, token)
	}
	if n := testutil.ToFloat64(w.pods[podB].metrics.routed.WithLabelValues("defaultApp", sideHere)); n != 1 {
		t.Errorf("%v clients were routed here", n)
	}
	foreign := dialSocket(t, w.urls[podA], nil)
	message := `{"message":"connection","data":[{"appKey":"defaultApp","authToken":"/10.0.0.1:1/10.0.0.2:8443-e0f0f01d-6b0b"}]}`
	send(t, foreign, websocket.TextMessage, message)
	old.Accept(t).Want(websocket.TextMessage, message)
}

func TestMediaSocketsAreForwardedToTheirServer(t *testing.T) {
	old := rig.StartScriptedServer(t)
	w := newWorld(t, func(c *Config) { c.MediaSockets = upstreamAt(t, old.URL) })
	client := dialSocket(t, w.urls[podA], nil)
	const message = `{"message":"connectMediaTransport","data":[{"authToken":"/10.0.0.1:1/x-y"}]}`
	send(t, client, websocket.TextMessage, message)
	server := old.Accept(t)
	server.Want(websocket.TextMessage, message)
	media := random(1, 100_000)
	server.Send(websocket.BinaryMessage, media)
	rig.WantMessage(t, client, websocket.BinaryMessage, media)
	_ = w.connect(t, podA) // sessions stay here
	if old.Accepted() != 0 {
		t.Error("the other server got a session")
	}
}

func TestRequestOfOwnDeploymentIsRefused(t *testing.T) {
	var inner *world
	outer := newWorld(t, func(c *Config) {
		c.Deployment = "outer"
		if inner == nil { // each leads to the other
			inner = newWorld(t, func(c *Config) { c.Deployment = "inner" })
		}
		routed(c, upstream.Route{Default: upstreamAt(t, inner.urls[podA])})
	})
	app := *inner.pods[podA].table.Settings().Apps["defaultApp"]
	app.Route.Default = upstreamAt(t, outer.urls[podB])
	inner.pods[podA].Reload(apps.Reloadable{Apps: map[string]apps.App{"defaultApp": app}})
	client := dialSocket(t, outer.urls[podA], nil)
	send(t, client, websocket.TextMessage, hello)
	if _, message, err := client.ReadMessage(); err != nil || !strings.Contains(string(message), "Upstream server is not available") {
		t.Errorf("message %s, %v", message, err)
	}
	if n := testutil.ToFloat64(outer.pods[podB].metrics.Rejections.WithLabelValues(string(rejectLoop))); n != 1 {
		t.Errorf("%v loops are counted", n)
	}
}

// A second gateway plays the other server: the commands of a whole session.
func TestClientPublishesAndPlaysThroughSplice(t *testing.T) {
	old := newWorld(t, func(c *Config) { c.Deployment = "old" })
	w := newWorld(t, func(c *Config) { routed(c, upstream.Route{Default: upstreamAt(t, old.urls[podA])}) })
	pub, play := w.connect(t, podA), w.connect(t, podB)
	publishAV(t, pub, "pub", "s")
	pub.AwaitSDP("pub")
	old.media(t, podA, translate.RolePublish)
	pub.WantStatus("pub", "PUBLISHING", "")
	playAV(t, play, "play", "s")
	play.AwaitSDP("play")
	old.media(t, podA, translate.RolePlay)
	play.WantStatus("play", "PLAYING", "")
	pub.SendRaw(`{"message":"availableStream","data":[{"mediaSessionId":"q","name":"s"}]}`)
	pub.Await("availableStream")
	m := w.pods[podA].metrics.upstream.Commands
	for cmd, want := range map[string]float64{"connection": 1, "publishStream": 1, "availableStream": 1, "other": 0} { // the test's client writes some names last
		if n := testutil.ToFloat64(m.WithLabelValues("defaultApp", "old", cmd)); n != want {
			t.Errorf("%v commands %s are counted, want %v", n, cmd, want)
		}
	}
	if w.sfu.participants() != 0 || len(w.store.Names()) != 0 {
		t.Error("the gateway in front has streams")
	}
	pub.Close()
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	play.Close()
	old.wantClean(t)
}

func TestFloodOfSplicedClientClosesItAlone(t *testing.T) {
	w, old := splicedWorld(t, func(c *Config) { c.Limits.MessagesPerSecond, c.Limits.MessageBurst = 1, 20 })
	client, server := spliced(t, w, old)
	go func() {
		for range 100 {
			if client.WriteMessage(websocket.TextMessage, []byte(`{"message":"ping"}`)) != nil {
				return
			}
		}
	}()
	rig.WantClose(t, client, websocket.ClosePolicyViolation)
	received := 0
	for ; ; received++ {
		if _, _, err := server.ReadMessage(); err != nil {
			break
		}
	}
	if received > 20 {
		t.Errorf("the server got %d messages", received)
	}
	_ = server.Close()
	w.wantNoLinks(t, map[string]int{"too_many_messages": 1})
}

func TestDrainingPodClosesSplicedSessionsBetweenFrames(t *testing.T) {
	w, old := splicedWorld(t, func(c *Config) { c.Drain = DrainConfig{Window: 10 * time.Millisecond} })
	idle, idleServer := spliced(t, w, old)
	busy, busyServer := spliced(t, w, old)
	_, _ = busyServer.NetConn().Write([]byte("\x81\x0bhello"))
	w.stop(podA)
	rig.WantClose(t, idle, websocket.CloseGoingAway)
	rig.WantClose(t, idleServer.Conn, websocket.CloseGoingAway) // the client's answer
	_, _ = busyServer.NetConn().Write([]byte(" world\x81\x04next"))
	rig.WantMessage(t, busy, websocket.TextMessage, "hello world")
	rig.WantClose(t, busy, websocket.CloseGoingAway)
	w.wantNoLinks(t, map[string]int{"shutdown": 2})
}

func TestFaultsBeforeRouteEndSocketAsWithoutRoute(t *testing.T) {
	for name, tt := range map[string]struct {
		send   func(*websocket.Conn)
		code   int
		reason string
	}{
		"nothing": {func(*websocket.Conn) {}, websocket.ClosePolicyViolation, "hello_timeout"},
		"binary":  {func(c *websocket.Conn) { _ = c.WriteMessage(websocket.BinaryMessage, []byte(hello)) }, websocket.CloseUnsupportedData, "binary"},
		"too big": {func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, make([]byte, 2<<20)) }, websocket.CloseMessageTooBig, "message_too_big"},
		"another first": {func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"message":"publishStream"}`))
		}, websocket.ClosePolicyViolation, "refused"},
		"garbage": {func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, []byte("garbage")) }, websocket.ClosePolicyViolation, "refused"},
		"unknown app": {func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"x"}]}`))
		}, websocket.ClosePolicyViolation, "refused"},
		"pings only": {func(c *websocket.Conn) {
			for range 100 {
				_ = c.WriteControl(websocket.PingMessage, make([]byte, 125), time.Now().Add(time.Second))
			}
		}, websocket.CloseMessageTooBig, "message_too_big"},
	} {
		t.Run(name, func(t *testing.T) {
			w, old := splicedWorld(t, func(c *Config) {
				c.Conn.MaxMessageBytes = 4096
				if tt.reason == "hello_timeout" {
					c.Conn.HelloTimeout = 10 * time.Millisecond
				}
			})
			client := dialSocket(t, w.urls[podA], nil)
			tt.send(client)
			rig.WantClose(t, client, tt.code)
			_ = client.Close()
			w.wantNoLinks(t, map[string]int{tt.reason: 1})
			if old.Accepted() != 0 {
				t.Error("the other server got the client")
			}
		})
	}
}

func TestPongsBeforeConnectionSelectNoRoute(t *testing.T) {
	w, old := splicedWorld(t, nil)
	client := dialSocket(t, w.urls[podA], nil)
	const pong = `{"message":"pong","data":[null]}`
	send(t, client, websocket.TextMessage, pong)
	send(t, client, websocket.TextMessage, hello)
	send(t, client, websocket.TextMessage, "next")
	server := old.Accept(t)
	for _, message := range []string{pong, hello, "next"} {
		server.Want(websocket.TextMessage, message)
	}
}
