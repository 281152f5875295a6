package session

import "wcsgateway/gateway/origins"

// Reloadable is the part of the configuration that can change while the gateway runs.
type Reloadable struct {
	Apps    map[string]App
	Origins origins.List // of pages that can connect, whatever the application
	Limits  Limits
}

// Settings is a Reloadable in use. It is never changed.
type Settings struct {
	Apps    map[string]*App // by app key
	Origins origins.List
	Limits  Limits
}

// Reload replaces applications, origins and limits. Existing sessions keep the application that they began
// with.
func (t *Table) Reload(r Reloadable) {
	s := &Settings{Apps: make(map[string]*App, len(r.Apps)), Origins: r.Origins, Limits: r.Limits}
	for key, app := range r.Apps {
		s.Apps[key] = &app
	}
	t.settings.Store(s)
}

// Settings returns the present settings.
func (t *Table) Settings() *Settings { return t.settings.Load() }
