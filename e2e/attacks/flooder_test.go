package attacks

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/pion/sdp/v3"

	"wcsgateway/e2e/rig"
)

// connectTCPOnly opens a TCP connection and sends nothing.
func (a *attackerProcess) connectTCPOnly() error {
	c, err := a.dialer.NetDialContext(a.ctx, "tcp", strings.Trim(strings.TrimPrefix(a.url, "ws:"), "/"))
	if err != nil {
		return err
	}
	a.attempts.Add(1)
	a.hold(c)
	return nil
}

// connectWithoutSession opens a socket and sends no connection command.
func (a *attackerProcess) connectWithoutSession() error { return a.connectWith(nil) }

// publishAndStop starts streams with new names and ends them at once.
func (a *attackerProcess) publishAndStop() error {
	return a.flooding("defaultApp", a.startAndStop("publishStream", "unPublishStream", func(n int64) string { return fmt.Sprintf("flood-%d", n) }))
}

// playAndStop plays the victim's stream and stops at once.
func (a *attackerProcess) playAndStop() error {
	return a.flooding("defaultApp", a.startAndStop("playStream", "stopStream", func(int64) string { return victimStream }))
}

func (a *attackerProcess) startAndStop(start, stop string, name func(int64) string) func(*websocket.Conn) error {
	return func(ws *websocket.Conn) error {
		n := a.attempts.Load()
		id := fmt.Sprintf("m%d-%p", n, ws)
		if err := ws.WriteMessage(websocket.TextMessage, message(start, rig.StreamRequest(id, name(n), a.offer, start == "publishStream", nil))); err != nil {
			return err
		}
		return ws.WriteMessage(websocket.TextMessage, message(stop, map[string]any{"mediaSessionId": id, "name": name(n)}))
	}
}

func roomCommand(command string) []byte {
	return message("sendData", map[string]any{"operationId": "o", "payload": map[string]any{"command": command, "options": map[string]any{"name": "lobby"}}})
}

// joinAndLeave changes a room all the time.
func (a *attackerProcess) joinAndLeave() error {
	return a.floodingAs(a.roomUser(), inTurn(roomCommand("join"), roomCommand("leave")))
}

// floodWithoutReading is a member of a room that never reads, beside members that come and go.
func (a *attackerProcess) floodWithoutReading() error {
	if a.attempts.Load()%2 == 0 {
		return a.joinAndLeave()
	}
	a.attempts.Add(1)
	ws, err := a.dial(nil)
	if err != nil {
		return err
	}
	a.hold(ws.NetConn())
	if err := ws.WriteMessage(websocket.TextMessage, a.roomUser()); err != nil {
		return err
	}
	return ws.WriteMessage(websocket.TextMessage, roomCommand("join"))
}

// roomUser is the connection command of a new login, as long as a login may be.
func (a *attackerProcess) roomUser() []byte {
	return message("connection", map[string]any{"appKey": "rooms", "custom": map[string]any{"login": fmt.Sprintf("%0100d", a.attempts.Load())}})
}

// askNames requests streams that do not exist.
func (a *attackerProcess) askNames() error {
	return a.flooding("defaultApp", func(ws *websocket.Conn) error {
		name := fmt.Sprintf("%0200d", a.attempts.Load())
		return ws.WriteMessage(websocket.TextMessage, message("availableStream", map[string]any{"mediaSessionId": "m", "name": name}))
	})
}

// largestOffer has as many formats and attributes as an offer may have.
var largestOffer = sync.OnceValue(func() string {
	offer, err := newOffer()
	if err != nil {
		panic(err)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(offer); err != nil {
		panic(err)
	}
	m := d.MediaDescriptions[0]
	m.MediaName.Formats, m.Attributes = nil, nil
	for pt := range 64 {
		m.MediaName.Formats = append(m.MediaName.Formats, fmt.Sprint(64+pt))
	}
	for len(m.Attributes) < 900 {
		m.Attributes = append(m.Attributes, sdp.NewAttribute("rtcp-fb", fmt.Sprintf("%d nack pli %s", 64+len(m.Attributes)%64, strings.Repeat("x", 20))))
	}
	b, err := d.Marshal()
	if err != nil {
		panic(err)
	}
	return string(b)
})

func (a *attackerProcess) sendLargestOffers() error {
	return a.flooding("defaultApp", inTurn(message("playStream", rig.StreamRequest("most", victimStream, largestOffer(), false, nil))))
}

// manyNames is a message of about 1 MB with one object of 80,000 members.
var manyNames = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	b.WriteString(`{"message":"sendData","data":[{"operationId":"o","payload":{"a":0`)
	for i := range 80_000 {
		fmt.Fprintf(&b, `,"%x":0`, 1<<24+i)
	}
	b.WriteString(`}}]}`)
	return b.Bytes()
})

func (a *attackerProcess) floodManyNames() error {
	return a.flooding("defaultApp", inTurn(manyNames()))
}

// askToBeKept opens sessions with keepAlive and drops their sockets.
func (a *attackerProcess) askToBeKept() error {
	a.attempts.Add(1)
	ws, err := a.dial(nil)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	if err := ws.WriteMessage(websocket.TextMessage, message("connection", map[string]any{"appKey": "defaultApp", "keepAlive": true})); err != nil {
		return err
	}
	_, _, err = ws.ReadMessage()
	return err
}

// takePictures requests pictures of the victim's stream.
func (a *attackerProcess) takePictures() error {
	return a.flooding("defaultApp", inTurn(message("snapshot", map[string]any{"mediaSessionId": "picture", "name": victimStream})))
}
