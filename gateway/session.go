package gateway

import (
	"crypto/sha256"
	"encoding/json"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/serial"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// session is one client: its socket and, once the client has sent connection, its streams. All of its state belongs to
// one loop, which runs the session's events one at a time.
type session struct {
	// set once
	g      *Gateway
	conn   *socket.Conn
	peer   // who opened the socket
	loop   serial.Executor
	recent *recent // nil where nobody can look at it

	// any goroutine
	streaming atomic.Int32 // streams it has

	// loop
	lifetime
	established
	resume  *resumeState       // nil unless it asked for keepAlive
	hooks   *sessionHooks      // nil without a backend
	streams map[string]*stream // by media id
	rooms   memberships
	lookups lookups
	quotas  quotas
}

// lifetime is the course of a session from its socket to the release of everything that it holds.
type lifetime struct {
	gone       chan struct{} // closed when the session has let go of everything
	leave      func()        // its place among the pings
	opening    bool          // its connection command has come
	registered bool          // in Redis, as far as this pod knows
	closed     bool
	terminated bool // ends with its socket, without a grace period
	jobs       int  // calls off the loop that will post back, other than the streams'
}

// established is what a session knows of its client once it is let in.
type established struct {
	id            string // "" until it is established
	generation    int    // state.Session.Generation; set with id
	app           *App
	place         *App // in which it takes up a place; nil: in none
	knowsBitrates bool
	login         string // of its user; "" unless it has said one
}

// quotas limit what one session can request over time. A limiter is nil before the first request.
type quotas struct{ snapshots, clientLogs *rate.Limiter }

// open starts a session on an upgraded socket.
func (g *Gateway) open(ws *websocket.Conn, p peer) {
	s := &session{g: g, peer: p, recent: newRecent(g.cfg.Recent)}
	s.gone = make(chan struct{})
	s.loop.Recovered = s.onPanic
	s.rooms.s = s
	s.conn = socket.New(ws, &g.cfg.Conn, p.metered, socket.Handlers{
		OnMessage: s.receive,
		OnClose:   func(r socket.Reason) { s.loop.Post(func() { s.onClose(r) }) },
		OnDropped: func(bytes int) { g.metrics.lostBytes.Add(float64(bytes)) },
	})
	s.leave = g.pings.Add(s.conn)
	g.mu.Lock()
	g.sessions[s] = struct{}{}
	g.mu.Unlock()
	g.metrics.connections.Inc()
	if g.refusing.Load() { // shutting down began meanwhile and may not have seen this session
		s.conn.Close(socket.ClosedShutdown)
	}
	go s.conn.Serve()
}

// log begins a line with the fields that every one about this session has. A level that is off costs nothing.
func (s *session) log(level zerolog.Level) *zerolog.Event {
	return s.about(s.g.log.WithLevel(level))
}

// noisy is log for what clients can cause as often as they like.
func (s *session) noisy() *zerolog.Event { return s.noisyAt(zerolog.InfoLevel) }

func (s *session) noisyAt(level zerolog.Level) *zerolog.Event {
	return s.about(s.g.noisy.WithLevel(level))
}

func (s *session) about(e *zerolog.Event) *zerolog.Event {
	if !e.Enabled() {
		return e
	}
	e.Str("remote", s.remote)
	if s.id != "" {
		e.Str("session", s.id).Str("app", s.app.Key)
	}
	return e
}

func (s *session) onPanic(v any) {
	s.g.metrics.panics.Inc()
	s.log(zerolog.ErrorLevel).Interface("panic", v).Bytes("stack", debug.Stack()).Msg("panic in a session; it goes on")
}

// receive runs on the reader.
func (s *session) receive(frame []byte) {
	s.loop.PostWait(func() { s.dispatch(frame) })
}

func (s *session) send(frame []byte) {
	s.recent.sent(frame)
	s.conn.Send(frame)
}

// relay sends what another client says, unless this one has too much to read already.
func (s *session) relay(frame []byte) {
	if s.conn.TrySend(frame) {
		s.recent.sent(frame)
		return
	}
	if !s.closed {
		s.g.metrics.lostBytes.Add(float64(len(frame)))
		s.noisy().Int("bytes", len(frame)).Msg("client reads too slowly: what another one says is left out")
	}
}

// refuse tells the client why and closes the socket: fail alone would leave it waiting (protocol.md §1.5).
func (s *session) refuse(info string) {
	s.send(wcs.ConnectionFailed(info))
	s.conn.Close(socket.ClosedRefused)
}

// establish accepts the client with a new session.
func (s *session) establish(app *App, c wcs.Connection, id sessionID) {
	s.id = id.public
	rec := state.Session{
		ID: s.id, App: app.Key, TokenHash: sha256.Sum256([]byte(id.token)), CreatedAt: time.Now(), Resumable: s.g.wantsResume(c),
		ClientVersion: clientVersion(c), TellEnd: s.hooks.wants(hooks.ConnectionStatusEvent),
	}
	s.g.deps.Sessions.PutSession(rec)
	if rec.Resumable {
		s.enableResume(rec)
	}
	s.welcome(app, c, id.token)
	s.log(zerolog.InfoLevel).Msg("session established")
}

// maxVersion bounds what a client can call its version; the SDK's are some 20 bytes.
const maxVersion = 64

// clientVersion is what the client calls its version, "" if that is no version.
func clientVersion(c wcs.Connection) (version string) {
	if json.Unmarshal(c.Sent["clientVersion"], &version) != nil || len(version) > maxVersion {
		return ""
	}
	return version
}

// welcome tells the client that its session stands.
func (s *session) welcome(app *App, c wcs.Connection, token string) {
	s.app, s.registered = app, true
	s.g.named(s)
	s.knowsBitrates, s.login = c.KnowsBitrates, c.Login()
	s.g.metrics.sessions.Inc()
	s.sendAs(wcs.UserData{
		Sent: c.Sent, MediaProviders: commonProviders(c.MediaProviders), AuthToken: token,
		CollectMetrics: app.Rates.asksClients() && prefersWebRTC(c.MediaProviders),
	}.Frame(), hooks.Connect)
	s.send(s.g.version)
	s.send(socket.PingFrame) // some raw clients publish only after the first (protocol.md §1.4)
}

// sessionID is the public session id, which grants nothing, and the authToken, which does (design.md §2).
type sessionID struct {
	public, token string
	resumed       bool // it is that of a session that the client has come back for
}

func newSessionID(remote string) sessionID {
	return withToken("/" + remote + "/" + translate.RandomHex(16))
}

// withToken makes an authToken for a session id.
func withToken(id string) sessionID {
	return sessionID{public: id, token: id + "/" + translate.RandomHex(64)}
}

// commonProviders is what both sides have, in the client's order.
func commonProviders(client []string) []string {
	common := []string{}
	for _, p := range client {
		if p == wcs.ProviderWebRTC {
			common = append(common, p)
		}
	}
	return common
}

// prefersWebRTC: another first provider is what the client uses, and its streams have no statistics (protocol.md §6.1).
func prefersWebRTC(client []string) bool { return len(client) > 0 && client[0] == wcs.ProviderWebRTC }

// onClose runs once, when the socket's end is decided.
func (s *session) onClose(r socket.Reason) {
	s.closed = true
	s.leave()
	s.g.metrics.connections.Dec()
	s.g.metrics.closes.WithLabelValues(r.Name).Inc()
	s.g.metrics.refusedClose(r)
	s.givePlace()
	if s.id == "" {
		s.log(zerolog.DebugLevel).Str("reason", r.Name).Msg("socket closed before it was a session")
		s.hooks.disconnected()
		s.finish()
		return
	}
	s.endOrDetach(r)
}

// endOrDetach ends a session that lost its socket, or detaches it if it asked for keepAlive.
func (s *session) endOrDetach(r socket.Reason) {
	s.g.metrics.sessions.Dec()
	s.log(zerolog.InfoLevel).Str("reason", r.Name).Int("streams", len(s.streams)).Bool("detached", s.resume != nil).Msg("session closed")
	if s.resume != nil {
		s.resume.detach(r)
		return
	}
	s.rooms.leaveAll()
	for _, st := range s.streams {
		st.disconnect()
	}
	if s.registered { // and not taken by another pod
		s.g.deps.Sessions.DropSession(s.id)
		s.hooks.disconnected()
	}
	s.finish()
}

// finish notes that everything is released, if it is so.
func (s *session) finish() {
	if !s.closed || len(s.streams) > 0 || s.jobs > 0 || s.resume != nil {
		return
	}
	select {
	case <-s.gone: // was noted before
		return
	default:
	}
	s.g.mu.Lock()
	delete(s.g.sessions, s)
	s.g.unnamed(s)
	s.g.mu.Unlock()
	close(s.gone)
}

// offLoop runs f beside the loop and done on it. The session is not gone before done has run.
func (s *session) offLoop(f func(), done func()) {
	s.jobs++
	go func() {
		defer s.loop.Post(func() {
			s.jobs--
			done()
			s.finish()
		})
		defer func() {
			if v := recover(); v != nil {
				s.onPanic(v)
			}
		}()
		f()
	}()
}
