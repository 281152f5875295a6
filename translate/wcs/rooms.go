package wcs

import (
	"encoding/json"
	"fmt"
)

// RoomCommand is a command of the room API, which is the payload of sendData (docs/wcs-protocol.md#room-api).
type RoomCommand struct {
	Command string
	Room    string
	To      string          // sendMessage: login
	Text    json.RawMessage // sendMessage: any JSON, as the app passed it
}

// Values of RoomCommand.Command.
const (
	RoomJoin    = "join"
	RoomLeave   = "leave"
	RoomMessage = "sendMessage"
)

// ParseRoomCommand reads a payload of sendData. ok is false if it is not a command of the room API. For a
// malformed command err wraps ErrMalformed.
func ParseRoomCommand(payload json.RawMessage) (c RoomCommand, ok bool, err error) {
	var head struct {
		Command string          `json:"command"`
		Options json.RawMessage `json:"options"`
	}
	if unmarshal(payload, &head) != nil { // the payload is any JSON
		return c, false, nil
	}
	if head.Command != RoomJoin && head.Command != RoomLeave && head.Command != RoomMessage {
		return c, false, nil
	}
	var options struct {
		Name       string `json:"name"`
		RoomConfig struct {
			Name string `json:"name"`
		} `json:"roomConfig"`
		To   string          `json:"to"`
		Text json.RawMessage `json:"text"`
	}
	c = RoomCommand{Command: head.Command}
	if err := unmarshal(head.Options, &options); err != nil {
		return c, true, fmt.Errorf("%w: options of %s", ErrMalformed, head.Command)
	}
	c.Room, c.To, c.Text = options.Name, options.To, options.Text
	if c.Command == RoomMessage {
		c.Room = options.RoomConfig.Name
	}
	return c, true, nil
}

// RoomOf returns the room that a publishStream names in its custom, "" without one.
func RoomOf(arg json.RawMessage) string {
	var stream struct {
		Custom struct {
			Name string `json:"name"`
		} `json:"custom"`
	}
	if unmarshal(arg, &stream) != nil { // custom is any JSON
		return ""
	}
	return stream.Custom.Name
}

// RoomEventName is the kind of a room's event.
type RoomEventName string

// Events of rooms (docs/wcs-protocol.md#room-api).
const (
	RoomState       RoomEventName = "STATE"       // for a new member: a list of logins and RoomStreams
	RoomJoined      RoomEventName = "JOINED"      // a login
	RoomLeft        RoomEventName = "LEFT"        // a login
	RoomPublished   RoomEventName = "PUBLISHED"   // a RoomStream
	RoomUnpublished RoomEventName = "UNPUBLISHED" // a RoomStream
	RoomFailed      RoomEventName = "FAILED"      // a RoomStream
	RoomText        RoomEventName = "MESSAGE"     // a RoomMessageInfo
)

// RoomStream is a stream of a member.
type RoomStream struct {
	Login string `json:"login"`
	Name  string `json:"name"`
}

// RoomMessageInfo is a message of a member.
type RoomMessageInfo struct {
	From string          `json:"from"`
	Text json.RawMessage `json:"text,omitempty"`
}

// RoomEvent notifies a member of an event in the room. info is the value listed beside the event's name. It
// has a new operationId, because the iOS SDK requires the member.
func RoomEvent(room string, name RoomEventName, info any) []byte {
	type payload struct {
		RoomName string        `json:"roomName"`
		Name     RoomEventName `json:"name"`
		Info     any           `json:"info"`
	}
	return encode(NoteOnData, struct {
		OperationID string  `json:"operationId"`
		Payload     payload `json:"payload"`
	}{newOperationID(), payload{room, name, info}})
}
