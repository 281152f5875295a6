package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

func upstreamNamed(t *testing.T, name, url string) *upstream.Server {
	t.Helper()
	s, err := upstream.NewServer(upstream.ServerConfig{Name: name, URL: url, ConnectTimeout: 20 * time.Second, BufferBytes: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// migration is a world with two scripted servers: phones serves the clients of defaultApp with a SIP account
// and the media sockets of unknown sessions, and old the other clients.
type migration struct {
	*world
	t           *testing.T
	old, phones *rig.ScriptedServer
}

func newMigration(t *testing.T, change func(*Config)) *migration {
	t.Helper()
	m := &migration{t: t, old: rig.StartScriptedServer(t), phones: rig.StartScriptedServer(t)}
	m.world = newWorld(t, func(c *Config) {
		c.Reloadable = m.settings(c.Reloadable, m.old.URL, m.phones.URL)
		if change != nil {
			change(c)
		}
	})
	return m
}

// settings returns the settings with upstreams at the addresses, none for "".
func (m *migration) settings(r apps.Reloadable, old, phones string) apps.Reloadable {
	r.Upstreams, r.MediaSockets = make(map[string]*upstream.Server), nil
	app := r.Apps["defaultApp"]
	app.Route = upstream.Route{}
	if phones != "" {
		r.Upstreams["phones"] = upstreamNamed(m.t, "phones", phones)
		r.MediaSockets = r.Upstreams["phones"]
		app.Route.Rules = []upstream.Rule{{SIP: true, To: r.Upstreams["phones"]}}
	}
	if old != "" {
		r.Upstreams["old"] = upstreamNamed(m.t, "old", old)
		app.Route.Default = r.Upstreams["old"]
	}
	r.Apps["defaultApp"] = app
	return r
}

// reload changes the upstreams of both pods.
func (m *migration) reload(old, phones string, change func(*apps.App)) {
	m.t.Helper()
	for _, g := range m.pods {
		r := apps.Reloadable{Apps: make(map[string]apps.App), Limits: g.table.Settings().Limits}
		for key, app := range g.table.Settings().Apps {
			r.Apps[key] = *app
		}
		r = m.settings(r, old, phones)
		app := r.Apps["defaultApp"]
		if change != nil {
			change(&app)
		}
		r.Apps["defaultApp"] = app
		g.Reload(r)
	}
}

// opening is the connection of a client, with a token if it is not "".
func opening(sip bool, token string) string {
	members := `"appKey":"defaultApp"`
	if sip {
		members += `,"sipLogin":"100"`
	}
	if token != "" {
		members += fmt.Sprintf(`,"authToken":%q`, token)
	}
	return `{"message":"connection","data":[{` + members + `}]}`
}

// accepted opens a session that a server accepts with a token.
func (m *migration) accepted(pod string, server *rig.ScriptedServer, token string) (*websocket.Conn, *rig.ScriptedConn) {
	m.t.Helper()
	client := dialSocket(m.t, m.urls[pod], nil)
	send(m.t, client, websocket.TextMessage, opening(server == m.phones, ""))
	conn := server.Accept(m.t)
	conn.Want(websocket.TextMessage, opening(server == m.phones, ""))
	userData := fmt.Sprintf(`{"message":"getUserData", "data":[{"status":"ESTABLISHED","authToken":%q}]}`, token)
	conn.Send(websocket.TextMessage, userData)
	rig.WantMessage(m.t, client, websocket.TextMessage, userData)
	return client, conn
}

// awaitRecord waits until every pod can know the server of a token.
func (m *migration) awaitRecord(token string) {
	m.t.Helper()
	reader := m.store.Open("reader", state.Handlers{})
	rig.Eventually(m.t, 20*time.Second, "the token is recorded", func() bool {
		_, err := reader.FindUpstreamToken(m.t.Context(), sha256.Sum256([]byte(token)))
		return err == nil
	})
}

func (m *migration) wantNoneElse() {
	m.t.Helper()
	if n := m.old.Accepted() + m.phones.Accepted(); n != 0 {
		m.t.Errorf("%d sockets too many reached a server", n)
	}
}

const oldToken, phonesToken = "/10.0.0.1:1/10.0.0.2:8443-x", "/10.0.0.1:1/10.0.0.3:8443-<y>"

func TestMediaSocketOfSplicedSessionReachesServerOfItsToken(t *testing.T) {
	m := newMigration(t, nil)
	gatewayToken := "/10.0.0.9:1/0011223344556677/" + strings.Repeat("5", 64) // an upstream can be a gateway
	m.accepted(podA, m.old, oldToken)
	m.accepted(podB, m.phones, phonesToken)
	m.accepted(podB, m.old, gatewayToken)
	for token, server := range map[string]*rig.ScriptedServer{oldToken: m.old, phonesToken: m.phones, gatewayToken: m.old} {
		m.awaitRecord(token)
		for _, pod := range []string{podA, podB} {
			before := testutil.ToFloat64(m.pods[pod].metrics.upstream.Sessions.WithLabelValues("defaultApp", "old"))
			client := dialSocket(t, m.urls[pod], nil)
			send(t, client, websocket.TextMessage, `{"message":"pong","data":[null]}`)
			send(t, client, websocket.TextMessage, mediaHello(token))
			conn := server.Accept(t)
			conn.Want(websocket.TextMessage, `{"message":"pong","data":[null]}`)
			conn.Want(websocket.TextMessage, mediaHello(token))
			media := random(1, 100_000)
			conn.Send(websocket.BinaryMessage, media)
			rig.WantMessage(t, client, websocket.BinaryMessage, media)
			after := testutil.ToFloat64(m.pods[pod].metrics.upstream.Sessions.WithLabelValues("defaultApp", "old"))
			if server == m.old && after != before+1 {
				t.Errorf("%v spliced sockets are counted, then %v", before, after)
			}
		}
	}
	m.wantNoneElse()
}

func TestReconnectingClientReachesServerOfItsToken(t *testing.T) {
	m := newMigration(t, nil)
	client, conn := m.accepted(podA, m.phones, phonesToken)
	m.accepted(podB, m.old, oldToken)
	m.awaitRecord(phonesToken)
	m.awaitRecord(oldToken)
	_ = client.Close()
	_, _, _ = conn.ReadMessage() // the session has ended
	_ = conn.Close()
	for name, change := range map[string]func(*apps.App){
		"as before": nil, "raised share": func(a *apps.App) { a.Route.Share = 100 }, "other default": func(a *apps.App) { a.Route.Default = nil },
	} {
		m.reload(m.old.URL, m.phones.URL, change)
		for _, pod := range []string{podA, podB} {
			for token, server := range map[string]*rig.ScriptedServer{oldToken: m.old, phonesToken: m.phones} {
				message := opening(false, token) // a client need not say again what the rules need
				send(t, dialSocket(t, m.urls[pod], nil), websocket.TextMessage, message)
				server.Accept(t).Want(websocket.TextMessage, message)
			}
		}
		if m.wantNoneElse(); t.Failed() {
			t.Fatal(name)
		}
	}
	m.reload(m.old.URL, m.phones.URL, func(a *apps.App) { a.Route = upstream.Route{} }) // the move has ended
	here := m.dial(t, podA)
	here.SendRaw(opening(false, oldToken))
	here.Await("getUserData")
	m.wantNoneElse()
}

func TestTokenOfUnknownSessionIsRoutedByRules(t *testing.T) {
	m := newMigration(t, nil)
	for _, token := range []string{oldToken, "/x/" + strings.Repeat("0", 64), "/10.0.0.1:1/0011223344556677/" + strings.Repeat("0", 64)} {
		send(t, dialSocket(t, m.urls[podA], nil), websocket.TextMessage, opening(true, token))
		m.phones.Accept(t).Want(websocket.TextMessage, opening(true, token))
		send(t, dialSocket(t, m.urls[podA], nil), websocket.TextMessage, mediaHello(token))
		m.phones.Accept(t).Want(websocket.TextMessage, mediaHello(token))
	}
	m.wantNoneElse()
}

// The token is for one server only, and for one application.
func TestTokenIsShownToNoOtherServer(t *testing.T) {
	m := newMigration(t, func(c *Config) {
		app := c.Apps["native"]
		app.Route.Default = c.Upstreams["phones"]
		c.Apps["native"] = app
	})
	moved := rig.StartScriptedServer(t)
	m.accepted(podA, m.old, oldToken)
	m.awaitRecord(oldToken)
	wantWithout := func(server *rig.ScriptedServer, app string) {
		t.Helper()
		_, message, err := server.Accept(t).ReadMessage()
		var hello struct{ Data []map[string]any }
		if err != nil || json.Unmarshal(message, &hello) != nil || len(hello.Data) != 1 || hello.Data[0]["appKey"] != app || len(hello.Data[0]) != 1 {
			t.Errorf("the server gets %s, %v", message, err)
		}
	}
	send(t, dialSocket(t, m.urls[podA], nil), websocket.TextMessage, strings.Replace(opening(false, oldToken), "defaultApp", "native", 1))
	wantWithout(m.phones, "native")
	for _, pod := range []string{podA, podB} {
		m.reload(moved.URL, m.phones.URL, nil) // another address
		send(t, dialSocket(t, m.urls[pod], nil), websocket.TextMessage, opening(false, oldToken))
		wantWithout(moved, "defaultApp")
		client := dialSocket(t, m.urls[pod], nil)
		send(t, client, websocket.TextMessage, mediaHello(oldToken))
		rig.WantClose(t, client, websocket.ClosePolicyViolation)

		m.reload("", m.phones.URL, func(a *apps.App) { a.Route.Default = upstreamNamed(t, "phones", m.phones.URL) }) // removed
		send(t, dialSocket(t, m.urls[pod], nil), websocket.TextMessage, opening(false, oldToken))
		wantWithout(m.phones, "defaultApp")
		client = dialSocket(t, m.urls[pod], nil)
		send(t, client, websocket.TextMessage, mediaHello(oldToken))
		rig.WantClose(t, client, websocket.ClosePolicyViolation)
		if moved.Accepted() != 0 {
			t.Error("a server got a socket of another")
		}
	}
	m.wantNoneElse()
}

func TestSplicedSessionsGoOnWithoutRedis(t *testing.T) {
	m := newMigration(t, nil)
	m.store.SetAway(true)
	client, conn := m.accepted(podA, m.old, oldToken)
	conn.Send(websocket.TextMessage, "still here")
	rig.WantMessage(t, client, websocket.TextMessage, "still here")
	for pod, server := range map[string]*rig.ScriptedServer{podA: m.old, podB: m.phones} { // another pod cannot know
		send(t, dialSocket(t, m.urls[pod], nil), websocket.TextMessage, mediaHello(oldToken))
		server.Accept(t).Want(websocket.TextMessage, mediaHello(oldToken))
	}
	send(t, dialSocket(t, m.urls[podB], nil), websocket.TextMessage, opening(true, oldToken))
	m.phones.Accept(t).Want(websocket.TextMessage, opening(true, oldToken))
	m.store.SetAway(false)
	m.awaitRecord(oldToken)
	m.store.Restart() // loses all
	m.awaitRecord(oldToken)
	m.wantNoneElse()
}

// heldRead holds the first read of a token's record until it is released, and then finds none.
type heldRead struct {
	upstream.TokenStore
	reading chan struct{}
	release chan struct{}
	first   sync.Once
}

func (h *heldRead) FindUpstreamToken(ctx context.Context, token state.TokenHash) (t state.UpstreamToken, err error) {
	err = state.ErrUnavailable
	h.first.Do(func() {
		close(h.reading)
		<-h.release
		err = state.ErrNotFound
	})
	if errors.Is(err, state.ErrNotFound) {
		return t, err
	}
	return h.TokenStore.FindUpstreamToken(ctx, token)
}

func TestMediaSocketWaitsForRecordOfItsToken(t *testing.T) {
	m := newMigration(t, nil)
	held := &heldRead{TokenStore: m.pods[podB].deps.Issued, reading: make(chan struct{}), release: make(chan struct{})}
	m.pods[podB].links.Tokens = held
	client := dialSocket(t, m.urls[podB], nil)
	send(t, client, websocket.TextMessage, mediaHello(oldToken))
	<-held.reading
	m.accepted(podA, m.old, oldToken)
	m.awaitRecord(oldToken)
	send(t, client, websocket.BinaryMessage, "next")
	close(held.release)
	conn := m.old.Accept(t)
	conn.Want(websocket.TextMessage, mediaHello(oldToken))
	conn.Want(websocket.BinaryMessage, "next")
	m.wantNoneElse()
}

func TestMediaSocketOfPageThatApplicationForbidsIsClosed(t *testing.T) {
	m := newMigration(t, nil)
	m.accepted(podA, m.old, oldToken)
	m.reload(m.old.URL, m.phones.URL, func(a *apps.App) { a.Origins = mustOrigins(t, "https://app.example") })
	for origin, allowed := range map[string]bool{"https://app.example": true, "https://other.example": false} {
		client := dialSocket(t, m.urls[podA], map[string][]string{"Origin": {origin}})
		send(t, client, websocket.TextMessage, mediaHello(oldToken))
		if allowed {
			m.old.Accept(t).Want(websocket.TextMessage, mediaHello(oldToken))
			continue
		}
		rig.WantClose(t, client, websocket.ClosePolicyViolation)
	}
	m.wantNoneElse()
}

func mustOrigins(t *testing.T, entries ...string) origins.List {
	t.Helper()
	list, err := origins.Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// countedReads counts what sockets read in Redis.
type countedReads struct {
	hybrid.Tokens
	upstream.TokenStore
	n atomic.Int32
}

func (c *countedReads) FindUpstream(ctx context.Context, id string, h state.TokenHash) (state.Session, error) {
	c.n.Add(1)
	return c.Tokens.FindUpstream(ctx, id, h)
}

func (c *countedReads) FindUpstreamToken(ctx context.Context, h state.TokenHash) (state.UpstreamToken, error) {
	c.n.Add(1)
	return c.TokenStore.FindUpstreamToken(ctx, h)
}

func TestInventedTokensCostFewReads(t *testing.T) {
	m := newMigration(t, nil)
	reads := &countedReads{Tokens: m.pods[podA].deps.Tokens, TokenStore: m.pods[podA].deps.Issued}
	m.pods[podA].deps.Tokens, m.pods[podA].links.Tokens = reads, reads
	for message, want := range map[string]int32{
		mediaHello(oldToken): 2, mediaHello("/10.0.0.1:1/0011223344556677/" + strings.Repeat("0", 64)): 5,
		mediaHello(""): 0, mediaHello(strings.Repeat("x", upstream.MaxToken+1)): 0,
		opening(true, oldToken): 1, opening(true, ""): 0, opening(true, strings.Repeat("x", upstream.MaxToken+1)): 0,
	} {
		reads.n.Store(0)
		send(t, dialSocket(t, m.urls[podA], nil), websocket.TextMessage, message)
		m.phones.Accept(t).Want(websocket.TextMessage, message)
		if n := reads.n.Load(); n > want {
			t.Errorf("%.60s: %d reads, want at most %d", message, n, want)
		}
	}
}
