package rest

import (
	"encoding/json"
	"fmt"
)

// streamEvent is an event for the players of a stream, which is identified by its media id or its name.
type streamEvent struct {
	MediaSessionID string          `json:"mediaSessionId"`
	StreamName     string          `json:"streamName"`
	Type           string          `json:"type"`
	Payload        json.RawMessage `json:"payload"`
}

func (a *API) sendStreamEvent(q *request, body streamEvent) error {
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

// sessionData is for one client, which receives it as OnDataEvent. WCS's nodeId and appKey are ignored: all
// pods are one server, and the session has an application.
type sessionData struct {
	SessionID   string          `json:"sessionId"`
	OperationID string          `json:"operationId"`
	Payload     json.RawMessage `json:"payload"`
}

func (a *API) sendData(q *request, body sessionData) error {
	q.target = "sessionId=" + abridge(body.SessionID)
	if body.SessionID == "" {
		return badRequest("sessionId is missing")
	}
	return a.deps.Messenger.SendToSession(q.Context(), body.SessionID, body.OperationID, body.Payload)
}
