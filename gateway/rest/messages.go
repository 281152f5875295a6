package rest

import (
	"crypto/rand"
	"encoding/json"

	"wcsgateway/gateway"
)

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
	id, err := a.publisherOf(q, body.MediaSessionID, body.StreamName)
	if err != nil {
		return err
	}
	return a.deps.Messenger.SendStreamEvent(q.Context(), id, body.Type, body.Payload)
}

// publisherOf gives the media id of a published stream.
func (a *API) publisherOf(q *request, mediaID, name string) (id string, err error) {
	published := true
	f := gateway.StreamFilter{Name: name, Published: &published}
	if mediaID != "" {
		f.MediaIDs = []string{mediaID}
	}
	err = a.deps.Deployment.EachStream(q.Context(), f, func(page []gateway.StreamEntry) error {
		id = page[0].MediaID
		return nil
	})
	if err == nil && id == "" {
		err = errNothing
	}
	return id, err
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
	if body.OperationID == "" {
		body.OperationID = rand.Text()
	}
	return a.deps.Messenger.SendToSession(q.Context(), body.SessionID, body.OperationID, body.Payload)
}
