package gateway

import (
	"context"
	"sync"
	"time"
)

// Statistics count what pods have.
type Statistics struct {
	Pods        int `json:"pods"`        // that were counted
	Silent      int `json:"silent"`      // pods that did not answer, and are not counted
	Connections int `json:"connections"` // open client sockets
	Published   int `json:"published"`   // streams that are PUBLISHING
	Played      int `json:"played"`      // streams that are PLAYING
}

func (s *Statistics) add(other Statistics) {
	s.Pods += other.Pods
	s.Silent += other.Silent
	s.Connections += other.Connections
	s.Published += other.Published
	s.Played += other.Played
}

// PodStatistics are those of this pod, at this moment.
func (g *Gateway) PodStatistics() Statistics { return g.statisticsHere() }

func (g *Gateway) statisticsHere() Statistics {
	s := Statistics{Pods: 1, Connections: g.openSockets()}
	for _, st := range g.streams.all() {
		switch {
		case !st.settled.Load():
		case st.published:
			s.Published++
		default:
			s.Played++
		}
	}
	return s
}

// openSockets leaves out sessions that are kept without one.
func (g *Gateway) openSockets() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions) - g.parked.all
}

// statisticsAge is how old the deployment's statistics may be: however often they are asked for, pods are asked once in that time.
const statisticsAge = 5 * time.Second

// statisticsCache holds the deployment's statistics. Whoever comes while they are taken waits for them.
type statisticsCache struct {
	mu    sync.Mutex
	taken time.Time
	last  Statistics
}

// DeploymentStatistics are those of all pods, at most statisticsAge old. It fails with state.ErrUnavailable.
func (g *Gateway) DeploymentStatistics(ctx context.Context) (Statistics, error) {
	c := &g.statistics
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.taken) < statisticsAge {
		return c.last, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*adminWait) // others wait for them, too
	defer cancel()
	answers, err := askPods[Statistics](ctx, g, adminStatistics)
	if err != nil {
		return Statistics{}, err
	}
	var sum Statistics
	for _, s := range answers {
		if s == nil {
			s = &Statistics{Silent: 1}
		}
		sum.add(*s)
	}
	c.last, c.taken = sum, time.Now()
	return sum, nil
}

// Load is how full the pod is, in percent of limits.connections, and whether it takes new clients at all.
func (g *Gateway) Load() (percent int, open bool) {
	most := g.live().limits.Connections
	if most <= 0 {
		return 0, g.Ready()
	}
	return min(100*g.openSockets()/most, 100), g.Ready()
}
