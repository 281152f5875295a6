package rest

import (
	"errors"

	"wcsgateway/state"
)

// connection is WCS's Connection object, filled from the registration of a session.
type connection struct {
	NodeID        string `json:"nodeId"`
	AppKey        string `json:"appKey"`
	SessionID     string `json:"sessionId"`
	ClientVersion string `json:"clientVersion,omitempty"`
	KeepAlive     bool   `json:"keepAlive"`
	CreateDate    int64  `json:"createDate"` // Unix milliseconds
}

func (a *API) connectionOf(s state.Session) connection {
	return connection{
		NodeID: a.cfg.NodeID, AppKey: s.App, SessionID: s.ID, ClientVersion: s.ClientVersion, KeepAlive: s.Resumable, CreateDate: s.CreatedAt.UnixMilli(),
	}
}

// connectionFilter is the body of find. A session matches if all set members are equal.
type connectionFilter struct {
	ClientVersion string `json:"clientVersion"`
	AppKey        string `json:"appKey"`
	SessionID     string `json:"sessionId"`
}

func (f connectionFilter) matches(s state.Session) bool {
	return (f.ClientVersion == "" || f.ClientVersion == s.ClientVersion) && (f.AppKey == "" || f.AppKey == s.App) &&
		(f.SessionID == "" || f.SessionID == s.ID)
}

func (a *API) findAllConnections(q *request) error { return a.listConnections(q, connectionFilter{}) }

func (a *API) findConnections(q *request) error {
	var f connectionFilter
	if err := q.decodeFilter(&f); err != nil {
		return err
	}
	if f.SessionID == "" {
		return a.listConnections(q, f)
	}
	l := a.newList(q)
	s, err := a.deps.Deployment.FindSession(q.Context(), f.SessionID)
	switch {
	case errors.Is(err, state.ErrNotFound):
		err = nil
	case err == nil && f.matches(s):
		err = l.add(a.connectionOf(s))
	}
	return l.end(err)
}

func (a *API) listConnections(q *request, f connectionFilter) error {
	l := a.newList(q)
	err := a.deps.Deployment.EachSession(q.Context(), func(page []state.Session) error {
		for _, s := range page {
			if !f.matches(s) {
				continue
			}
			if err := l.add(a.connectionOf(s)); err != nil {
				return err
			}
		}
		return l.nextPage()
	})
	return l.end(err)
}

// bySession is the body of requests about one session.
type bySession struct {
	SessionID string `json:"sessionId"`
}

func (a *API) terminateConnection(q *request, body bySession) error {
	q.target = "sessionId=" + abridge(body.SessionID)
	if body.SessionID == "" {
		return badRequest("sessionId is missing")
	}
	return a.deps.Deployment.TerminateSession(q.Context(), body.SessionID)
}
