package session

import "wcsgateway/gateway/socket"

// Info texts of rejected sessions. The text of WCS for an origin is not known.
const (
	infoNoApplication   = "Application not found"
	infoWrongOrigin     = "Origin not allowed"
	infoTooManySessions = "Too many sessions of this application"
)

// Peer is the client end of a socket.
type Peer struct {
	Remote string // address and port; the port is 0 if only a proxy knows it
	Origin string // of the page; empty for clients that are not browsers
	Conn   *socket.MeteredConn
}

// admit returns the application that the client requests, and counts the session in it, or rejects the
// client.
func (s *Session) admit(key string) (*App, bool) {
	live := s.table.Settings()
	app, ok := live.Apps[key]
	switch {
	case !ok:
		s.rejectFor(rejectUnknownApp, key, infoNoApplication)
	case !app.Origins.Allows(s.Origin):
		s.rejectFor(rejectAppOrigin, key, infoWrongOrigin)
	case !s.table.takeSlot(app):
		s.rejectFor(rejectAppSessions, key, infoTooManySessions)
	default:
		s.admittedTo = app
		return app, true
	}
	return nil, false
}

func (s *Session) rejectFor(r socket.Rejection, appKey, info string) {
	s.table.Metrics.Rejected(r)
	s.sampled().Str("app", cut(appKey, 64)).Str("origin", s.Origin).Str("socket.Rejection", string(r)).Msg("session rejected: " + info)
	s.reject(info)
}

// takeSlot counts a session of an application on this pod and reports whether it is within the limit.
func (t *Table) takeSlot(app *App) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if app.MaxSessions > 0 && t.sessionsOf[app.Key] >= app.MaxSessions {
		return false
	}
	t.sessionsOf[app.Key]++
	return true
}

// releaseSlot undoes takeSlot. It can be repeated.
func (s *Session) releaseSlot() {
	if s.admittedTo == nil {
		return
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.table.sessionsOf[s.admittedTo.Key]--; s.table.sessionsOf[s.admittedTo.Key] == 0 {
		delete(s.table.sessionsOf, s.admittedTo.Key)
	}
	s.admittedTo = nil
}
