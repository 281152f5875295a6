package gateway

import "wcsgateway/gateway/socket"

// Info texts of refused sessions. WCS' own for an origin is not known (integration.md §6).
const (
	infoNoApplication  = "Application not found"
	infoWrongOrigin    = "Origin not allowed"
	infoTooManyOfTheir = "Too many sessions of this application"
)

// peer is who opened a socket.
type peer struct {
	remote  string // address and port; the port is 0 if a proxy knows it alone
	origin  string // of the page; empty for a client that is no browser
	metered *socket.MeteredConn
}

// admit gives the application that a client asks for, and takes a place in it, or refuses the client.
func (s *session) admit(key string) (*App, bool) {
	live := s.g.live()
	app, ok := live.apps[key]
	switch {
	case !ok:
		s.refuseFor(refusedUnknownApp, key, infoNoApplication)
	case !app.Origins.Allows(s.origin):
		s.refuseFor(refusedAppOrigin, key, infoWrongOrigin)
	case !s.g.takePlace(app):
		s.refuseFor(refusedAppSessions, key, infoTooManyOfTheir)
	default:
		s.place = app
		return app, true
	}
	return nil, false
}

func (s *session) refuseFor(r refusal, appKey, info string) {
	s.g.metrics.refused(r)
	s.noisy().Str("app", cut(appKey, 64)).Str("origin", s.origin).Str("refusal", string(r)).Msg("session refused: " + info)
	s.refuse(info)
}

// takePlace counts a session of an application on this pod, unless there are too many.
func (g *Gateway) takePlace(app *App) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if app.MaxSessions > 0 && g.sessionsOf[app.Key] >= app.MaxSessions {
		return false
	}
	g.sessionsOf[app.Key]++
	return true
}

// givePlace undoes what admit took. It may be repeated.
func (s *session) givePlace() {
	if s.place == nil {
		return
	}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if s.g.sessionsOf[s.place.Key]--; s.g.sessionsOf[s.place.Key] == 0 {
		delete(s.g.sessionsOf, s.place.Key)
	}
	s.place = nil
}
