package statetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"wcsgateway/state"
)

// Pulls keeps pulls in memory, as state.Redis does for gateways. Tests play the workers.
type Pulls struct {
	mu      sync.Mutex
	away    bool
	workers []state.PullWorker
	pulls   map[string]*fakePull
	wanted  chan string
}

type fakePull struct {
	state.PullStatus
	at    time.Time            // of the last change of the state
	wants map[string]time.Time // by holder; zero: without end
}

// NewPulls returns a store without pulls and workers.
func NewPulls() *Pulls {
	return &Pulls{pulls: make(map[string]*fakePull), wanted: make(chan string, 1000)}
}

// Wanted receives the id of each pull that is created or started again.
func (f *Pulls) Wanted() <-chan string { return f.wanted }

// SetAway makes every call fail, as without Redis.
func (f *Pulls) SetAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// SetWorkers sets the living workers.
func (f *Pulls) SetWorkers(workers ...state.PullWorker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = workers
}

// Report sets the state of a pull as its worker does, which lives on. A new worker has another generation.
func (f *Pulls) Report(id, worker, progress, fault string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pulls[id]
	if p == nil {
		return
	}
	if worker != "" && p.Worker != worker {
		p.Generation++
	}
	p.Worker, p.State, p.Fault, p.at, p.Left = worker, progress, fault, time.Now(), time.Minute
}

// Die ends the lease of a pull's worker.
func (f *Pulls) Die(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pulls[id]; p != nil {
		p.Left = 0
	}
}

// Lose removes all pulls, as a Redis that comes back empty.
func (f *Pulls) Lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulls = make(map[string]*fakePull)
}

// Holders returns how long each holder wants a pull from now; 0: without end.
func (f *Pulls) Holders(id string) map[string]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := make(map[string]time.Duration)
	if p := f.pulls[id]; p != nil {
		for holder, until := range p.wants {
			if until.IsZero() {
				left[holder] = 0
			} else if d := time.Until(until); d > 0 {
				left[holder] = d
			}
		}
	}
	return left
}

// Record returns what the store has of a pull.
func (f *Pulls) Record(id string) state.Pull {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pulls[id]; p != nil {
		return p.Pull
	}
	return state.Pull{}
}

func (f *Pulls) status(p *fakePull) state.PullStatus {
	s := p.PullStatus
	s.Age, s.Holders = time.Since(p.at), nil
	for _, holder := range slices.Sorted(maps.Keys(p.wants)) {
		if until := p.wants[holder]; until.IsZero() || time.Now().Before(until) {
			s.Holders = append(s.Holders, holder)
		}
	}
	return s
}

const (
	failedPull  = "failed"
	waitingPull = "waiting"
)

// WantPull is state.Redis.WantPull.
func (f *Pulls) WantPull(_ context.Context, record state.Pull, w state.PullWant) (state.PullStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pulls[record.ID]
	switch {
	case f.away:
		return state.PullStatus{}, state.ErrUnavailable
	case p == nil && len(f.pulls) >= w.Max:
		return state.PullStatus{}, state.ErrFull
	case p == nil:
		p = &fakePull{PullStatus: w.Last, at: time.Now(), wants: make(map[string]time.Time)}
		if p.Pull = record; p.State == "" {
			p.State = waitingPull
		}
		f.pulls[record.ID] = p
		f.wanted <- record.ID
	case p.State == failedPull && (!w.Start || time.Since(p.at) < state.PullFailureHold):
		return f.status(p), nil
	case p.State == failedPull:
		p.Pull, p.State, p.Fault, p.Worker, p.at = record, waitingPull, "", "", time.Now()
		f.wanted <- record.ID
	}
	p.wants[w.Holder] = time.Time{}
	if w.For > 0 {
		p.wants[w.Holder] = time.Now().Add(w.For)
	}
	return f.status(p), nil
}

// ReleasePull is state.Redis.ReleasePull.
func (f *Pulls) ReleasePull(_ context.Context, id, holder string, after time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return state.ErrUnavailable
	}
	if p := f.pulls[id]; p != nil {
		p.wants[holder] = time.Now().Add(after)
	}
	return nil
}

// EndPull is state.Redis.EndPull.
func (f *Pulls) EndPull(_ context.Context, id, fault string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pulls[id]
	switch {
	case f.away:
		return state.ErrUnavailable
	case p == nil || p.State == failedPull:
		return state.ErrNotFound
	}
	p.State, p.Fault, p.at, p.wants = failedPull, fault, time.Now(), make(map[string]time.Time)
	return nil
}

// FindPulls is state.Redis.FindPulls.
func (f *Pulls) FindPulls(_ context.Context, ids ...string) (map[string]state.PullStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, state.ErrUnavailable
	}
	found := make(map[string]state.PullStatus)
	for _, id := range ids {
		if p := f.pulls[id]; p != nil {
			found[id] = f.status(p)
		}
	}
	return found, nil
}

// Pulls is state.Redis.Pulls.
func (f *Pulls) Pulls(context.Context) (all []state.PullStatus, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, state.ErrUnavailable
	}
	for _, id := range slices.Sorted(maps.Keys(f.pulls)) {
		all = append(all, f.status(f.pulls[id]))
	}
	return all, nil
}

// PullWorkers is state.Redis.PullWorkers.
func (f *Pulls) PullWorkers(context.Context) ([]state.PullWorker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, state.ErrUnavailable
	}
	return slices.Clone(f.workers), nil
}
