package wcs

import (
	"encoding/json"
	"slices"
)

// Messages that carry an application's own JSON. It is handed on byte for byte: encoding it anew would change how numbers, spaces and
// some characters are written.

// StreamData tells a player what the publisher of its stream has sent as data (protocol.md §3.5). Without a payload it is null.
func StreamData(mediaID string, payload json.RawMessage) []byte {
	return withPayload(NoteStreamEvent, struct {
		MediaSessionID string          `json:"mediaSessionId"`
		Type           StreamEventType `json:"type"`
	}{mediaID, EventData}, payload)
}

// StreamMute tells a player that the publisher of its stream has muted something, or goes on.
func StreamMute(mediaID string, typ StreamEventType, streamName string) []byte {
	return streamEvent(mediaID, string(typ), struct {
		StreamName string `json:"streamName"`
	}{streamName})
}

// OnData brings a client the data of its application's backend (protocol.md §3.7). Without a payload it is null.
func OnData(operationID string, payload json.RawMessage) []byte {
	return withPayload(NoteOnData, struct {
		OperationID string `json:"operationId,omitempty"`
	}{operationID}, payload)
}

// withPayload makes a frame whose argument is an object of this package's own and the payload.
func withPayload(name Name, arg any, payload json.RawMessage) []byte {
	if len(payload) == 0 {
		payload = json.RawMessage("null")
	}
	frame := encode(name, arg)
	end := len(frame) - len("}]}")
	member := `"payload":`
	if frame[end-1] != '{' {
		member = "," + member
	}
	return slices.Concat(frame[:end], []byte(member), payload, frame[end:])
}
