package attacks

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
)

// deepJSON sends a million brackets, before and after connection.
func deepJSON(t *testing.T, s *scene) {
	before := s.refused(t, "json_depth")
	for range 6 { // two messages of one client would exceed the byte limit
		c := s.connect(t, attacker)
		c.SendRaw(string(deep))
		wantFail(t, c, "nested too deeply")
		c.Send("sendData", map[string]any{"operationId": "still-there", "payload": 1})
		c.Await("DataStatusEvent")
	}
	early := rig.DialWith(t, dialer(attacker), s.Gateway.URL)
	early.SendRaw(string(deep))
	wantFail(t, early, "nested too deeply")
	_ = early.AwaitClosed()
	s.wantRefusals(t, "json_depth", before, 7)
}

func wantFail(t *testing.T, c *rig.Client, info string) {
	t.Helper()
	if m := c.Await("fail"); !strings.Contains(m.Raw, `"FAILED"`) || !strings.Contains(m.Raw, info) {
		t.Errorf("got %.300s, want %s", m.Raw, info)
	}
}

// flood runs clients that send as fast as they can, and answer pings, until they are closed.
func flood(t *testing.T, s *scene, reason string, send func(*websocket.Conn) error) {
	const clients = 8
	before := s.refused(t, reason)
	var work sync.WaitGroup
	for range clients {
		ws := dial(t, s.Gateway.URL, attacker, nil)
		say(t, ws, "connection", map[string]any{"appKey": "defaultApp"})
		work.Go(func() {
			var answered time.Time
			for i := 0; send(ws) == nil; i++ {
				// The gateway reads small messages later than they are sent, and large ones take long each.
				if i%10 == 0 || time.Since(answered) > 100*time.Millisecond {
					_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"pong","data":[null]}`)) // the next send reports an error
					answered = time.Now()
				}
			}
		})
		work.Go(func() { wantClose(t, ws, websocket.ClosePolicyViolation, "too_many_"+reason) })
	}
	work.Wait()
	s.wantRefusals(t, reason, before, clients)
}

func messageFlood(t *testing.T, s *scene) {
	flood(t, s, "messages", func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, question) })
}

func byteFlood(t *testing.T, s *scene) {
	flood(t, s, "bytes", func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, logLine) })
}

func pingFlood(t *testing.T, s *scene) {
	flood(t, s, "messages", func(ws *websocket.Conn) error {
		return ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience))
	})
}

func rooms(t *testing.T, s *scene) (names []string) {
	t.Helper()
	list, err := s.LiveKit.Rooms().ListRooms(t.Context(), &lkproto.ListRoomsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list.GetRooms() {
		names = append(names, r.GetName())
	}
	return names
}

var misleading = map[string]string{
	"newline": "a\nb", "path": "../../etc/passwd", "path inside": "a/../../b", "backslashes": `..\..\b`, "10 KB": strings.Repeat("x", 10_000),
	"NUL": "a\x00b", "right to left": "gnp.\u202eexe", "empty": "", "Redis' hash tag and newline": "{stream:x}\r\nDEL y",
}

// badNames checks that invalid names reach neither LiveKit nor Redis.
func badNames(t *testing.T, s *scene) {
	before, roomsBefore := s.refused(t, "name"), rooms(t, s)
	c := s.connect(t, attacker)
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	for what, name := range misleading {
		for _, command := range []string{"publishStream", "playStream"} {
			c.Send(command, rig.StreamRequest("bad", name, offer, command == "publishStream", nil))
			if st := c.AwaitStatus("bad"); st.Status != "FAILED" || !strings.Contains(st.Info, "Bad stream name") {
				t.Errorf("%s, %s: %+v", what, command, st)
			}
		}
		c.Send("availableStream", map[string]any{"mediaSessionId": "bad", "name": name})
		if m := c.Await("availableStream"); !strings.Contains(m.Raw, "Bad stream name") {
			t.Errorf("%s: %.300s", what, m.Raw)
		}
	}
	s.wantRefusals(t, "name", before, float64(3*len(misleading)))
	for _, p := range s.LiveKit.Participants(t, "") {
		if !strings.HasPrefix(p.GetIdentity(), "wcs:") {
			t.Errorf("LiveKit has %s", p.GetIdentity())
		}
	}
	for _, r := range rooms(t, s) {
		if !slices.Contains(roomsBefore, r) {
			t.Errorf("LiveKit has the room %q", r)
		}
	}
	if claims := strings.Join(s.Redis.Claims(), " "); strings.Contains(claims, "bad") || strings.Contains(claims, "etc") {
		t.Errorf("Redis has %s", claims)
	}
}
