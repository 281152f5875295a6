package gateway

import (
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/session"
)

// local implements admin.Local: the sessions of this pod, with the state of the pod itself.
type local struct {
	*session.Table
	g *Gateway
}

// State implements admin.Local.
func (l local) State() admin.PodState {
	stats := l.g.table.Statistics()
	stats.Spliced = l.g.links.Len()
	stats.Connections += stats.Spliced
	load, _ := l.g.Load()
	return admin.PodState{
		Statistics: stats, Draining: l.g.draining.Load(), Version: l.g.cfg.Version, Host: l.g.cfg.Host,
		Started: l.g.started, Load: load, Health: l.g.deps.Health(), Sides: l.g.sides(),
	}
}

// pushAddress returns the RTMP address of a stream, and whether its application is allowed to send there
// (admin.PushAddress).
func (g *Gateway) pushAddress(app, stream, base string, full bool) (address string, allowed bool) {
	a := g.table.Settings().Apps[app]
	if a == nil {
		return "", false
	}
	address = base
	if !full && !a.RTMPFullURL {
		address = egress.Address(base, stream)
	}
	return address, a.RTMPHosts.Allow(base)
}
