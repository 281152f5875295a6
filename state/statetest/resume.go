package statetest

import (
	"context"
	"errors"

	"wcsgateway/state"
)

// TakeSession is state.Redis' method.
func (p *Pod) TakeSession(ctx context.Context, id string, decide func(state.Session) (state.Session, error)) (state.Session, error) {
	return call(ctx, p, "take_session", true, func() (state.Session, error) {
		was, ok := p.f.sessions[id]
		if !ok {
			return state.Session{}, state.ErrNotFound
		}
		next, err := decide(was)
		if err != nil {
			return was, err
		}
		next.Owner, next.Upstream = p.owner, nil
		p.f.sessions[id], p.known[id], p.took[id] = next, next, true
		return was, nil
	})
}

// EndSession is state.Redis' method.
func (p *Pod) EndSession(ctx context.Context, s state.Session) error {
	p.f.mu.Lock()
	if p.known[s.ID].TokenHash == s.TokenHash {
		delete(p.known, s.ID)
		delete(p.took, s.ID)
	}
	p.f.mu.Unlock()
	return p.call(ctx, "end_session", true, func() error {
		if held, ok := p.f.sessions[s.ID]; ok && !p.holds(held, s) {
			return state.ErrLostOwnership
		}
		delete(p.f.sessions, s.ID)
		p.f.ended[s.ID] = true
		return nil
	})
}

// AdoptStream is state.Redis' method.
func (p *Pod) AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error {
	return p.call(ctx, "adopt_stream", true, func() error {
		s.Owner = p.owner
		mine := claimOfStream(s)
		held, taken := p.f.streams[s.Name]
		switch {
		case !taken:
			return state.ErrNotFound
		case p.f.refuses(mine, s.Generation, claimOfStream(held), state.ErrNameTaken) != nil || p.f.void[mine]:
			return state.ErrLostOwnership
		}
		p.f.streams[s.Name] = s
		_ = p.f.claimMedia(mine, s.Generation) // it can belong to another owner by now
		return nil
	})
}

// AdoptPlayer is state.Redis' method.
func (p *Pod) AdoptPlayer(ctx context.Context, player state.Player, from state.Owner) (state.Stream, error) {
	return call(ctx, p, "adopt_player", true, func() (state.Stream, error) {
		old, mine := claimOfPlayer(from, player), claimOfPlayer(p.owner, player)
		players := p.f.players[player.Stream]
		_, has := players[old]
		if _, hasNow := players[mine]; !has && !hasNow {
			return state.Stream{}, state.ErrNotFound
		}
		if p.f.removed[mine] > player.Generation {
			p.f.removePlayer(mine)
			return state.Stream{}, state.ErrLostOwnership
		}
		if has && old != mine {
			p.f.removed[old] = max(p.f.removed[old], player.Generation)
		}
		delete(players, old)
		if err := p.f.claimMedia(mine, player.Generation); errors.Is(err, state.ErrAdopted) {
			p.f.removePlayer(mine)
			return state.Stream{}, state.ErrLostOwnership
		}
		player.Owner = p.owner
		players[mine] = player
		return p.f.streams[player.Stream], nil
	})
}
