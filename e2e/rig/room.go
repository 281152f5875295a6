package rig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// RoomUser is a Client that speaks the room API as the SDK's room module does
// (docs/wcs-protocol.md#room-api).
type RoomUser struct {
	*Client
	commands int
}

// EnterAs opens a socket and a session with a login for rooms.
func EnterAs(t testing.TB, url, appKey, login string) *RoomUser {
	t.Helper()
	return LoginAs(Dial(t, url), appKey, login)
}

// LoginAs opens a session with a login for rooms on a socket.
func LoginAs(c *Client, appKey, login string) *RoomUser {
	c.t.Helper()
	c.Send("connection", map[string]any{
		"appKey": appKey, "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0", "custom": map[string]any{"login": login, "token": "t"},
	})
	c.Await("getUserData")
	return &RoomUser{Client: c}
}

// LoginKeptAs is LoginAs with keepAlive, with the authToken of an earlier session unless that is empty. It
// returns the session's authToken.
func LoginKeptAs(c *Client, appKey, login, token string) (u *RoomUser, authToken string) {
	c.t.Helper()
	hello := map[string]any{
		"appKey": appKey, "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0", "keepAlive": true, "custom": map[string]any{"login": login},
	}
	if token != "" {
		hello["authToken"] = token
	}
	c.Send("connection", hello)
	var got struct{ AuthToken string }
	c.Await("getUserData").Arg(c.t, 0, &got)
	return &RoomUser{Client: c}, got.AuthToken
}

// SendCommand sends a command's payload and returns the id of the operation.
func (u *RoomUser) SendCommand(payload any) (operation string) {
	u.commands++
	operation = fmt.Sprintf("op-%d", u.commands)
	u.Send("sendData", map[string]any{"operationId": operation, "payload": payload})
	return operation
}

// Outcome waits for what has become of an operation: "ACCEPTED", or "FAILED " and the info.
func (u *RoomUser) Outcome(operation string) string {
	u.t.Helper()
	var status struct{ OperationID, Status, Info string }
	u.AwaitMatch("status of "+operation, func(m Message) bool {
		if m.Name != "DataStatusEvent" {
			return false
		}
		m.Arg(u.t, 0, &status)
		return status.OperationID == operation
	})
	return strings.TrimSpace(status.Status + " " + status.Info)
}

// Command sends a command and waits for its outcome.
func (u *RoomUser) Command(payload any) string {
	u.t.Helper()
	return u.Outcome(u.SendCommand(payload))
}

// Payloads of commands.
func joinOf(room string) any {
	return map[string]any{"command": "join", "options": map[string]any{"name": room, "record": false}}
}

func leaveOf(room string) any {
	return map[string]any{"command": "leave", "options": map[string]any{"name": room}}
}

// SayOf is the payload of a message to another member.
func SayOf(room, to, text string) any {
	return map[string]any{"command": "sendMessage", "options": map[string]any{"roomConfig": map[string]any{"name": room}, "to": to, "text": text}}
}

// TryJoin joins a room and returns the outcome.
func (u *RoomUser) TryJoin(room string) string {
	u.t.Helper()
	return u.Command(joinOf(room))
}

// Join joins a room, and checks the STATE that comes: logins, and "login name" of streams.
func (u *RoomUser) Join(room string, want ...string) {
	u.t.Helper()
	if got := u.TryJoin(room); got != "ACCEPTED" {
		u.t.Fatalf("join: %s", got)
	}
	u.WantEvents(strings.TrimSpace("STATE " + strings.Join(want, ", ")))
}

// Leave leaves a room.
func (u *RoomUser) Leave(room string) {
	u.t.Helper()
	if got := u.Command(leaveOf(room)); got != "ACCEPTED" {
		u.t.Errorf("leave: %s", got)
	}
}

// TryLeave leaves a room and returns the outcome.
func (u *RoomUser) TryLeave(room string) string {
	u.t.Helper()
	return u.Command(leaveOf(room))
}

// Say sends a message to another member.
func (u *RoomUser) Say(room, to, text string) string {
	u.t.Helper()
	return u.Command(SayOf(room, to, text))
}

// PublishIn is the extra member of publishStream that names a room.
func PublishIn(room string) map[string]any {
	return map[string]any{"custom": map[string]any{"name": room}}
}

// Event takes the next event of a room: its name, and its info as Join returns it.
func (u *RoomUser) Event() string {
	u.t.Helper()
	return u.eventText(u.Await("OnDataEvent"))
}

// WantEvents takes the next events and checks them.
func (u *RoomUser) WantEvents(want ...string) {
	u.t.Helper()
	var got []string
	for range want {
		got = append(got, u.Event())
	}
	if !slices.Equal(got, want) {
		u.t.Errorf("events %q, want %q", got, want)
	}
}

// WantNoEvent checks that no event waits to be taken.
func (u *RoomUser) WantNoEvent() {
	u.t.Helper()
	if n := u.Count("OnDataEvent"); n != 0 {
		u.t.Errorf("%d more events: %s", n, u.Names())
	}
}

func (u *RoomUser) eventText(m Message) string {
	u.t.Helper()
	var data struct {
		Payload struct {
			RoomName, Name string
			Info           any
		}
	}
	m.Arg(u.t, 0, &data)
	if data.Payload.RoomName == "" {
		u.t.Errorf("event of no room: %s", m.Raw)
	}
	infos, ok := data.Payload.Info.([]any)
	if !ok {
		infos = []any{data.Payload.Info}
	}
	var texts []string
	for _, info := range infos {
		texts = append(texts, infoText(info))
	}
	return strings.TrimSpace(data.Payload.Name + " " + strings.Join(texts, ", "))
}

func infoText(info any) string {
	object, ok := info.(map[string]any)
	if !ok {
		return fmt.Sprint(info)
	}
	if from, ok := object["from"]; ok {
		return fmt.Sprintf("%v: %v", from, object["text"])
	}
	if login, ok := object["login"]; ok && len(object) == 2 {
		return fmt.Sprintf("%v %v", login, object["name"])
	}
	text, err := json.Marshal(object)
	return fmt.Sprint(string(text), err)
}
