package wcs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

// An application's own JSON is forwarded byte for byte: encoding it again would change how numbers, spaces
// and some characters are written.

// StreamData sends a player the data of its stream's publisher (docs/wcs-protocol.md#sendstreamevent). A nil
// payload becomes null.
func StreamData(mediaID string, payload json.RawMessage) []byte {
	return withPayload(NoteStreamEvent, struct {
		MediaSessionID string          `json:"mediaSessionId"`
		Type           StreamEventType `json:"type"`
	}{mediaID, EventData}, payload)
}

// StreamMute notifies a player that the publisher of its stream muted or unmuted a track.
func StreamMute(mediaID string, typ StreamEventType, streamName string) []byte {
	return streamEvent(mediaID, string(typ), struct {
		StreamName string `json:"streamName"`
	}{streamName})
}

// OnData sends a client the data of its application's backend (docs/wcs-protocol.md#messages). A nil payload
// becomes null. An empty operationID becomes a new one, because the iOS SDK requires the member.
func OnData(operationID string, payload json.RawMessage) []byte {
	return withPayload(NoteOnData, struct {
		OperationID string `json:"operationId"`
	}{cmp.Or(operationID, newOperationID())}, payload)
}

func newOperationID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// withPayload encodes a frame whose argument has the members of arg and the payload.
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
