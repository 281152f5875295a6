package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/apps"
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
	media := chosen.media
	if media && len(sent) > maxMediaHello {
		g.metrics.Closed(*socket.Refuse(ws, socket.ClosedTooBig))
		return
	}
	if media && chosen.client.Connection.AuthToken != "" {
		sent, fault = socket.Meanwhile(g.env.Context, ws, p.Conn, sent, func(ctx context.Context) { chosen = g.mediaOf(ctx, chosen, p) })
		if fault != nil {
			g.metrics.Closed(*fault)
			return
		}
	}
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
	err := g.links.Open(upstream.Request{Client: p.Conn, Remote: p.Remote, App: app, Version: client.Version(), To: to, Handshake: h, Sent: sent, Session: !media, Transcripts: chosen.transcripts})
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

	media bool // it is a media socket
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
		chosen.media, chosen.to = true, settings.MediaSockets
	case wcs.CmdConnection:
		a := settings.Apps[cmp.Or(c.Connection.AppKey, session.DefaultAppKey)]
		if a == nil || !a.Route.Upstream() || !p.OwnOrigin && !a.Origins.Allows(p.Origin) {
			return chosen
		}
		chosen.client.App = a.Key
		chosen.to, chosen.transcripts = a.Route.For(chosen.client), a.Route.Transcripts
		return g.resumed(chosen, settings)
	}
	return chosen
}

// resumed is the choice for a client that can have a token. Its session stays where it is, whatever the route
// says now. Another server must not see the token: then the client begins a session.
func (g router) resumed(chosen choice, settings *apps.Settings) choice {
	c := chosen.client
	if chosen.to != nil && g.isOurs(c.Connection.AuthToken) {
		chosen.to = nil
		return chosen
	}
	issued, err := g.links.IssuedBy(g.env.Context, c.Connection.AuthToken)
	if err != nil {
		return chosen // the route decides, also while Redis does not answer
	}
	switch to := serverAt(settings, issued.Upstream, issued.Server); {
	case to != nil && issued.App == c.App:
		chosen.to = to
	case to != chosen.to || to == nil:
		chosen.first = c.Connection.WithoutToken()
	}
	return chosen
}

// serverAt returns an upstream, nil if it is not configured any more, or has another address.
func serverAt(settings *apps.Settings, name, fingerprint string) *upstream.Server {
	if to := settings.Upstreams[name]; to != nil && to.Fingerprint() == fingerprint {
		return to
	}
	return nil
}

// Bounds of media sockets.
const (
	maxMediaHello = 16 << 10               // bytes up to the first message, which has a token and little more
	maxMediaWaits = 8                      // sockets of a session that wait: as many as its client starts players at a time
	lateSession   = 500 * time.Millisecond // in which the registration of a session, or of its token, reaches Redis
)

// mediaWaits counts the media sockets that wait for their session's upstream.
type mediaWaits struct {
	mu sync.Mutex
	of map[string]int // by session
}

// enter counts a socket of a session, unless too many wait. leave undoes it.
func (w *mediaWaits) enter(session string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[session] >= maxMediaWaits {
		return false
	}
	if w.of == nil {
		w.of = make(map[string]int)
	}
	w.of[session]++
	return true
}

func (w *mediaWaits) leave(session string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[session]--; w.of[session] == 0 {
		delete(w.of, session)
	}
}

// mediaOf returns the server of a media socket with a token: the one that issued it to a spliced session, or
// the upstream of this deployment's session that has the token. It returns other for any other token. A
// record that is late is waited for.
func (g router) mediaOf(ctx context.Context, other choice, p session.Peer) choice {
	c, late := other.client, min(lateSession, g.cfg.Conn.HelloTimeout/2)
	id, own := ownID(c.Connection.AuthToken)
	if own {
		if chosen, known := g.mediaOfSession(ctx, id, late, c, p); known {
			return chosen
		}
	}
	issued, err := g.links.IssuedBy(ctx, c.Connection.AuthToken)
	if errors.Is(err, state.ErrNotFound) && !own {
		if !state.Sleep(ctx, late) {
			return choice{}
		}
		issued, err = g.links.IssuedBy(ctx, c.Connection.AuthToken)
	}
	if err != nil {
		return other
	}
	return g.mediaAt(issued.App, issued.Upstream, issued.Server, c, p)
}

// mediaOfSession is mediaOf for a token that can be this deployment's. The upstream gets its own token
// instead. known is false if no session has the token. Some clients open the socket before the play that
// opens the session's link to the upstream: then it waits until ctx is done.
func (g router) mediaOfSession(ctx context.Context, id string, late time.Duration, c upstream.Client, p session.Peer) (chosen choice, known bool) {
	hash := sha256.Sum256([]byte(c.Connection.AuthToken))
	began, found := time.Now(), false
	for pause := 75 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		kept, err := g.deps.Tokens.FindUpstream(ctx, id, hash)
		switch {
		case err == nil && kept.Upstream != nil:
			theirs, err := hybrid.OpenToken(kept.Upstream, c.Connection.AuthToken)
			chosen := g.mediaAt(kept.App, kept.Upstream.Name, kept.Upstream.Server, c, p)
			if err != nil || chosen.to == nil {
				return choice{}, true
			}
			chosen.first = c.Connection.WithToken(theirs)
			return chosen, true
		case err == nil && !found:
			if found = g.waits.enter(id); !found {
				g.metrics.Rejected(socket.RejectPending)
				return choice{}, true // this gateway closes it
			}
			defer g.waits.leave(id)
		case errors.Is(err, state.ErrNotFound) && found:
			return choice{}, true // the session has ended; its token is for no other server
		case errors.Is(err, state.ErrNotFound) && time.Since(began) > late:
			return choice{}, false
		case err != nil && !errors.Is(err, state.ErrNotFound):
			return choice{}, true
		}
		if !state.Sleep(ctx, pause) {
			return choice{}, true
		}
	}
}

// mediaAt is the choice for a media socket of an application's session. The upstream is the one that issued
// the token, whether new sessions use it or not.
func (g router) mediaAt(app, name, fingerprint string, c upstream.Client, p session.Peer) choice {
	settings := g.table.Settings()
	to := serverAt(settings, name, fingerprint)
	if a := settings.Apps[app]; to == nil || a != nil && !p.OwnOrigin && !a.Origins.Allows(p.Origin) {
		return choice{} // this gateway closes it
	}
	c.App = app
	return choice{client: c, to: to}
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
