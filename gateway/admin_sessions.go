package gateway

import (
	"context"
	"errors"
	"fmt"

	"wcsgateway/state"
)

// EachSession gives the sessions of the deployment page by page, as state.Redis.EachSession does.
func (g *Gateway) EachSession(ctx context.Context, yield func([]state.Session) error) error {
	return g.deps.Directory.EachSession(ctx, yield)
}

// FindSession gives the registration of a session, whoever has it. It fails with state.ErrNotFound or state.ErrUnavailable.
func (g *Gateway) FindSession(ctx context.Context, id string) (state.Session, error) {
	return g.deps.Resumption.FindSession(ctx, id)
}

// TerminateSession closes the socket of a session, on whatever pod, and releases all it has, also if it has asked for keepAlive. It fails with
// state.ErrNotFound, state.ErrUnavailable or ErrPodSilent.
func (g *Gateway) TerminateSession(ctx context.Context, id string) error {
	rec, err := g.FindSession(ctx, id)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("terminate session: %w", err)
	}
	pod := rec.Owner.Pod
	if err != nil { // it may have just begun here
		pod = g.cfg.Pod
	}
	found := false
	if err := g.order(ctx, pod, adminEndSession, id, &found); err != nil {
		return fmt.Errorf("terminate session: %w", err)
	}
	if !found {
		return fmt.Errorf("terminate session: %w", state.ErrNotFound)
	}
	return nil
}

// endSession ends a session of this pod.
func (g *Gateway) endSession(id string) (found bool) {
	s := g.sessionByID(id)
	if s == nil {
		return false
	}
	s.dismiss(closedTerminated)
	return true
}
