package gateway

import (
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/session"
)

// local implements admin.Local: the sessions of this pod, with the state of the pod itself.
type local struct {
	session.Local
	g *Gateway
}

// State implements admin.Local.
func (l local) State() admin.PodState {
	stats := l.g.table.Statistics()
	stats.Spliced = l.g.links.Len()
	stats.Connections += stats.Spliced
	return admin.PodState{Statistics: stats, Draining: l.g.draining.Load(), Version: l.g.cfg.Version}
}
