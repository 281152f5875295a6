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
		Started: l.g.started, Load: load, Health: l.g.deps.Health(), Sides: l.sides(),
	}
}

// sides returns the sides of the applications that an upstream serves, too.
func (l local) sides() (all []admin.Side) {
	shared := make(map[string]bool)
	for key, app := range l.g.table.Settings().Apps {
		shared[key] = app.Route.Upstream() || app.Hybrid.Upstream != nil
	}
	for _, use := range l.g.links.Uses() {
		shared[use.App] = true
		all = append(all, admin.Side{App: use.App, Upstream: use.Upstream, Sessions: use.Sessions, Commands: use.Commands})
	}
	for key, is := range shared {
		if is && key != "" {
			all = append(all, l.g.table.Side(key))
		}
	}
	return all
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
