package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"wcsgateway/gateway/ends"
)

// Statistics count the clients and streams of pods.
type Statistics struct {
	Pods        int `json:"pods"`        // pods that are counted
	Silent      int `json:"silent"`      // pods that did not reply and are not counted
	Connections int `json:"connections"` // open client sockets
	Spliced     int `json:"spliced"`     // of them, those that an upstream serves
	Published   int `json:"published"`   // streams that are PUBLISHING
	Played      int `json:"played"`      // streams that are PLAYING
}

func (s *Statistics) add(other Statistics) {
	s.Pods += other.Pods
	s.Silent += other.Silent
	s.Connections += other.Connections
	s.Spliced += other.Spliced
	s.Published += other.Published
	s.Played += other.Played
}

// PodState is the state of a pod as operators see it.
type PodState struct {
	Statistics
	Draining bool      `json:"draining"`
	Version  string    `json:"version"`
	Host     string    `json:"host"` // name of its machine or container
	Started  time.Time `json:"started"`
	Load     int       `json:"load"`   // sockets in percent of limits.connections
	Health   []Finding `json:"health"` // what is not in order; nil: not known yet
	Sides    []Side    `json:"sides"`  // of applications that an upstream serves, too
}

// Side is what one server serves of an application.
type Side struct {
	App      string `json:"app"`      // "": the clients sent none
	Upstream string `json:"upstream"` // "": the gateway
	Sessions int    `json:"sessions"` // of an upstream: those that are spliced
	Linked   int    `json:"linked"`   // of an upstream: sessions of the gateway that have a link to it, too
	// Published and Played are streams that are starting or up, of spliced sessions those that are up.
	Published int              `json:"published"`
	Played    int              `json:"played"`
	Commands  map[string]int64 `json:"commands"` // since the pod's start, by name, without pongs
}

// Finding is what a pod found out of order in what its configuration names.
type Finding struct {
	Level string `json:"level"` // warning or fault
	Check string `json:"check"` // what was examined, such as livekit.url
	Text  string `json:"text"`
	Hint  string `json:"hint"` // what to do
}

// PodStatistics returns the current statistics of this pod.
func (s *Service) PodStatistics() Statistics { return s.deps.Local.State().Statistics }

// PodStates returns the states of the deployment's pods by pod id; the state of a pod that does not reply is
// nil. It takes up to two seconds. It fails with state.ErrUnavailable.
func (s *Service) PodStates(ctx context.Context) (map[string]*PodState, error) {
	return requestAll[PodState](ctx, s, methodPod, nil)
}

// Histories returns the results of Deps.History by pod id, like PodStates.
func (s *Service) Histories(ctx context.Context) (map[string]*json.RawMessage, error) {
	return requestAll[json.RawMessage](ctx, s, methodHistory, nil)
}

// Failures returns the failures of the last hour by pod id, like PodStates.
func (s *Service) Failures(ctx context.Context) (map[string]*[]ends.Failure, error) {
	return requestAll[[]ends.Failure](ctx, s, methodFailures, nil)
}

// requestAll sends the same request to every pod that is alive.
func requestAll[T any](ctx context.Context, s *Service, m method, arg any) (map[string]*T, error) {
	pods, err := s.deps.Directory.Pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m, err)
	}
	results := make([]*T, len(pods))
	var wg sync.WaitGroup
	for i, pod := range pods {
		wg.Go(func() {
			defer s.deps.Recovered()
			result := new(T)
			if s.request(ctx, pod, m, arg, result) == nil {
				results[i] = result
			}
		})
	}
	wg.Wait()
	all := make(map[string]*T, len(pods))
	for i, pod := range pods {
		all[pod] = results[i]
	}
	return all, nil
}

// maxStatisticsAge is the maximum age of the deployment's statistics: pods are asked at most once in that
// time.
const maxStatisticsAge = 5 * time.Second

// statisticsCache holds the deployment's statistics. Concurrent callers wait for the one that updates them.
type statisticsCache struct {
	mu    sync.Mutex
	taken time.Time
	last  Statistics
}

// DeploymentStatistics returns the statistics of all pods, at most maxStatisticsAge old. It fails with
// state.ErrUnavailable.
func (s *Service) DeploymentStatistics(ctx context.Context) (Statistics, error) {
	c := &s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.taken) < maxStatisticsAge {
		return c.last, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*replyTimeout) // other callers wait for it, too
	defer cancel()
	states, err := s.PodStates(ctx)
	if err != nil {
		return Statistics{}, err
	}
	var sum Statistics
	for _, p := range states {
		if p == nil {
			p = &PodState{Statistics: Statistics{Silent: 1}}
		}
		sum.add(p.Statistics)
	}
	c.last, c.taken = sum, time.Now()
	return sum, nil
}
