package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
)

// loggedLines keeps a log.
type loggedLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *loggedLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *loggedLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestNothingThatPassesSpliceIsLogged(t *testing.T) {
	log := new(loggedLines)
	m := newMigration(t, nil)
	m.podLog = log
	const pod = "cccccccc"
	m.start(t, pod, func(c *Config) { c.Reloadable = m.settings(c.Reloadable, m.old.URL, m.phones.URL) })
	secrets := []string{"seen-in-custom", "seen-in-query", "seen-in-token", "seen-in-text", "seen-in-binary", "seen-in-close", "seen-in-ping", "seen-in-member"}
	client := dialSocket(t, m.urls[pod]+"/ws?x=seen-in-query", nil)
	hello := `{"message":"connection","data":[{"appKey":"defaultApp","custom":{"a":"seen-in-custom"},"seen-in-member":1}]}`
	send(t, client, websocket.TextMessage, hello)
	server := m.old.Accept(t)
	server.Want(websocket.TextMessage, hello)
	for _, message := range []string{
		`{"message":"getUserData","data":[{"authToken":"seen-in-token","status":"ESTABLISHED"}]}`, `{"message":"seen-in-text","data":["seen-in-text"]}`, "seen-in-text {",
	} {
		server.Send(websocket.TextMessage, message)
		rig.WantMessage(t, client, websocket.TextMessage, message)
		send(t, client, websocket.TextMessage, message)
		server.Want(websocket.TextMessage, message)
	}
	media := dialSocket(t, m.urls[pod], nil)
	send(t, media, websocket.TextMessage, mediaHello("seen-in-token"))
	m.old.Accept(t).Want(websocket.TextMessage, mediaHello("seen-in-token"))
	server.Send(websocket.BinaryMessage, "seen-in-binary")
	rig.WantMessage(t, client, websocket.BinaryMessage, "seen-in-binary")
	_ = server.WriteControl(websocket.PingMessage, []byte("seen-in-ping"), time.Now().Add(time.Second))
	_ = server.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "seen-in-close"), time.Now().Add(time.Second))
	rig.WantClose(t, client, 4321)
	_ = client.Close()
	_ = server.Close()
	rig.Eventually(t, 20*time.Second, "the session's end is logged", func() bool { return strings.Contains(log.String(), "spliced session closed") })
	for _, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %s:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), "session spliced") {
		t.Errorf("log %s", log.String())
	}
}

// The frames of a client that does not read wait at their server. The other client's pass.
func TestSlowSplicedClientDelaysNoOther(t *testing.T) {
	w, old := splicedWorld(t, nil)
	slow, slowServer := spliced(t, w, old)
	other, otherServer := spliced(t, w, old)
	_ = slowServer.SetWriteDeadline(time.Now().Add(time.Hour))
	var held sync.WaitGroup
	written := make(chan struct{}, 1_000_000)
	held.Go(func() {
		for { // until the connection ends
			if slowServer.WriteMessage(websocket.BinaryMessage, make([]byte, 64<<10)) != nil {
				return
			}
			written <- struct{}{}
		}
	})
	defer held.Wait()
	defer func() { _ = slowServer.NetConn().Close() }()
	for stands := 0; stands < 3; { // the connections are full
		n := len(written)
		exchange(t, other, otherServer, 100)
		if len(written) == n {
			stands++
		}
	}
	exchange(t, other, otherServer, 1000)
	_, message, err := slow.ReadMessage() // it reads after all
	if err != nil || len(message) != 64<<10 {
		t.Errorf("message of %d bytes, %v", len(message), err)
	}
}

// exchange sends messages in both directions, one after the other.
func exchange(t *testing.T, client *websocket.Conn, server *rig.ScriptedConn, n int) {
	t.Helper()
	for i := range n {
		message := fmt.Sprintf("message %d", i)
		server.Send(websocket.TextMessage, message)
		rig.WantMessage(t, client, websocket.TextMessage, message)
		send(t, client, websocket.TextMessage, message)
		server.Want(websocket.TextMessage, message)
	}
}

func TestPageThatMayNotConnectReachesNoUpstream(t *testing.T) {
	m := newMigration(t, func(c *Config) {
		c.Origins = mustOrigins(t, "https://app.example", "https://other.example")
		app := c.Apps["defaultApp"]
		app.Origins = mustOrigins(t, "https://app.example")
		c.Apps["defaultApp"] = app
	})
	if _, response, err := websocket.DefaultDialer.Dial(m.urls[podA], http.Header{"Origin": {"https://evil.example"}}); err == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a page of no list: %v", err)
	}
	for _, hello := range []string{opening(false, ""), opening(true, ""), opening(false, oldToken)} {
		client := dialSocket(t, m.urls[podA], http.Header{"Origin": {"https://other.example"}})
		send(t, client, websocket.TextMessage, hello)
		rig.WantClose(t, client, websocket.ClosePolicyViolation)
	}
	m.wantNoneElse()
	for _, server := range []string{"old", "phones"} {
		if n := testutil.ToFloat64(m.pods[podA].metrics.upstream.Opened.WithLabelValues(server, "ok")); n != 0 {
			t.Errorf("%v connections to %s", n, server)
		}
	}
	send(t, dialSocket(t, m.urls[podA], http.Header{"Origin": {"https://app.example"}}), websocket.TextMessage, opening(false, ""))
	m.old.Accept(t).Want(websocket.TextMessage, opening(false, ""))
	m.reload(m.old.URL, m.phones.URL, func(a *apps.App) { a.Origins = mustOrigins(t, "https://other.example") })
	send(t, dialSocket(t, m.urls[podA], http.Header{"Origin": {"https://other.example"}}), websocket.TextMessage, opening(false, ""))
	m.old.Accept(t).Want(websocket.TextMessage, opening(false, ""))
}

// The place of a spliced socket is free when the socket has ended.
func TestSplicedSocketsTakePlacesOfTheirAddress(t *testing.T) {
	w, old := splicedWorld(t, func(c *Config) { c.Limits.ConnectionsPerAddress = 2 })
	client, server := spliced(t, w, old)
	_, _ = spliced(t, w, old)
	if _, response, err := websocket.DefaultDialer.Dial(w.urls[podA], nil); err == nil || response == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third socket of the address: %v, %v", response, err)
	}
	_ = client.Close()
	_, _, _ = server.ReadMessage()
	_ = server.Close()
	rig.Eventually(t, 20*time.Second, "the place is free", func() bool { return w.pods[podA].links.Len() == 1 })
	_, _ = spliced(t, w, old)
}
