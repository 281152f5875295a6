package pulls

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"wcsgateway/state"
)

// A list of all pulls costs a few commands for each of them. So all questions of the pod share one list for a
// time that grows with it, and count what this pod has started since.
const (
	listFor    = time.Second
	listPerRow = 10 * time.Millisecond // 1,000 pulls: 10 s
	workersFor = 250 * time.Millisecond
)

// census knows how many pulls the deployment has, and whether a worker is free.
type census struct {
	store   Store
	flights singleflight.Group

	mu      sync.Mutex
	byApp   map[string]int
	listed  time.Time     // when byApp was read
	valid   time.Duration // for how long
	workers []state.PullWorker
	asked   time.Time // when workers was read
}

// ofApp returns the number of pulls of an application.
func (c *census) ofApp(ctx context.Context, app string) (int, error) {
	if n, ok := c.known(app); ok {
		return n, nil
	}
	_, err, _ := c.flights.Do("pulls", func() (any, error) {
		began := time.Now()
		all, err := wanted(ctx, c.store)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.byApp, c.listed, c.valid = make(map[string]int), began, listFor+time.Duration(len(all))*listPerRow
		for _, st := range all {
			c.byApp[st.Pull.App]++
		}
		return nil, nil
	})
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byApp[app], nil
}

func (c *census) known(app string) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byApp[app], time.Since(c.listed) < c.valid
}

// started counts a pull that this pod has started.
func (c *census) started(app string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byApp != nil {
		c.byApp[app]++
	}
}

// free reports whether a worker is alive that can take a pull, and alive whether one is alive at all. That
// none is free is always asked again.
func (c *census) free(ctx context.Context) (free, alive bool, err error) {
	c.mu.Lock()
	workers, asked := c.workers, c.asked
	c.mu.Unlock()
	if time.Since(asked) < workersFor && slices.ContainsFunc(workers, takes) {
		return true, true, nil
	}
	workers, err = c.ask(ctx)
	return slices.ContainsFunc(workers, takes), len(workers) > 0, err
}

// ask returns the living workers.
func (c *census) ask(ctx context.Context) ([]state.PullWorker, error) {
	got, err, _ := c.flights.Do("workers", func() (any, error) {
		began := time.Now()
		workers, err := c.store.PullWorkers(ctx)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.workers, c.asked = workers, began
		}
		return workers, err
	})
	workers, _ := got.([]state.PullWorker)
	return workers, err
}

// workersEvery is how often a pod counts the workers for its metric.
const workersEvery = 15 * time.Second

// CountWorkers keeps Deps.Workers until ctx is done.
func (s *Service) CountWorkers(ctx context.Context) {
	tick := time.NewTicker(workersEvery)
	defer tick.Stop()
	for {
		s.countWorkers(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// countWorkers sets the number of living workers, which stays as it is while the store does not answer.
func (s *Service) countWorkers(ctx context.Context) {
	defer s.deps.Recovered()
	allowed := false
	for _, app := range s.deps.Settings() {
		allowed = allowed || len(app.Allow) > 0
	}
	if !allowed || s.deps.Keys == nil {
		s.deps.Workers.DeleteLabelValues()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if workers, err := s.census.ask(ctx); err == nil {
		s.deps.Workers.WithLabelValues().Set(float64(len(workers)))
	}
}

func takes(w state.PullWorker) bool { return w.Running < w.Max }

// leastShare is how many sources without a publisher one address may have on a pod in any case.
const leastShare = 8

// share returns how many sources without a publisher one address may have on this pod: a quarter of what the
// workers can take, so that addresses that do not answer leave room for others.
func (c *census) share() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	slots := 0
	for _, w := range c.workers {
		slots += max(0, w.Max-w.Running)
	}
	return max(leastShare, slots/4)
}

// wanted returns the pulls of the deployment that have a holder and have not failed.
func wanted(ctx context.Context, s Store) ([]state.PullStatus, error) {
	all, err := s.Pulls(ctx)
	return slices.DeleteFunc(all, func(st state.PullStatus) bool { return failed(st) || len(st.Holders) == 0 }), err
}
