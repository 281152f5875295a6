package hybrid

import (
	"context"
	"sync"
	"time"

	"wcsgateway/state"
)

// Names are the streams that clients of all pods publish upstream.
type Names interface {
	// PutUpstreamNames records streams for state.UpstreamNameTTL.
	PutUpstreamNames(ctx context.Context, names []state.UpstreamName) error
	// DropUpstreamNames removes the streams that no other pod has recorded since.
	DropUpstreamNames(ctx context.Context, names []state.UpstreamName) error
	// HasUpstreamName reports whether a stream is recorded.
	HasUpstreamName(ctx context.Context, n state.UpstreamName) (bool, error)
}

// place is a name on an upstream. It is the same place if a reload replaces the server under its name.
type place = state.UpstreamName

// at returns the place of a name on the client's upstream.
func (c *Client) at(name string) place { return place{Upstream: c.app.Upstream.Name(), Name: name} }

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
func (p *published) pending(all bool) (put, drop []place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.changed {
		if !p.up[at] {
			drop = append(drop, at)
		} else if !all {
			put = append(put, at)
		}
	}
	clear(p.changed)
	if all {
		for at := range p.up {
			put = append(put, at)
		}
	}
	return put, drop
}

// keep keeps changes for a later look. What exceeds maxKept is recorded by the next renewal, or expires.
func (p *published) keep(names []place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range names[:min(len(names), max(0, maxKept-len(p.changed)))] {
		p.changed[at] = struct{}{}
	}
}

const (
	maxNames   = 256    // that are written at a time
	maxKept    = 10_000 // that could not be written
	retryNames = time.Second
)

// Run passes the names that clients publish upstream to the other pods until ctx is done, and then removes
// them.
func (all *Clients) Run(ctx context.Context) {
	defer all.Recovered()
	renew := time.NewTicker(state.UpstreamNameTTL / 4)
	defer renew.Stop()
	retry := time.NewTimer(retryNames)
	defer retry.Stop()
	for {
		passed := true
		select {
		case <-all.published.wake:
			passed = all.passNames(false)
		case <-retry.C:
			passed = all.passNames(false)
		case <-renew.C:
			passed = all.passNames(true)
		case <-ctx.Done():
			all.passNames(false)
			return
		}
		if !passed {
			retry.Reset(retryNames)
		}
	}
}

// passNames passes the names that changed, or all. After a failure it keeps what was not written and returns
// false.
func (all *Clients) passNames(renewal bool) bool {
	put, drop := all.published.pending(renewal)
	put, err := all.inParts(put, all.Names.PutUpstreamNames)
	if err == nil {
		drop, err = all.inParts(drop, all.Names.DropUpstreamNames)
	}
	if err == nil {
		return true
	}
	all.published.keep(put)
	all.published.keep(drop)
	all.Log.Warn().Err(err).Int("names", len(put)+len(drop)).Msg("names on upstreams not recorded")
	return false
}

// inParts writes names in parts, each with its own deadline, until one fails. It returns the rest.
func (all *Clients) inParts(names []place, write func(context.Context, []place) error) (rest []place, err error) {
	for len(names) > 0 {
		part := names[:min(maxNames, len(names))]
		ctx, cancel := context.WithTimeout(context.Background(), all.StoreTimeout)
		err := write(ctx, part)
		cancel()
		if err != nil {
			return names, err
		}
		names = names[len(part):]
	}
	return nil, nil
}

// recordedThere reports whether a client of any pod publishes a name upstream, as far as Redis knows.
func (c *Client) recordedThere(name string) bool {
	ctx, cancel := context.WithTimeout(c.all.Context, c.all.StoreTimeout)
	defer cancel()
	has, err := c.all.Names.HasUpstreamName(ctx, c.at(name))
	return has && err == nil // without Redis the publish fails for itself
}
