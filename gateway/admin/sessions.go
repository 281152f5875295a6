package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wcsgateway/state"
)

// SessionDetails are known only to the pod of a session.
type SessionDetails struct {
	Login    string        `json:"login"`    // in the connection's custom; "" without one
	Remote   string        `json:"remote"`   // the client's address
	Detached bool          `json:"detached"` // the client disconnected and can resume the session
	Messages []MessageInfo `json:"messages"` // the last ones, the newest last
}

// MessageInfo describes a message between a client and this server, without its content.
type MessageInfo struct {
	At    time.Time `json:"at"`
	In    bool      `json:"in"`   // from the client
	Type  string    `json:"type"` // from a closed set for messages from the client, which can send any name
	Bytes int       `json:"bytes"`
}

// SessionDetails returns the registration and the details of a session. It fails with state.ErrNotFound,
// state.ErrUnavailable or ErrPodUnreachable.
func (s *Service) SessionDetails(ctx context.Context, id string) (state.Session, SessionDetails, error) {
	rec, err := s.FindSession(ctx, id)
	if err != nil {
		return rec, SessionDetails{}, err
	}
	var d *SessionDetails
	if err := s.request(ctx, rec.Owner.Pod, methodSession, id, &d); err != nil {
		return rec, SessionDetails{}, err
	}
	if d == nil {
		return rec, SessionDetails{}, fmt.Errorf("session details: %w", state.ErrNotFound)
	}
	return rec, *d, nil
}

// TerminateSession closes the socket of a session on any pod and ends its streams, also if the session has
// keepAlive. It fails with state.ErrNotFound, state.ErrUnavailable or ErrPodUnreachable.
func (s *Service) TerminateSession(ctx context.Context, id string) error {
	rec, err := s.FindSession(ctx, id)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("terminate session: %w", err)
	}
	pod := rec.Owner.Pod
	if err != nil { // it might have just started on this pod
		pod = s.deps.Pod
	}
	found := false
	if err := s.request(ctx, pod, methodEndSession, id, &found); err != nil {
		return fmt.Errorf("terminate session: %w", err)
	}
	if !found {
		return fmt.Errorf("terminate session: %w", state.ErrNotFound)
	}
	return nil
}
