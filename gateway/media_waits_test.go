package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
)

func (g *Gateway) waiting() (n int) {
	g.waits.mu.Lock()
	defer g.waits.mu.Unlock()
	for _, of := range g.waits.of {
		n += of
	}
	return n
}

// waitingWorld is a hybridWorld in which sockets wait for longer than a test lasts.
func waitingWorld(t *testing.T, change func(*Config)) (w *world, old *rig.ScriptedServer, c *rig.Client, token string) {
	t.Helper()
	w, old = hybridWorld(t, func(c *Config) {
		c.Conn.HelloTimeout = time.Hour
		if change != nil {
			change(c)
		}
	})
	c = w.dial(t, podA)
	return w, old, c, login(t, c)
}

func (w *world) wantWaiting(t *testing.T, n int) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "media sockets wait", func() bool { return w.pods[podA].waiting() == n })
}

// waitForUpstream opens a media socket that waits.
func (w *world) waitForUpstream(t *testing.T, token string) *websocket.Conn {
	t.Helper()
	n := w.pods[podA].waiting()
	client := dialSocket(t, w.urls[podA], nil)
	send(t, client, websocket.TextMessage, mediaHello(token))
	w.wantWaiting(t, n+1)
	return client
}

func TestWaitOfMediaSocketEndsWithItsClient(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn){
		"close frame": func(ws *websocket.Conn) {
			_ = ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Minute))
		},
		"connection": func(ws *websocket.Conn) { _ = ws.NetConn().Close() },
		"flood":      func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.BinaryMessage, make([]byte, 32<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, _, _, token := waitingWorld(t, nil)
			client := w.waitForUpstream(t, token)
			if n := w.pods[podA].admission.Pending(); n != 1 {
				t.Errorf("%d pending sockets", n)
			}
			end(client)
			w.wantWaiting(t, 0)
			rig.Eventually(t, 20*time.Second, "the socket is not pending", func() bool { return w.pods[podA].admission.Pending() == 0 })
		})
	}
}

func TestWaitingMediaSocketMakesRoom(t *testing.T) {
	w, _, _, token := waitingWorld(t, func(c *Config) { c.Limits.Pending = 1 })
	w.waitForUpstream(t, token)
	dialSocket(t, w.urls[podA], nil)
	w.wantWaiting(t, 0)
	w.wantRefusals(t, string(socket.RejectPending), 1)
}

func TestMediaSocketsOfASessionThatWaitAreBounded(t *testing.T) {
	w, old, c, token := waitingWorld(t, nil)
	for range maxMediaWaits {
		w.waitForUpstream(t, token)
	}
	excess := dialSocket(t, w.urls[podA], nil)
	send(t, excess, websocket.TextMessage, mediaHello(token))
	rig.WantClose(t, excess, websocket.ClosePolicyViolation)
	w.wantRefusals(t, string(socket.RejectPending), 1)
	playMSE(t, c, old, "theirs")
	for range maxMediaWaits {
		old.Accept(t).Want(websocket.TextMessage, mediaHello("theirs"))
	}
	w.wantWaiting(t, 0)
}

func TestWhatMediaSocketSendsWhileItWaitsReachesUpstream(t *testing.T) {
	w, old, c, token := waitingWorld(t, nil)
	client := w.waitForUpstream(t, token)
	send(t, client, websocket.BinaryMessage, "one")
	send(t, client, websocket.TextMessage, "two")
	playMSE(t, c, old, "theirs")
	server := old.Accept(t)
	server.Want(websocket.TextMessage, mediaHello("theirs"))
	send(t, client, websocket.TextMessage, "three")
	server.Want(websocket.BinaryMessage, "one")
	server.Want(websocket.TextMessage, "two")
	server.Want(websocket.TextMessage, "three")
	server.Send(websocket.BinaryMessage, "media")
	rig.WantMessage(t, client, websocket.BinaryMessage, "media")
}

func TestMediaSocketOfNoSessionDoesNotWait(t *testing.T) {
	w, _, _, _ := waitingWorld(t, nil)
	client := dialSocket(t, w.urls[podA], nil)
	send(t, client, websocket.TextMessage, mediaHello("/x/"+strings.Repeat("0", 64)))
	rig.WantClose(t, client, websocket.ClosePolicyViolation)
}

// Running sessions stay, so the settings of new ones do not matter. The token is for one server only.
func TestMediaSocketReachesServerThatIssuedItsTokenAfterReload(t *testing.T) {
	w, old, c, token := waitingWorld(t, nil)
	playMSE(t, c, old, "theirs")
	other := rig.StartScriptedServer(t)
	settings := w.pods[podB].table.Settings()
	app := *settings.Apps["defaultApp"]
	app.Hybrid = hybrid.App{}
	open := func(url string) *websocket.Conn {
		next := apps.Reloadable{Apps: map[string]apps.App{"defaultApp": app}, Limits: settings.Limits}
		if url != "" {
			next.Upstreams = map[string]*upstream.Server{"old": upstreamAt(t, url)}
		}
		w.pods[podB].Reload(next)
		client := dialSocket(t, w.urls[podB], nil)
		send(t, client, websocket.TextMessage, mediaHello(token))
		return client
	}
	open(old.URL)
	old.Accept(t).Want(websocket.TextMessage, mediaHello("theirs"))
	for _, url := range []string{other.URL, ""} {
		rig.WantClose(t, open(url), websocket.ClosePolicyViolation)
	}
	if other.Accepted() != 0 {
		t.Error("the token is shown to another server")
	}
}

func TestFirstMessageOfMediaSocketIsBounded(t *testing.T) {
	w, _, _, token := waitingWorld(t, nil)
	client := dialSocket(t, w.urls[podA], nil)
	send(t, client, websocket.TextMessage, strings.Replace(mediaHello(token), "{", `{"x":"`+strings.Repeat("x", maxMediaHello)+`",`, 1))
	rig.WantClose(t, client, websocket.CloseMessageTooBig)
	w.wantRefusals(t, string(socket.RejectMessageSize), 1)
}
