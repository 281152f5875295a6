package statetest

import (
	"context"
	"encoding/json"
	"fmt"

	"wcsgateway/state"
)

// Pod is the store of one pod on a Fake. It behaves like state.Redis, with the same errors.
type Pod struct {
	f *Fake

	// guarded by f.mu
	owner    state.Owner
	handlers state.Handlers
	dead     bool
	known    map[string]state.Session // its own, to be registered again after a reset
	took     map[string]bool          // of these, those that it took
	events   []state.Event
	telling  bool
}

// ClaimStream is state.Redis' method.
func (p *Pod) ClaimStream(ctx context.Context, s state.Stream) error {
	return p.call(ctx, "claim_stream", true, func() error {
		s.Owner = p.owner
		c := claimOfStream(s)
		if held, taken := p.f.streams[s.Name]; taken {
			if err := p.f.refuses(c, s.Generation, claimOfStream(held), state.ErrNameTaken); err != nil {
				return err
			}
		}
		if p.f.void[c] {
			return state.ErrLostOwnership
		}
		if err := p.f.claimMedia(c, s.Generation); err != nil {
			return err
		}
		p.f.streams[s.Name] = s
		return nil
	})
}

// PutStream is state.Redis' method.
func (p *Pod) PutStream(ctx context.Context, s state.Stream) ([]string, error) {
	return call(ctx, p, "put_stream", true, func() ([]string, error) {
		s.Owner = p.owner
		switch held, taken := p.f.streams[s.Name]; {
		case !taken:
			return nil, state.ErrNotFound
		case claimOfStream(held) != claimOfStream(s):
			return nil, state.ErrLostOwnership
		}
		p.f.streams[s.Name] = s
		return p.f.podsOf(s.Name), nil
	})
}

// ReleaseStream is state.Redis' method.
func (p *Pod) ReleaseStream(ctx context.Context, s state.Stream) ([]string, error) {
	return call(ctx, p, "release_stream", true, func() ([]string, error) {
		s.Owner = p.owner
		c := claimOfStream(s)
		held, taken := p.f.streams[s.Name]
		p.f.void[c] = true
		if taken && claimOfStream(held) == c {
			p.f.release(c)
			return p.f.podsOf(s.Name), nil
		}
		p.f.releaseMedia(c)
		if taken {
			return nil, state.ErrLostOwnership
		}
		return p.f.podsOf(s.Name), nil
	})
}

// DisplaceStream is state.Redis' method.
func (p *Pod) DisplaceStream(ctx context.Context, s state.Stream) ([]string, error) {
	return call(ctx, p, "displace_stream", true, func() ([]string, error) {
		c := claimOfStream(s)
		if held, taken := p.f.streams[s.Name]; taken && claimOfStream(held) != c {
			return nil, state.ErrLostOwnership
		}
		p.f.release(c)
		p.f.void[c] = true
		return p.f.podsOf(s.Name), nil
	})
}

// Leased is state.Redis' method.
func (p *Pod) Leased(ctx context.Context, o state.Owner) (bool, error) {
	return call(ctx, p, "find_lease", false, func() (bool, error) {
		of := p.f.pods[o.Pod]
		return of != nil && !of.dead && of.owner == o, nil
	})
}

// FindStream is state.Redis' method.
func (p *Pod) FindStream(ctx context.Context, name string) (state.Stream, error) {
	return call(ctx, p, "find_stream", false, func() (state.Stream, error) {
		held, ok := p.f.streams[name]
		if !ok {
			return state.Stream{}, state.ErrNotFound
		}
		return held, nil
	})
}

// AddPlayer is state.Redis' method.
func (p *Pod) AddPlayer(ctx context.Context, player state.Player) (state.Stream, error) {
	return call(ctx, p, "add_player", true, func() (state.Stream, error) {
		c := claimOfPlayer(p.owner, player)
		held, ok := p.f.streams[player.Stream]
		late := p.f.removed[c] > player.Generation
		if !ok && !player.Native && !late {
			return state.Stream{}, state.ErrNotFound
		}
		if err := p.f.claimMedia(c, player.Generation); err != nil {
			delete(p.f.players[player.Stream], c)
			return state.Stream{}, err
		}
		if late {
			p.f.removePlayer(c)
			return state.Stream{}, state.ErrLostOwnership
		}
		player.Owner = p.owner
		if p.f.players[player.Stream] == nil {
			p.f.players[player.Stream] = make(map[playerKey]state.Player)
		}
		p.f.players[player.Stream][c] = player
		return held, nil
	})
}

// RemovePlayer is state.Redis' method.
func (p *Pod) RemovePlayer(ctx context.Context, player state.Player) error {
	return p.call(ctx, "remove_player", true, func() error {
		c := claimOfPlayer(p.owner, player)
		p.f.removed[c] = max(p.f.removed[c], player.Generation+1)
		p.f.removePlayer(c)
		return nil
	})
}

// PutSession is state.Redis' method. It also works while Redis is away.
func (p *Pod) PutSession(s state.Session) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.took[s.ID] && p.known[s.ID].TokenHash != s.TokenHash {
		return // stale: the pod took the session again since
	}
	s.Upstream = nil
	if was := p.known[s.ID]; was.TokenHash == s.TokenHash {
		s.Upstream = was.Upstream
	}
	p.known[s.ID] = s
	if !p.dead {
		p.registerSessions()
	}
}

// PutUpstream is state.Redis' method.
func (p *Pod) PutUpstream(id string, h state.TokenHash, u *state.SessionUpstream) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	s, known := p.known[id]
	if !known || s.TokenHash != h {
		return
	}
	s.Upstream = u
	p.known[id] = s
	if !p.dead {
		p.registerSessions()
	}
}

// registerSessions needs f.mu.
func (p *Pod) registerSessions() {
	for id, s := range p.known {
		held, ok := p.f.sessions[id]
		if s.Resumable && (p.f.ended[id] || ok && !p.holds(held, s) && held.Generation >= s.Generation) {
			delete(p.known, id) // another pod took it
			delete(p.took, id)
			continue
		}
		s.Owner = p.owner
		p.f.sessions[id] = s
	}
}

// DropSession is state.Redis' method.
func (p *Pod) DropSession(id string) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	s, known := p.known[id]
	if known && p.holds(p.f.sessions[id], s) {
		delete(p.f.sessions, id)
		p.f.ended[id] = s.Resumable || p.took[id]
	}
	delete(p.known, id)
	delete(p.took, id)
}

// holds reports whether a registration is the one that this pod knows.
func (p *Pod) holds(held, known state.Session) bool {
	return held.Owner == p.owner && held.TokenHash == known.TokenHash
}

// FindSessionOf is state.Redis' method.
func (p *Pod) FindSessionOf(ctx context.Context, id string, h state.TokenHash) (state.Session, error) {
	s, err := p.FindSession(ctx, id)
	if err == nil && s.TokenHash != h {
		return state.Session{}, fmt.Errorf("find_session: %w", state.ErrNotFound)
	}
	return s, err
}

// FindUpstream is state.Redis' method.
func (p *Pod) FindUpstream(ctx context.Context, id string, h state.TokenHash) (state.Session, error) {
	s, err := p.FindSessionOf(ctx, id, h)
	if err == nil && s.Upstream == nil {
		s = state.Session{ID: id}
	}
	return s, err
}

// FindSession is state.Redis' method.
func (p *Pod) FindSession(ctx context.Context, id string) (state.Session, error) {
	return call(ctx, p, "find_session", false, func() (state.Session, error) {
		s, ok := p.f.sessions[id]
		if !ok {
			return state.Session{}, state.ErrNotFound
		}
		return s, nil
	})
}

// Publish is state.Redis' method: the other pod's handler runs later, in a separate goroutine, and receives a
// copy that was encoded as JSON.
func (p *Pod) Publish(ctx context.Context, pod string, e state.Event) error {
	return p.call(ctx, "publish", false, func() error {
		e.From = p.owner.Pod
		var copied state.Event
		message, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(message, &copied)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", state.ErrUnavailable, err)
		}
		if to := p.f.pods[pod]; to != nil && !to.dead {
			to.events = append(to.events, copied)
			if !to.telling {
				to.telling = true
				go to.deliver()
			}
		}
		return nil
	})
}

// deliver passes events to the handler in order while there are any.
func (p *Pod) deliver() {
	for {
		p.f.mu.Lock()
		events, handler := p.events, p.handlers.Event
		p.events = nil
		if len(events) == 0 || handler == nil {
			p.telling = false
			p.f.mu.Unlock()
			return
		}
		p.f.mu.Unlock()
		for _, e := range events {
			handler(e)
		}
	}
}
