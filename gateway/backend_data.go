package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Backends send data to clients through any pod (integration.md §2.2): the pod that has the client is asked, and answers when the
// data is on its way.

// ErrBadData says that data of a backend cannot be sent to clients: it is no JSON, no UTF-8, or too big.
var ErrBadData = errors.New("bad data")

// askBackend bounds the wait for the pod that has the client; it is some milliseconds, or the pod is dead.
const askBackend = time.Second

// What a pod answers; anything else is why it could not send.
const (
	answerSent = "sent"
	answerNone = "" // it does not have the client
)

// sessionData is what EventTellOne carries.
type sessionData struct {
	OperationID string `json:"operationId,omitempty"`
	Payload     []byte `json:"payload"` // JSON, byte for byte
}

// SendToSession sends a backend's data to the client of a session, on whatever pod, as OnDataEvent. operationID may be empty. It fails with
// state.ErrNotFound if there is no such session or its client is not connected, with ErrBadData, and with state.ErrUnavailable or ErrPodSilent when
// Redis or the session's pod does not answer; in the latter case the data may have been sent.
func (g *Gateway) SendToSession(ctx context.Context, sessionID, operationID string, payload json.RawMessage) error {
	if err := g.checkData(operationID, payload); err != nil {
		return err
	}
	if s := g.sessionByID(sessionID); s != nil {
		if answer := s.tell(ctx, wcs.OnData(operationID, payload)); answer != answerNone {
			return answered(answer)
		} // its client is gone, or has come back to another pod
	}
	rec, err := g.deps.Resumption.FindSession(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("data to session: %w", err)
	}
	body, err := json.Marshal(sessionData{operationID, payload})
	if err != nil {
		return fmt.Errorf("data to session: %w", err)
	}
	return g.askToSend(ctx, rec.Owner.Pod, state.Event{Kind: state.EventTellOne, Name: sessionID, Body: body})
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
	if rec.Owner.Pod == g.cfg.Pod {
		return answered(g.sayAs(ctx, translate.Identity(rec.Identity), payload))
	}
	return g.askToSend(ctx, rec.Owner.Pod, state.Event{Kind: state.EventSay, Identity: rec.Identity, Body: payload})
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

// askToSend has another pod send something.
func (g *Gateway) askToSend(ctx context.Context, pod string, e state.Event) error {
	if pod == g.cfg.Pod { // which does not have it any more
		return answered(answerNone)
	}
	ctx, cancel := context.WithTimeout(ctx, askBackend)
	defer cancel()
	answer, err := g.ask(ctx, pod, e)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPodSilent, pod, err)
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

// sendFor does what another pod's backend wants.
func (g *Gateway) sendFor(e state.Event) {
	ctx, cancel := g.withTimeout(askBackend)
	defer cancel()
	answer := answerNone
	switch e.Kind {
	case state.EventSay:
		answer = g.sayAs(ctx, translate.Identity(e.Identity), e.Body)
	default: // state.EventTellOne
		var d sessionData
		if s := g.sessionByID(e.Name); s != nil && json.Unmarshal(e.Body, &d) == nil {
			answer = s.tell(ctx, wcs.OnData(d.OperationID, d.Payload))
		}
	}
	g.tell(ctx, []string{e.From}, state.Event{Kind: state.EventAnswered, ID: e.ID, Answer: answer})
}

// sayAs sends data as a publisher of this pod.
func (g *Gateway) sayAs(ctx context.Context, publisher translate.Identity, payload json.RawMessage) (answer string) {
	st := g.streams.find(publisher)
	if st == nil {
		return answerNone
	}
	return st.sess.await(ctx, func() string {
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
	return s.await(ctx, func() string {
		if s.closed {
			return answerNone
		}
		s.send(frame)
		return answerSent
	})
}

// await runs f on the loop and gives what it gives.
func (s *session) await(ctx context.Context, f func() string) (answer string) {
	done := make(chan string, 1)
	s.loop.post(func() { done <- f() })
	select {
	case answer = <-done:
		return answer
	case <-ctx.Done():
		return ctx.Err().Error()
	}
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
