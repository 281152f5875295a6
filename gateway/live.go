package gateway

import "wcsgateway/gateway/origins"

// Live is the part of Config that can change while the gateway runs.
type Live struct {
	Apps    map[string]App
	Origins origins.List // of pages that may connect, whatever the application
	Limits  Limits
}

// current is Live as it is used.
type current struct {
	apps    map[string]*App
	origins origins.List
	limits  Limits
}

// Reload replaces applications, origins and limits. Sessions keep the application that they began with; what is new about it
// counts for new ones.
func (g *Gateway) Reload(l Live) {
	c := &current{apps: make(map[string]*App, len(l.Apps)), origins: l.Origins, limits: l.Limits}
	for key, app := range l.Apps {
		c.apps[key] = &app
	}
	g.now.Store(c)
}

// live is what counts now. It is not changed any more.
func (g *Gateway) live() *current { return g.now.Load() }
