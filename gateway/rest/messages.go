package rest

import "encoding/json"

// sendStreamEvent sends an event to the players of a stream (integration.md §5.6). Its stream may be named either way.
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
	q.about("mediaSessionId=" + cut(body.MediaSessionID) + " streamName=" + cut(body.StreamName))
	switch {
	case (body.MediaSessionID == "") == (body.StreamName == ""):
		return bad("one of mediaSessionId and streamName is needed")
	case a.deps.Messenger == nil:
		return notBuilt("events are not sent by this server")
	}
	if body.Type == "" {
		body.Type = "data" // what Stream.sendData sends
	}
	if body.StreamName == "" {
		e, err := a.streamOfID(q, body.MediaSessionID)
		switch {
		case err != nil:
			return err
		case !e.Published:
			return errNothing
		}
		body.StreamName = e.Name
	}
	return a.deps.Messenger.SendStreamEvent(q.Context(), body.StreamName, body.Type, body.Payload)
}

// sendData sends data to a client, which gets it as OnDataEvent.
func (a *API) sendData(q *request) error {
	var body struct {
		NodeID      string          `json:"nodeId"` // all pods are one server
		AppKey      string          `json:"appKey"` // as hooks have it; the session tells
		SessionID   string          `json:"sessionId"`
		OperationID string          `json:"operationId"`
		Payload     json.RawMessage `json:"payload"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	q.about("sessionId=" + cut(body.SessionID))
	switch {
	case body.SessionID == "":
		return bad("sessionId is missing")
	case a.deps.Messenger == nil:
		return notBuilt("data is not sent by this server")
	}
	return a.deps.Messenger.SendToSession(q.Context(), body.SessionID, body.OperationID, body.Payload)
}
