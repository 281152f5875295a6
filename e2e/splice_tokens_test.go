package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Two old servers and two pods: media sockets and reconnecting clients name a token only.
func TestSocketsReachServerThatIssuedTheirToken(t *testing.T) {
	t.Parallel()
	old, phones, third := rig.StartScriptedServer(t), rig.StartScriptedServer(t), rig.StartScriptedServer(t)
	m := &migration{t: t, lk: rig.StartLiveKit(t, rig.LiveKitOptions{}), file: filepath.Join(t.TempDir(), "gateway.yaml")}
	configure := func(oldURL string) {
		m.write(fmt.Sprintf(`
upstreams: {old: {url: %q}, phones: {url: %q, mediaSockets: true}}
applications:
  defaultApp: {route: {default: old, rules: [{sip: true, to: phones}]}}
`, oldURL, phones.URL))
	}
	configure(old.URL)
	redis := rig.StartRedis(t)
	for range 2 {
		g := rig.StartGateway(t, rig.GatewayOptions{
			Ports: rig.NewPorts(t), LiveKit: m.lk, Redis: redis.Addr, Env: map[string]string{"WCS_CONFIG": m.file, "WCS_LOG_LEVEL": "debug"},
		})
		g.AwaitReady(t)
		m.pods = append(m.pods, g)
	}
	connect := func(pod int, members string, server *rig.ScriptedServer, want string) (*websocket.Conn, *rig.ScriptedConn) {
		t.Helper()
		client, _, err := websocket.DefaultDialer.Dial(m.pods[pod].URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		hello := func(members string) string {
			return `{"message":"connection","data":[{"appKey":"defaultApp"` + members + `}]}`
		}
		if err := client.WriteMessage(websocket.TextMessage, []byte(hello(members))); err != nil {
			t.Fatal(err)
		}
		conn := server.Accept(t)
		conn.Want(websocket.TextMessage, hello(want))
		return client, conn
	}
	tokens := map[*rig.ScriptedServer]string{old: "/10.0.0.1:1/10.0.0.2:8443-issued-by-old", phones: "/10.0.0.1:1/10.0.0.3:8443-issued-by-phones"}
	const sip = `,"sipLogin":"100"`
	for server, members := range map[*rig.ScriptedServer]string{old: "", phones: sip} {
		client, conn := connect(0, members, server, members)
		userData := fmt.Sprintf(`{"message":"getUserData","data":[{"authToken":%q,"status":"ESTABLISHED"}]}`, tokens[server])
		conn.Send(websocket.TextMessage, userData)
		rig.WantMessage(t, client, websocket.TextMessage, userData)
	}
	for server, token := range tokens {
		client := mediaSocket(t, m.pods[1], token)
		media := server.Accept(t)
		media.Want(websocket.TextMessage, mediaHello(token))
		if server == old {
			passMedia(t, client, media)
		}
	}
	m.pods[0].Kill() // its clients reconnect, and one says less than before
	for server, token := range tokens {
		resume := fmt.Sprintf(`,"authToken":%q`, token)
		connect(1, resume, server, resume)
	}
	m.pods = m.pods[1:]
	m.awaitReload(func() { configure(third.URL) }) // the old server has another address
	connect(0, fmt.Sprintf(`,"authToken":%q`, tokens[old]), third, "")
	closed := mediaSocket(t, m.pods[0], tokens[old])
	rig.WantClose(t, closed, websocket.ClosePolicyViolation)
	if n := old.Accepted() + phones.Accepted() + third.Accepted(); n != 0 {
		t.Errorf("%d sockets too many reached a server", n)
	}
	for _, secret := range []string{"issued-by", "sipLogin", "ESTABLISHED"} {
		if strings.Contains(m.pods[0].Output(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}
