package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"regexp"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/session"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// rejectLoop is the rejection of a request that this deployment has sent to an upstream.
const rejectLoop socket.Rejection = "loop" // 508

// sideHere is the label of clients that this gateway serves.
const sideHere = "here"

// router passes new sockets to what serves their clients.
type router struct{ *Gateway }

// serve reads a client's first message and splices the client to an upstream or makes a session of it. A
// running session or link is not affected by later changes of the routes.
func (g router) serve(ws *websocket.Conn, p session.Peer, h upstream.Handshake) {
	defer g.env.Recovered()
	first, sent, fault := socket.First(ws, &g.cfg.Conn, p.Conn)
	if fault != nil {
		g.metrics.Closed(*fault)
		return
	}
	client, to := g.choose(first, upstream.Client{Address: h.Client, Party: p.Party}, p)
	app := client.App
	if to == nil {
		if app != "" {
			g.metrics.routed.WithLabelValues(app, sideHere).Inc()
		}
		g.table.Open(ws, p, first)
		return
	}
	p.Conn.Established()
	err := g.links.Open(upstream.Request{Client: p.Conn, Remote: p.Remote, App: app, Version: client.Version(), To: to, Handshake: h, Sent: sent})
	if err != nil {
		g.env.Sampled.Warn().Err(err).Str("remote", p.Remote).Str("app", app).Str("upstream", to.Name()).Msg("session not spliced")
		g.metrics.Closed(socket.ClosedUpstream)
		socket.Reject(ws, &g.cfg.Conn, wcs.ConnectionFailed(upstream.Info(err)), socket.ClosedUpstream)
		return
	}
	g.metrics.routed.WithLabelValues(app, to.Name()).Inc()
}

// choose returns the server of a client by its first message, nil for this gateway, and the client with what
// its message says. Client.App is "" if the application has no route. Whatever this gateway would reject is
// left to it.
func (g router) choose(first []byte, c upstream.Client, p session.Peer) (_ upstream.Client, to *upstream.Server) {
	settings := g.table.Settings()
	if depth := settings.Limits.JSONDepth; depth > 0 && wcs.Deeper(first, depth) {
		return c, nil
	}
	cmd, err := wcs.Decode(first)
	if err != nil || cmd.Bind(&c.Connection) != nil {
		return c, nil
	}
	switch cmd.Name {
	case wcs.CmdMediaTransport:
		to = settings.MediaSockets
	case wcs.CmdConnection:
		a := settings.Apps[cmp.Or(c.Connection.AppKey, session.DefaultAppKey)]
		if a == nil || !a.Route.Upstream() || !p.OwnOrigin && !a.Origins.Allows(p.Origin) {
			return c, nil
		}
		c.App = a.Key
		to = a.Route.For(c)
	}
	if to != nil && g.isOurs(c.Connection.AuthToken) {
		to = nil
	}
	return c, to
}

// tokenPattern is the form of this gateway's tokens.
var tokenPattern = regexp.MustCompile(`^/.+/[0-9a-f]{64}$`)

// isOurs reports whether a token resumes a session of this deployment, which stays where it is, whatever the
// route says now. While Redis does not answer, every token of that form does: another server must not see it.
func (g router) isOurs(token string) bool {
	id, ok := session.IDOfToken(token)
	if !ok || !tokenPattern.MatchString(token) {
		return false
	}
	ctx, cancel := context.WithTimeout(g.env.Context, g.cfg.Media.StoreTimeout)
	defer cancel()
	_, err := g.env.Resumption.FindSessionOf(ctx, id, sha256.Sum256([]byte(token)))
	return !errors.Is(err, state.ErrNotFound)
}
