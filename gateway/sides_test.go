package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/upstream"
)

// Operators compare what this gateway and its upstreams serve of the same applications.
func TestSidesOfSharedApplicationsAreCounted(t *testing.T) {
	w, old := hybridWorld(t, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Key, app.Hybrid.Upstream, app.Route = "moving", nil, upstream.Route{Default: c.Upstreams["old"]}
		c.Apps["moving"] = app
	})
	w.connectAs(t, podA, "native") // no upstream serves it
	c := w.connect(t, podA)
	publishAV(t, c, "ours", "here")
	c.AwaitSDP("ours")
	w.allUp()
	c.WantStatus("ours", "PUBLISHING", "")
	c.Send("unheardOf", nil) // goes to the upstream
	link := old.Accept(t)
	_, _, _ = link.ReadMessage() // connection
	link.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	c.SendRaw(mseCommand)
	c.Send("pong", nil)
	spliced := dialSocket(t, w.urls[podA], nil)
	for _, m := range []string{
		`{"message":"connection","data":[{"appKey":"moving"}]}`, `{"message":"publishStream","data":[{}]}`, `{"message":"pong","data":[null]}`,
	} {
		send(t, spliced, websocket.TextMessage, m)
	}
	server := old.Accept(t)
	for id, status := range map[string]string{"a": "PUBLISHING", "b": "PLAYING", "c": "PLAYING", "d": "PENDING"} {
		server.Send(websocket.TextMessage, fmt.Sprintf(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"status":%q}]}`, id, status))
	}
	want := []admin.Side{
		{App: "defaultApp", Sessions: 1, Published: 1, Commands: map[string]int64{"connection": 1, "publishStream": 1}},
		{App: "defaultApp", Upstream: "old", Linked: 1, Played: 1, Commands: map[string]int64{"other": 1, "playStream": 1}},
		{App: "moving", Commands: map[string]int64{}},
		{App: "moving", Upstream: "old", Sessions: 1, Published: 1, Played: 2, Commands: map[string]int64{"connection": 1, "publishStream": 1}},
	}
	var diff string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("-want +got:\n%s", diff)
		}
	})
	rig.Eventually(t, 20*time.Second, "the sides are counted", func() bool {
		got := w.pods[podA].sides()
		slices.SortFunc(got, func(a, b admin.Side) int {
			return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Upstream, b.Upstream))
		})
		diff = gocmp.Diff(want, got)
		return diff == ""
	})
	c.Close()
	_ = spliced.Close()
	rig.Eventually(t, 20*time.Second, "nothing is open", func() bool {
		for _, s := range w.pods[podA].sides() {
			if s.Sessions+s.Linked+s.Published+s.Played > 0 {
				return false
			}
		}
		return true
	})
}
