package statetest

import (
	"context"
	"fmt"

	"wcsgateway/state"
)

// TakeSession is that of state.Redis.
func (p *Pod) TakeSession(ctx context.Context, id string, decide func(state.Session) (state.Session, error)) (state.Session, error) {
	const op = "take_session"
	if err := p.f.enter(ctx, op, p, true); err != nil {
		return state.Session{}, err
	}
	defer p.f.mu.Unlock()
	was, ok := p.f.sessions[id]
	if !ok {
		return state.Session{}, fmt.Errorf("%s: %w", op, state.ErrNotFound)
	}
	next, err := decide(was)
	if err != nil {
		return was, err
	}
	next.Owner = p.owner
	p.f.sessions[id] = next
	p.known[id] = next
	return was, nil
}

// EndSession is that of state.Redis.
func (p *Pod) EndSession(ctx context.Context, id string) error {
	const op = "end_session"
	p.f.mu.Lock()
	delete(p.known, id)
	p.f.mu.Unlock()
	if err := p.f.enter(ctx, op, p, true); err != nil {
		return err
	}
	defer p.f.mu.Unlock()
	if s, ok := p.f.sessions[id]; ok && s.Owner != p.owner {
		return fmt.Errorf("%s: %w", op, state.ErrLostOwnership)
	}
	delete(p.f.sessions, id)
	return nil
}

// AdoptStream is that of state.Redis.
func (p *Pod) AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error {
	const op = "adopt_stream"
	if err := p.f.enter(ctx, op, p, true); err != nil {
		return err
	}
	defer p.f.mu.Unlock()
	old, mine := claimOfStream(from, s), claimOfStream(p.owner, s)
	switch held, taken := p.f.streams[s.Name]; {
	case !taken:
		return fmt.Errorf("%s: %w", op, state.ErrNotFound)
	case held.claim != old && held.claim != mine:
		return fmt.Errorf("%s: %w", op, state.ErrLostOwnership)
	}
	s.Owner = p.owner
	p.f.streams[s.Name] = claimed{claim: mine, record: s}
	p.f.adoptMedia(old, mine)
	return nil
}

// AdoptPlayer is that of state.Redis.
func (p *Pod) AdoptPlayer(ctx context.Context, player state.Player, from state.Owner) (state.Stream, error) {
	const op = "adopt_player"
	if err := p.f.enter(ctx, op, p, true); err != nil {
		return state.Stream{}, err
	}
	defer p.f.mu.Unlock()
	old, mine := claimOfPlayer(from, player), claimOfPlayer(p.owner, player)
	players := p.f.players[player.Stream]
	_, has := players[old]
	if _, hasNow := players[mine]; !has && !hasNow {
		return state.Stream{}, fmt.Errorf("%s: %w", op, state.ErrNotFound)
	}
	delete(players, old)
	player.Owner = p.owner
	players[mine] = player
	p.f.adoptMedia(old, mine)
	return p.f.streams[player.Stream].record, nil
}

func (f *Fake) adoptMedia(old, mine claim) {
	if f.media[mine.media] == old {
		f.media[mine.media] = mine
	}
}
