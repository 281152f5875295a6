package statetest

import (
	"context"
	"slices"

	"wcsgateway/state"
)

// EachStream is state.Redis' method, with one page for all.
func (p *Pod) EachStream(ctx context.Context, q state.StreamQuery, yield func([]state.Listed) error) error {
	if err := p.f.enter(ctx, "list", p, false); err != nil {
		return err
	}
	var page []state.Listed
	for _, c := range p.f.streams {
		if wanted(q, c.record.MediaID, c.record.Name) {
			page = append(page, state.Listed{Stream: c.record})
		}
	}
	for name, players := range p.f.players {
		for _, player := range players {
			if wanted(q, player.MediaID, name) {
				page = append(page, state.Listed{Stream: p.f.streams[name].record, Player: &player})
			}
		}
	}
	p.f.mu.Unlock()
	if len(page) == 0 {
		return nil
	}
	return yield(page)
}

func wanted(q state.StreamQuery, media, name string) bool {
	if len(q.MediaIDs) > 0 {
		return slices.Contains(q.MediaIDs, media)
	}
	return q.Name == "" || q.Name == name
}

// EachSession is state.Redis' method, with one page for all.
func (p *Pod) EachSession(ctx context.Context, yield func([]state.Session) error) error {
	if err := p.f.enter(ctx, "list", p, false); err != nil {
		return err
	}
	var page []state.Session
	for _, s := range p.f.sessions {
		page = append(page, s)
	}
	p.f.mu.Unlock()
	if len(page) == 0 {
		return nil
	}
	return yield(page)
}

// Pods is state.Redis' method: the pods that were not killed.
func (p *Pod) Pods(ctx context.Context) ([]string, error) {
	if err := p.f.enter(ctx, "sweep", p, false); err != nil {
		return nil, err
	}
	defer p.f.mu.Unlock()
	var pods []string
	for name, other := range p.f.pods {
		if !other.dead {
			pods = append(pods, name)
		}
	}
	return pods, nil
}
