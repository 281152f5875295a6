package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

const (
	hybridPlays = 500
	hybridWarm  = 20
)

// measureHybrid measures what a session of the gateway adds to the answer of a play of an upstream's stream:
// the look at the gateway's own streams, and the link.
func measureHybrid(b *testing.B, p *programs, results *report) {
	old := startPlayServer(b)
	front := startGateway(b, p, rig.NewPorts(b), rig.StartRedis(b).Addr, map[string]string{
		"WCS_DEPLOYMENT":   "front",
		"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", old),
		"WCS_APPLICATIONS": "{defaultApp: {hybrid: {upstream: old}}}",
	})
	offer := p.offer(b, "chrome156-play-av.sdp")
	sockets := [2]*socket{dial(b, front.URL), dial(b, old)}
	play := func(at, i int) time.Duration {
		took, err := sockets[at].round("playStream", "stopStream", fmt.Sprintf("m%d", i), "cam", offer)
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	pace := time.NewTicker(splicePace)
	defer pace.Stop()
	var added samples
	for i := range hybridWarm + hybridPlays {
		<-pace.C
		var took [2]time.Duration
		for j := range took {
			at := (i + j) % len(took)
			took[at] = play(at, i)
		}
		if i >= hybridWarm {
			added = append(added, took[0]-took[1])
		}
	}
	results.add(
		row{Measure: "hybrid: latency added to a play of an upstream's stream, p50", Unit: "µs", Ours: micros(added.at(50))},
		row{Measure: "  p99", Unit: "µs", Ours: micros(added.at(99))},
	)
}

// startPlayServer starts a server that accepts every session and play at once. It returns its address.
func startPlayServer(b *testing.B) string {
	b.Helper()
	upgrader := websocket.Upgrader{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			var m struct {
				Message string
				Data    []struct{ MediaSessionID string }
			}
			_, frame, err := ws.ReadMessage()
			if err != nil || json.Unmarshal(frame, &m) != nil {
				return
			}
			answer := ""
			switch m.Message {
			case "connection":
				answer = `{"message":"getUserData","data":[{}]}`
			case "playStream":
				answer = fmt.Sprintf(`{"message":"setRemoteSDP","data":[%q,"v=0",false]}`, m.Data[0].MediaSessionID)
			case "stopStream":
				answer = fmt.Sprintf(`{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":%q,"status":"STOPPED"}]}`, m.Data[0].MediaSessionID)
			default:
				continue
			}
			if ws.WriteMessage(websocket.TextMessage, []byte(answer)) != nil {
				return
			}
		}
	}))
	b.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}
