package console

import (
	"cmp"
	"context"
	"slices"
	"time"

	"wcsgateway/gateway/admin"
)

// podRow is a pod of the deployment.
type podRow struct {
	Pod     string `json:"pod"`
	Host    string `json:"host"`
	State   string `json:"state"` // ready, draining or silent
	Version string `json:"version"`
	Started int64  `json:"started"` // Unix milliseconds
	Load    int    `json:"load"`    // percent
	// Health is what the pod found out of order. null: it does not know yet.
	Health    []admin.Finding `json:"health"`
	Sessions  int             `json:"sessions"` // with spliced ones
	Spliced   int             `json:"spliced"`  // of them, those that an upstream serves
	Published int             `json:"published"`
	Played    int             `json:"played"`
	Self      bool            `json:"self"` // the pod that serves this viewer
}

// overview holds the pods and totals of the deployment.
type overview struct {
	Pods   []podRow  `json:"pods"`
	Totals totals    `json:"totals"`
	Sides  []sideRow `json:"sides"` // of applications that an upstream serves, too

	hosts hosts
}

// sideRow is what one server serves of an application (admin.Side).
type sideRow struct {
	App       string         `json:"app"`
	Upstream  string         `json:"upstream"` // "": the gateway
	Sessions  int            `json:"sessions"`
	Linked    int            `json:"linked"`
	Published int            `json:"published"`
	Played    int            `json:"played"`
	Commands  []commandCount `json:"commands"` // since the pods' starts, the most frequent first
}

type commandCount struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// sidesOf adds up the sides of all pods.
func sidesOf(states map[string]*admin.PodState) []sideRow {
	type key struct{ app, upstream string }
	sums := make(map[key]admin.Side)
	for _, s := range states {
		if s == nil {
			continue
		}
		for _, side := range s.Sides {
			k := key{side.App, side.Upstream}
			sum, known := sums[k]
			if !known {
				sum.Commands = make(map[string]int64)
			}
			sum.Sessions += side.Sessions
			sum.Linked += side.Linked
			sum.Published += side.Published
			sum.Played += side.Played
			for name, n := range side.Commands {
				sum.Commands[name] += n
			}
			sums[k] = sum
		}
	}
	rows := []sideRow{}
	for k, sum := range sums {
		r := sideRow{App: k.app, Upstream: k.upstream, Sessions: sum.Sessions, Linked: sum.Linked, Published: sum.Published, Played: sum.Played, Commands: []commandCount{}}
		for name, n := range sum.Commands {
			r.Commands = append(r.Commands, commandCount{name, n})
		}
		slices.SortFunc(r.Commands, func(a, b commandCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
		})
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b sideRow) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Upstream, b.Upstream))
	})
	return rows
}

// hosts are the hosts of the pods that answer, by pod.
type hosts map[string]string

// of returns the host of a pod as tables show it: the pod's id if the host is unknown.
func (h hosts) of(pod string) string { return cmp.Or(h[pod], pod) }

type totals struct {
	Sessions  int `json:"sessions"` // with spliced ones
	Spliced   int `json:"spliced"`
	Published int `json:"published"`
	Played    int `json:"played"`
}

// overview returns the overview that all viewers share. It is updated at most once per half of Refresh.
func (c *Console) overview(ctx context.Context) (overview, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.seenAt) < c.cfg.Refresh/2 {
		return c.seen, c.seenErr
	}
	c.seen, c.seenErr = c.readPods(ctx)
	c.seenAt = time.Now()
	return c.seen, c.seenErr
}

func (c *Console) readPods(ctx context.Context) (o overview, err error) {
	states, err := c.deps.PodStates(ctx)
	if err != nil {
		return o, err
	}
	o.Pods, o.Sides, o.hosts = []podRow{}, sidesOf(states), make(hosts, len(states))
	for pod, s := range states {
		r := podRow{Pod: pod, State: "silent", Self: pod == c.cfg.Pod}
		if s != nil {
			r.State, r.Version, r.Sessions, r.Spliced, r.Published, r.Played = "ready", s.Version, s.Connections, s.Spliced, s.Published, s.Played
			o.hosts[pod] = s.Host
			r.Host, r.Started, r.Load, r.Health = s.Host, s.Started.UnixMilli(), s.Load, s.Health
			if s.Draining {
				r.State = "draining"
			}
			o.Totals.Sessions += r.Sessions
			o.Totals.Spliced += r.Spliced
			o.Totals.Published += r.Published
			o.Totals.Played += r.Played
		}
		o.Pods = append(o.Pods, r)
	}
	slices.SortFunc(o.Pods, func(a, b podRow) int {
		return cmp.Or(cmp.Compare(b.trouble(), a.trouble()), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Pod, b.Pod))
	})
	return o, nil
}

// trouble orders pods by what is wrong with them. 0 means nothing.
func (p podRow) trouble() int {
	has := func(level string) bool {
		return slices.ContainsFunc(p.Health, func(f admin.Finding) bool { return f.Level == level })
	}
	switch {
	case p.State == "silent":
		return 4
	case has("fault"):
		return 3
	case p.State == "draining":
		return 2
	case has("warning"):
		return 1
	}
	return 0
}
