package gateway

import (
	"time"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/session"
)

// local implements admin.Local: the sessions of this pod, with the state of the pod itself.
type local struct {
	session.Local
	g *Gateway
}

// podFacts are for operators.
type podFacts struct {
	started time.Time
	health  func() []admin.Finding // can be nil
}

// State implements admin.Local.
func (l local) State() admin.PodState {
	stats := l.g.table.Statistics()
	stats.Spliced = l.g.links.Len()
	stats.Connections += stats.Spliced
	load, _ := l.g.Load()
	var health []admin.Finding
	if l.g.facts.health != nil {
		health = l.g.facts.health()
	}
	return admin.PodState{
		Statistics: stats, Draining: l.g.draining.Load(), Version: l.g.cfg.Version, Host: l.g.cfg.Host,
		Started: l.g.facts.started, Load: load, Health: health,
	}
}
