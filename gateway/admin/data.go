package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// ErrBadData is returned for data of a backend that cannot be sent to clients: invalid JSON or UTF-8, or too
// big.
var ErrBadData = errors.New("bad data")

// Results of Local.SendData and Local.PublishData. Any other text is the reason of a failure.
const (
	DataSent       = "sent"
	DataNoReceiver = "" // this pod does not have the client or the stream
)

// SessionData is data for the client of a session.
type SessionData struct {
	Session     string `json:"session"`
	OperationID string `json:"operationId,omitempty"`
	Payload     []byte `json:"payload"` // JSON, byte for byte
}

// streamData is data for the players of a stream.
type streamData struct {
	Publisher translate.Identity `json:"publisher"`
	Payload   []byte             `json:"payload"` // JSON, byte for byte
}

// SendToSession sends a backend's data as OnDataEvent to the client of a session on any pod. operationID can
// be empty. It fails with state.ErrNotFound if there is no such session or its client is not connected, with
// ErrBadData, and with state.ErrUnavailable or ErrPodUnreachable if Redis or the session's pod does not
// answer. After ErrPodUnreachable the data might have been sent.
func (s *Service) SendToSession(ctx context.Context, sessionID, operationID string, payload json.RawMessage) error {
	if err := s.checkData(operationID, payload); err != nil {
		return err
	}
	d := SessionData{sessionID, operationID, payload}
	if result := s.deps.Local.SendData(ctx, d); result != DataNoReceiver { // else it is on another pod or not connected
		return dataError(result)
	}
	rec, err := s.FindSession(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("data to session: %w", err)
	}
	return s.requestData(ctx, rec.Owner.Pod, methodSendData, d)
}

// SendStreamEvent sends a backend's data to the players of a published stream on all pods and to native
// participants, in the name of the publisher. typ must be data, because only publishers report what they
// muted. The errors are those of SendToSession; state.ErrNotFound means that no stream with this name is
// published.
func (s *Service) SendStreamEvent(ctx context.Context, name, typ string, payload json.RawMessage) error {
	rec, err := s.deps.Directory.FindStream(ctx, name)
	switch {
	case err != nil:
		return fmt.Errorf("data to stream: %w", err)
	case rec.Phase != state.PhasePublishing:
		return fmt.Errorf("data to stream: %w: not publishing yet", state.ErrNotFound)
	case typ != string(wcs.EventData):
		return fmt.Errorf("%w: only events of type data can be sent", ErrBadData)
	}
	if err := s.checkData("", payload); err != nil {
		return err
	}
	return s.requestData(ctx, rec.Owner.Pod, methodPublishData, streamData{translate.Identity(rec.Identity), payload})
}

func (s *Service) checkData(operationID string, payload json.RawMessage) error {
	if err := s.deps.CheckData(operationID, payload); err != nil {
		return fmt.Errorf("%w: %w", ErrBadData, err)
	}
	return nil
}

// requestData makes a pod send data.
func (s *Service) requestData(ctx context.Context, pod string, m method, data any) error {
	var result string
	if err := s.request(ctx, pod, m, data, &result); err != nil {
		return fmt.Errorf("data to client: %w", err)
	}
	return dataError(result)
}

func dataError(result string) error {
	switch result {
	case DataSent:
		return nil
	case DataNoReceiver:
		return fmt.Errorf("data to client: %w", state.ErrNotFound)
	}
	return fmt.Errorf("%w: data to client: %s", state.ErrUnavailable, result)
}
