package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Backends send data to clients through any pod (integration.md §2.2): the pod that has the client is asked, and answers when the
// data is on its way.

// ErrBadData says that data of a backend cannot be sent to clients: it is no JSON, no UTF-8, or too big.
var ErrBadData = errors.New("bad data")

// What a pod answers; anything else is why it could not send.
const (
	answerSent = "sent"
	answerNone = "" // it does not have the client
)

// sessionData is the argument of adminTell.
type sessionData struct {
	Session     string `json:"session"`
	OperationID string `json:"operationId,omitempty"`
	Payload     []byte `json:"payload"` // JSON, byte for byte
}

// streamData is the argument of adminSay.
type streamData struct {
	Publisher string `json:"publisher"` // identity
	Payload   []byte `json:"payload"`   // JSON, byte for byte
}

// SendToSession sends a backend's data to the client of a session, on whatever pod, as OnDataEvent. operationID may be empty. It fails with
// state.ErrNotFound if there is no such session or its client is not connected, with ErrBadData, and with state.ErrUnavailable or ErrPodSilent when
// Redis or the session's pod does not answer; in the latter case the data may have been sent.
func (g *Gateway) SendToSession(ctx context.Context, sessionID, operationID string, payload json.RawMessage) error {
	if err := g.checkData(operationID, payload); err != nil {
		return err
	}
	d := sessionData{sessionID, operationID, payload}
	if answer := g.tellOne(ctx, d); answer != answerNone { // else its client is gone, or has come back to another pod
		return answered(answer)
	}
	rec, err := g.deps.Resumption.FindSession(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("data to session: %w", err)
	}
	return g.askToSend(ctx, rec.Owner.Pod, adminTell, d)
}

// SendStreamEvent sends a backend's data to the players of a stream, on whatever pods, and to native participants, as its publisher would
// (protocol.md §2.8). typ is data: what is muted is the publisher's own to say. It is for published streams of this deployment's own
// clients. It fails with state.ErrNotFound if there is none of this name, ErrBadData, and as SendToSession does when somebody does not answer.
func (g *Gateway) SendStreamEvent(ctx context.Context, name, typ string, payload json.RawMessage) error {
	if typ != string(wcs.EventData) {
		return fmt.Errorf("%w: only events of type data can be sent", ErrBadData)
	}
	if err := g.checkData("", payload); err != nil {
		return err
	}
	rec, err := g.deps.Store.FindStream(ctx, name)
	switch {
	case err != nil:
		return fmt.Errorf("data to stream: %w", err)
	case rec.Phase != state.PhasePublishing:
		return fmt.Errorf("data to stream: %w: not publishing yet", state.ErrNotFound)
	}
	return g.askToSend(ctx, rec.Owner.Pod, adminSay, streamData{rec.Identity, payload})
}

func (g *Gateway) checkData(operationID string, payload json.RawMessage) error {
	limits := &g.live().limits
	err := errors.Join(limits.checkID(operationID), limits.checkPayload(payload))
	if err == nil && (!utf8.Valid(payload) || !json.Valid(payload)) {
		err = wcs.ErrMalformed
	}
	if err == nil && limits.JSONDepth > 0 && wcs.Deeper(payload, limits.JSONDepth) {
		err = errTooDeep
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadData, err)
	}
	return nil
}

// askToSend has the pod that has the client send something.
func (g *Gateway) askToSend(ctx context.Context, pod string, kind adminKind, data any) error {
	var answer string
	if err := g.order(ctx, pod, kind, data, &answer); err != nil {
		return fmt.Errorf("data to client: %w", err)
	}
	return answered(answer)
}

func answered(answer string) error {
	switch answer {
	case answerSent:
		return nil
	case answerNone:
		return fmt.Errorf("data to client: %w", state.ErrNotFound)
	}
	return fmt.Errorf("%w: data to client: %s", state.ErrUnavailable, answer)
}

// tellOne sends data to the client of a session of this pod.
func (g *Gateway) tellOne(ctx context.Context, d sessionData) (answer string) {
	s := g.sessionByID(d.Session)
	if s == nil {
		return answerNone
	}
	return s.tell(ctx, wcs.OnData(d.OperationID, d.Payload))
}

// sayAs sends data as a publisher of this pod.
func (g *Gateway) sayAs(ctx context.Context, publisher translate.Identity, payload json.RawMessage) (answer string) {
	st := g.streams.find(publisher)
	if st == nil {
		return answerNone
	}
	return st.sess.answer(ctx, func() string {
		if st.ending != nil || st.phase != phaseUp {
			return answerNone
		}
		if err := st.say(state.Said{Type: string(wcs.EventData), Payload: payload}); err != nil {
			return err.Error()
		}
		return answerSent
	})
}

// tell sends the client a message.
func (s *session) tell(ctx context.Context, frame []byte) (answer string) {
	return s.answer(ctx, func() string {
		if s.closed {
			return answerNone
		}
		s.send(frame)
		return answerSent
	})
}

// answer runs f on the loop and returns its answer, or the text of the fault that kept it from running.
func (s *session) answer(ctx context.Context, f func() string) string {
	answer, err := callOn(ctx, s, f)
	if err != nil {
		return err.Error()
	}
	return answer
}

// named lets backends find the session by its id.
func (g *Gateway) named(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byID[s.id] = s
}

// unnamed needs mu. A session that has been resumed on this pod has its id from then on.
func (g *Gateway) unnamed(s *session) {
	if g.byID[s.id] == s {
		delete(g.byID, s.id)
	}
}

func (g *Gateway) sessionByID(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byID[id]
}
