package hybrid

import (
	"context"
	"sync"
	"time"

	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// Names are the streams that clients of all pods publish upstream.
type Names interface {
	// PutUpstreamNames records streams for state.UpstreamNameTTL.
	PutUpstreamNames(ctx context.Context, names []state.UpstreamName) error
	// DropUpstreamName removes a stream unless another pod has recorded it since.
	DropUpstreamName(ctx context.Context, n state.UpstreamName) error
	// HasUpstreamName reports whether a stream is recorded.
	HasUpstreamName(ctx context.Context, n state.UpstreamName) (bool, error)
}

// place is a name on an upstream.
type place struct {
	server *upstream.Server
	name   string
}

func (p place) recorded() state.UpstreamName {
	return state.UpstreamName{Upstream: p.server.Name(), Name: p.name}
}

// published are the names that this pod's clients publish upstream. Clients.Run passes those that the
// upstream has confirmed to the other pods.
type published struct {
	wake chan struct{} // has a value while changes are pending

	mu      sync.Mutex
	clients map[place]int      // number of clients that publish the name, or have asked to
	up      map[place]bool     // the upstream has confirmed
	changed map[place]struct{} // since the last look
}

func newPublished() *published {
	return &published{wake: make(chan struct{}, 1), clients: make(map[place]int), up: make(map[place]bool), changed: make(map[place]struct{})}
}

func (p *published) count(at place, delta int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[at] += delta; p.clients[at] == 0 {
		delete(p.clients, at)
		if p.up[at] {
			delete(p.up, at)
			p.change(at)
		}
	}
}

// confirm records that a client's stream is up.
func (p *published) confirm(at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[at] > 0 && !p.up[at] {
		p.up[at] = true
		p.change(at)
	}
}

// change needs mu.
func (p *published) change(at place) {
	p.changed[at] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default: // it will be looked at
	}
}

func (p *published) has(at place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients[at] > 0
}

// pending returns the names to record and to remove: those that changed, or all.
func (p *published) pending(all bool) (put, drop []state.UpstreamName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.changed {
		if !p.up[at] {
			drop = append(drop, at.recorded())
		} else if !all {
			put = append(put, at.recorded())
		}
	}
	clear(p.changed)
	if all {
		for at := range p.up {
			put = append(put, at.recorded())
		}
	}
	return put, drop
}

// Run passes the names that clients publish upstream to the other pods until ctx is done, and then removes
// them.
func (all *Clients) Run(ctx context.Context) {
	defer all.Recovered()
	renew := time.NewTicker(state.UpstreamNameTTL / 4)
	defer renew.Stop()
	for {
		select {
		case <-all.published.wake:
			all.passNames(all.published.pending(false))
		case <-renew.C:
			all.passNames(all.published.pending(true))
		case <-ctx.Done():
			all.passNames(all.published.pending(false))
			return
		}
	}
}

// passNames ends at an error: names are recorded again by the next renewal, and expire.
func (all *Clients) passNames(put, drop []state.UpstreamName) {
	ctx, cancel := context.WithTimeout(context.Background(), all.StoreTimeout)
	defer cancel()
	if len(put) > 0 {
		if err := all.Names.PutUpstreamNames(ctx, put); err != nil {
			all.Log.Warn().Err(err).Int("names", len(put)).Msg("names on upstreams not recorded")
			return
		}
	}
	for _, n := range drop {
		if all.Names.DropUpstreamName(ctx, n) != nil {
			return
		}
	}
}

// recordedThere reports whether a client of any pod publishes a name upstream, as far as Redis knows.
func (c *Client) recordedThere(name string) bool {
	ctx, cancel := context.WithTimeout(c.all.Context, c.all.StoreTimeout)
	defer cancel()
	has, err := c.all.Names.HasUpstreamName(ctx, place{c.app.Upstream, name}.recorded())
	return has && err == nil // without Redis the publish fails for itself
}
