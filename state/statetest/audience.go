package statetest

import "context"

// PlayerPods is that of state.Redis.
func (p *Pod) PlayerPods(ctx context.Context, name string) ([]string, error) {
	if err := p.f.enter(ctx, "player_pods", p, false); err != nil {
		return nil, err
	}
	defer p.f.mu.Unlock()
	return p.f.podsOf(name), nil
}
