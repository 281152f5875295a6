package gateway

import (
	"context"
	"encoding/json"
	"fmt"

	"wcsgateway/state"
)

// Pod is the id of this pod.
func (g *Gateway) Pod() string { return g.cfg.Pod }

// PodState is a pod as operators see it.
type PodState struct {
	Statistics
	Draining bool   `json:"draining"`
	Version  string `json:"version"`
}

// PodStates are those of the deployment's pods by their ids; nil of one that does not answer. It takes up to two seconds. It fails
// with state.ErrUnavailable.
func (g *Gateway) PodStates(ctx context.Context) (map[string]*PodState, error) {
	return askPods[PodState](ctx, g, adminPod)
}

// Histories are what Deps.History gives on the pods of the deployment, as PodStates gives their states.
func (g *Gateway) Histories(ctx context.Context) (map[string]*json.RawMessage, error) {
	return askPods[json.RawMessage](ctx, g, adminHistory)
}

func (g *Gateway) podState() PodState {
	return PodState{Statistics: g.statisticsHere(), Draining: g.draining.Load(), Version: g.cfg.Version}
}

func (g *Gateway) historyHere() any {
	if g.deps.History == nil {
		return nil
	}
	return g.deps.History()
}

// askPods asks every pod that is alive the same.
func askPods[T any](ctx context.Context, g *Gateway, kind adminKind) (map[string]*T, error) {
	pods, err := g.deps.Directory.Pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	type answer struct {
		pod  string
		says *T
	}
	answers := make(chan answer, len(pods))
	for _, pod := range pods {
		go func() {
			a := answer{pod: pod}
			defer func() { answers <- a }()
			defer g.recovered()
			says := new(T)
			if g.order(ctx, pod, kind, nil, says) == nil {
				a.says = says
			}
		}()
	}
	all := make(map[string]*T, len(pods))
	for range pods {
		a := <-answers
		all[a.pod] = a.says
	}
	return all, nil
}

// SessionDetails are what the pod of a session knows of it beside its registration.
type SessionDetails struct {
	Login    string      `json:"login"`  // of the connection's custom; "" without one
	Remote   string      `json:"remote"` // the client's address
	Parked   bool        `json:"parked"` // its client is gone and may come back
	Messages []Exchanged `json:"messages"`
}

// SessionDetails gives them. It fails with state.ErrNotFound, state.ErrUnavailable or ErrPodSilent.
func (g *Gateway) SessionDetails(ctx context.Context, id string) (state.Session, SessionDetails, error) {
	sess, err := g.FindSession(ctx, id)
	if err != nil {
		return sess, SessionDetails{}, err
	}
	var d *SessionDetails
	if err := g.order(ctx, sess.Owner.Pod, adminSession, id, &d); err != nil {
		return sess, SessionDetails{}, err
	}
	if d == nil {
		return sess, SessionDetails{}, fmt.Errorf("session details: %w", state.ErrNotFound)
	}
	return sess, *d, nil
}

// detailsHere is nil if this pod has no such session.
func (g *Gateway) detailsHere(ctx context.Context, id string) *SessionDetails {
	s := g.sessionByID(id)
	if s == nil {
		return nil
	}
	d, err := callOn(ctx, s, func() *SessionDetails {
		return &SessionDetails{Login: s.login, Remote: s.remote, Parked: s.keep != nil && s.keep.parked, Messages: s.recent.last()}
	})
	if err != nil {
		return nil
	}
	return d
}
