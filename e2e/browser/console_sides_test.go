package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Operators see what the gateway and another server serve of the same applications: calls is spliced, shop
// uses the other server for single streams.
func TestConsoleComparesServersOfApplications(t *testing.T) {
	t.Parallel()
	old := rig.StartScriptedServer(t)
	rest := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	s := rig.NewStage(t, map[string]string{
		"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", old.URL),
		"WCS_APPLICATIONS": "{calls: {route: {default: old, rules: [{login: new, to: here}]}}, shop: {hybrid: {upstream: old}}, defaultApp: {}}",
		"WCS_REST_LISTEN":  rest, "WCS_REST_AUTH": "none", "WCS_REST_CONSOLE": "true",
	}, "")
	for i := range 3 {
		c := rig.Dial(t, s.Gateway.URL)
		c.AcceptUnknown() // its server's messages are short
		c.SendRaw(fmt.Sprintf(`{"message":"connection","data":[{"appKey":"calls","custom":{"login":"user%d"}}]}`, i))
		c.SendRaw(`{"message":"call","data":[{"callId":"a"}]}`)
		old.Accept(t).Send(websocket.TextMessage, fmt.Sprintf(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m","status":%q}]}`, []string{"PUBLISHING", "PLAYING", "FAILED"}[i]))
	}
	moved := rig.Dial(t, s.Gateway.URL)
	moved.Send("connection", map[string]any{"appKey": "calls", "mediaProviders": []string{"WebRTC"}, "custom": map[string]string{"login": "new"}})
	moved.Await("getUserData")
	shop := rig.Connect(t, s.Gateway.URL, "shop")
	shop.Publish("ours", "here", rig.NewPublisher(t, rig.PeerOptions{}))
	shop.Send("playStream", rig.StreamRequest("theirs", "there", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	link := old.Accept(t)
	_, _, _ = link.ReadMessage() // connection
	link.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	rig.Connect(t, s.Gateway.URL, "defaultApp")

	w := &consoleWorld{browser: startBrowser(t), rest: [2]string{rest}}
	c := w.open(t, 0, "")
	c.shows("Applications with another server", "Their commands since the pods' starts")
	rows := func(label string) string {
		return eval[string](c, fmt.Sprintf(`[...document.querySelectorAll('[aria-label=%q] tbody tr')].map((r) => r.innerText).join('\n')`, label))
	}
	for label, want := range map[string]string{
		"Applications with another server": "calls\tthe gateway\t1\t–\t0\t0\ncalls\told\t3\t0\t1\t1\nshop\tthe gateway\t1\t–\t1\t0\nshop\told\t0\t1\t0\t1",
		"Commands by server": "calls\tconnection\t1\t3\ncalls\tcall\t0\t3\n" +
			"shop\tplayStream\t0\t1\nshop\tconnection\t1\t0\nshop\tpublishStream\t1\t0",
	} {
		var got string
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s: %q", label, got)
			}
		})
		rig.Eventually(t, patience, label, func() bool { got = rows(label); return got == want })
	}
	if text := eval[string](c, `document.body.innerText`); strings.Contains(text, "defaultApp") {
		t.Error("an application that no other server serves is compared")
	}
	c.shots("sides")
}
