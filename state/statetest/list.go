package statetest

import (
	"context"
	"maps"
	"slices"

	"wcsgateway/state"
)

// EachStream is state.Redis' method, with one page for all.
func (p *Pod) EachStream(ctx context.Context, q state.StreamQuery, yield func([]state.Listed) error) error {
	page, err := call(ctx, p, "list", false, func() (page []state.Listed, err error) {
		for _, s := range p.f.streams {
			if wanted(q, s.MediaID, s.Name) {
				page = append(page, state.Listed{Stream: s})
			}
		}
		for name, players := range p.f.players {
			for _, player := range players {
				if wanted(q, player.MediaID, name) {
					page = append(page, state.Listed{Stream: p.f.streams[name], Player: &player})
				}
			}
		}
		return page, nil
	})
	if err != nil || len(page) == 0 {
		return err
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
	page, err := call(ctx, p, "list", false, func() ([]state.Session, error) {
		return slices.Collect(maps.Values(p.f.sessions)), nil
	})
	if err != nil || len(page) == 0 {
		return err
	}
	return yield(page)
}

// Pods is state.Redis' method: the pods that were not killed.
func (p *Pod) Pods(ctx context.Context) ([]string, error) {
	return call(ctx, p, "sweep", false, func() (pods []string, err error) {
		for name, other := range p.f.pods {
			if !other.dead {
				pods = append(pods, name)
			}
		}
		return pods, nil
	})
}
