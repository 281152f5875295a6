package rest

import (
	"encoding/json"
	"fmt"
)

// sendStreamEvent sends an event to the players of a stream, which is identified by its media id or its name.
func (a *API) sendStreamEvent(q *request) error {
	var body struct {
		MediaSessionID string          `json:"mediaSessionId"`
		StreamName     string          `json:"streamName"`
		Type           string          `json:"type"`
		Payload        json.RawMessage `json:"payload"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "mediaSessionId=" + abridge(body.MediaSessionID) + " streamName=" + abridge(body.StreamName)
	if (body.MediaSessionID == "") == (body.StreamName == "") {
		return badRequest("exactly one of mediaSessionId and streamName is required")
	}
	if body.Type == "" {
		body.Type = "data" // as Stream.sendData of the SDK
	}
	if body.StreamName == "" {
		e, err := a.streamOfID(q, body.MediaSessionID)
		switch {
		case err != nil:
			return err
		case !e.Published:
			return fmt.Errorf("%w: mediaSessionId belongs to a player", errNotAny)
		}
		body.StreamName = e.Name
	}
	return a.deps.Messenger.SendStreamEvent(q.Context(), body.StreamName, body.Type, body.Payload)
}

// sendData sends data to a client, which receives it as OnDataEvent.
func (a *API) sendData(q *request) error {
	var body struct {
		NodeID      string          `json:"nodeId"` // ignored: all pods are one server
		AppKey      string          `json:"appKey"` // ignored: the session has it
		SessionID   string          `json:"sessionId"`
		OperationID string          `json:"operationId"`
		Payload     json.RawMessage `json:"payload"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "sessionId=" + abridge(body.SessionID)
	if body.SessionID == "" {
		return badRequest("sessionId is missing")
	}
	return a.deps.Messenger.SendToSession(q.Context(), body.SessionID, body.OperationID, body.Payload)
}
