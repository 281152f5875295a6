package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"regexp"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/hybrid"
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
	chosen := g.choose(first, upstream.Client{Address: h.Client, Party: p.Conn.Key}, p)
	client, to, app := chosen.client, chosen.to, chosen.client.App
	if to != nil && chosen.first != nil {
		sent = upstream.Replace(sent, first, chosen.first)
	}
	if to == nil {
		if app != "" {
			g.metrics.routed.WithLabelValues(app, sideHere).Inc()
		}
		g.table.Open(ws, p, first)
		return
	}
	p.Conn.Established()
	err := g.links.Open(upstream.Request{Client: p.Conn, Remote: p.Remote, App: app, Version: client.Version(), To: to, Handshake: h, Sent: sent, Transcripts: chosen.transcripts})
	if err != nil {
		g.env.Sampled.Warn().Err(err).Str("remote", p.Remote).Str("app", app).Str("upstream", to.Name()).Msg("session not spliced")
		g.metrics.Closed(socket.ClosedUpstream)
		socket.Reject(ws, &g.cfg.Conn, wcs.ConnectionFailed(upstream.Info(err)), socket.ClosedUpstream)
		return
	}
	g.metrics.routed.WithLabelValues(app, to.Name()).Inc()
}

// choice is what serves a client.
type choice struct {
	client upstream.Client  // with what its first message says. App is "" if the application has no route
	to     *upstream.Server // nil: this gateway
	first  []byte           // the first message that the server gets; nil: the client's own

	transcripts int // upstream.Request.Transcripts
}

// choose decides on a client by its first message. Whatever this gateway would reject is left to it.
func (g router) choose(first []byte, c upstream.Client, p session.Peer) (chosen choice) {
	settings := g.table.Settings()
	if depth := settings.Limits.JSONDepth; depth > 0 && wcs.Deeper(first, depth) {
		return chosen
	}
	cmd, err := wcs.Decode(first)
	if err != nil || cmd.Bind(&c.Connection) != nil {
		return chosen
	}
	chosen.client = c
	switch cmd.Name {
	case wcs.CmdMediaTransport:
		chosen.to = settings.MediaSockets
		if id, ok := ownID(c.Connection.AuthToken); ok && settings.Hybrid {
			return g.mediaOf(id, chosen, p)
		}
	case wcs.CmdConnection:
		a := settings.Apps[cmp.Or(c.Connection.AppKey, session.DefaultAppKey)]
		if a == nil || !a.Route.Upstream() || !p.OwnOrigin && !a.Origins.Allows(p.Origin) {
			return chosen
		}
		chosen.client.App = a.Key
		chosen.to, chosen.transcripts = a.Route.For(chosen.client), a.Route.Transcripts
	}
	if chosen.to != nil && g.isOurs(c.Connection.AuthToken) {
		chosen.to = nil
	}
	return chosen
}

// mediaOf returns the server of a media socket with a token that can be this deployment's: the upstream of
// the token's session, which gets its own token instead. Without such a session it returns other. It waits as
// long as for a first message, because some clients open the socket before the play that opens the session's
// link to the upstream.
func (g router) mediaOf(id string, other choice, p session.Peer) choice {
	ctx, cancel := context.WithTimeout(g.env.Context, g.cfg.Conn.HelloTimeout)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		kept, err := g.env.Sessions.FindSessionOf(ctx, id, sha256.Sum256([]byte(other.client.Connection.AuthToken)))
		switch {
		case err == nil && kept.Upstream != nil:
			return g.mediaAt(kept, other.client, p)
		case err != nil && !errors.Is(err, state.ErrNotFound):
			return choice{} // this gateway closes it
		case state.Sleep(ctx, pause):
		case err != nil:
			return other
		default:
			return choice{}
		}
	}
}

// mediaAt is mediaOf for the session of the token.
func (g router) mediaAt(kept state.Session, c upstream.Client, p session.Peer) choice {
	settings := g.table.Settings()
	to := settings.UpstreamOf(kept.Upstream.Name)
	theirs, err := hybrid.OpenToken(kept.Upstream, c.Connection.AuthToken)
	if a := settings.Apps[kept.App]; to == nil || err != nil || a != nil && !p.OwnOrigin && !a.Origins.Allows(p.Origin) {
		return choice{}
	}
	c.App = kept.App
	return choice{client: c, to: to, first: c.Connection.WithToken(theirs)}
}

// tokenPattern is the form of this gateway's tokens.
var tokenPattern = regexp.MustCompile(`^/.+/[0-9a-f]{64}$`)

// ownID returns the session in a token of the form of this gateway's.
func ownID(token string) (id string, ok bool) {
	id, ok = session.IDOfToken(token)
	return id, ok && tokenPattern.MatchString(token)
}

// isOurs reports whether a token resumes a session of this deployment, which stays where it is, whatever the
// route says now. While Redis does not answer, every token of that form does: another server must not see it.
func (g router) isOurs(token string) bool {
	id, ok := ownID(token)
	if !ok {
		return false
	}
	_, err := g.env.Sessions.FindSessionOf(g.env.Context, id, sha256.Sum256([]byte(token)))
	return !errors.Is(err, state.ErrNotFound)
}
