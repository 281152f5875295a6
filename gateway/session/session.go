package session

import (
	"context"
	"crypto/sha256"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/serial"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Session is one client: its socket and, once the client has sent connection, its streams. All of its state
// belongs to one loop, which runs the session's events one at a time.
type Session struct {
	// set once
	table    *Table
	conn     *socket.Conn
	Peer     // the client end of the socket
	loop     serial.Executor
	messages *admin.MessageLog // nil without a console

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
	other   *hybrid.Client // nil without an upstream
	quotas  *quotas        // nil before the first request that has a limit; see quota
}

// lifetime is the course of a session from its socket to the release of everything that it holds.
type lifetime struct {
	gone       chan struct{} // closed when the session has released everything
	leave      func()        // removes it from the pings
	opening    bool          // its connection command has arrived
	registered bool          // in Redis, as far as this pod knows
	closed     bool
	terminated bool // ends with its socket, without a grace period
	jobs       int  // calls off the loop that will post back
}

// established is the state of a session whose client was let in.
type established struct {
	id            string // "" until it is established
	generation    int    // state.Session.Generation; set with id
	app           *apps.App
	admittedTo    *apps.App // the application that counts it; nil: none
	knowsBitrates bool
	knowsResize   bool
	login         string // of its user; "" if it sent none
}

// quotas limit what one session can request over time. clientLogs is nil before the first line.
type quotas struct {
	quota.Client
	clientLogs *rate.Limiter
}

// quota returns the session's limits, which most sessions never need.
func (s *Session) quota() *quotas {
	if s.quotas == nil {
		s.quotas = &quotas{Client: s.table.Quotas.Client(s.Conn.Key, &s.table.Settings().Limits.Quota)}
	}
	return s.quotas
}

// log starts a line with the fields of this session. A disabled level costs nothing.
func (s *Session) log(level zerolog.Level) *zerolog.Event {
	return s.withFields(s.table.Log.WithLevel(level))
}

// sampled is log for events that clients can cause at any rate.
func (s *Session) sampled() *zerolog.Event { return s.sampledAt(zerolog.InfoLevel) }

func (s *Session) sampledAt(level zerolog.Level) *zerolog.Event {
	return s.withFields(s.table.Sampled.WithLevel(level))
}

func (s *Session) withFields(e *zerolog.Event) *zerolog.Event {
	if !e.Enabled() {
		return e
	}
	e.Str("remote", s.Remote)
	if s.id != "" {
		e.Str("session", s.id).Str("app", s.app.Key)
	}
	return e
}

func (s *Session) onPanic(v any) {
	s.table.Metrics.Panics.Inc()
	s.log(zerolog.ErrorLevel).Interface("panic", v).Bytes("stack", debug.Stack()).Msg("panic recovered in a session")
}

// socketEvents implements socket.Handlers.
type socketEvents struct{ s *Session }

func (e socketEvents) OnMessage(frame []byte)  { e.s.loop.PostWait(func() { e.s.dispatch(frame) }) }
func (e socketEvents) OnClose(r socket.Reason) { e.s.loop.Post(func() { e.s.onClose(r) }) }
func (e socketEvents) OnDrained()              { e.s.loop.Post(e.s.onDrained) }
func (e socketEvents) OnDropped(bytes int)     { e.s.table.Metrics.LostBytes.Add(float64(bytes)) }

func (s *Session) send(frames ...[]byte) {
	for _, f := range frames {
		s.messages.Sent(f)
	}
	s.conn.Send(frames...)
}

// sendState queues a part of a state that other clients changed. The caller has asked HasRoom.
func (s *Session) sendState(frame []byte) {
	s.messages.Sent(frame)
	s.conn.SendState(frame)
}

// onDrained sends the states that changed while the client had no room.
func (s *Session) onDrained() {
	for _, m := range s.rooms.byRoom {
		s.table.Rooms.Drained(m.member)
	}
	s.other.Drained()
	for _, st := range s.streams {
		st.showMutes()
		st.showFormat()
	}
}

// relay queues a message from another client. It is dropped if this client's send queue is more than half
// full.
func (s *Session) relay(frame []byte) bool {
	if s.conn.TrySend(frame) {
		s.messages.Sent(frame)
		return true
	}
	if !s.closed {
		s.dropped(frame)
	}
	return false
}

// dropped counts a message from another client that this client does not get.
func (s *Session) dropped(frame []byte) {
	s.table.Metrics.LostBytes.Add(float64(len(frame)))
	s.sampled().Int("bytes", len(frame)).Msg("slow client: peer message dropped")
}

// reject sends the client the reason and closes the socket: the client would wait after fail alone.
func (s *Session) reject(info string) {
	s.send(wcs.ConnectionFailed(info))
	s.conn.Close(socket.ClosedRefused)
}

// establish starts a new session for the client.
func (s *Session) establish(app *apps.App, c *wcs.Connection, id sessionID) {
	s.id = id.public
	s.register(app, c, id.token)
	s.welcome(app, c, id.token)
	s.log(zerolog.InfoLevel).Msg("session established")
}

// register registers a new session.
func (s *Session) register(app *apps.App, c *wcs.Connection, token string) {
	rec := state.Session{
		ID: s.id, App: app.Key, TokenHash: sha256.Sum256([]byte(token)), CreatedAt: time.Now(), Resumable: s.table.wantsResume(c),
		ClientVersion: clientVersion(c), TellEnd: s.hooks.wants(hooks.ConnectionStatusEvent),
	}
	s.table.Sessions.PutSession(rec)
	if rec.Resumable {
		s.enableResume(rec)
	}
}

// maxVersion is the longest accepted client version. The SDK's have about 20 bytes.
const maxVersion = 64

// clientVersion returns the client's version, "" if it is not valid.
func clientVersion(c *wcs.Connection) string {
	text, err := jsontext.AppendUnquote(nil, c.Sent["clientVersion"])
	if err != nil || len(text) > maxVersion {
		return ""
	}
	return string(text)
}

// welcome sends the client its established session.
func (s *Session) welcome(app *apps.App, c *wcs.Connection, token string) {
	s.app, s.registered = app, true
	s.table.mu.Lock()
	s.table.byID[s.id] = s
	s.table.mu.Unlock()
	s.knowsBitrates, s.knowsResize, s.login = c.KnowsBitrates, c.KnowsResize, c.Login()
	s.table.Metrics.Sessions.WithLabelValues(app.Key).Inc()
	data := wcs.UserData{
		Sent: c.Sent, MediaProviders: commonProviders(c.MediaProviders), AuthToken: token,
		CollectMetrics: app.Rates.UsesClients() && prefersWebRTC(c.MediaProviders),
	}.Frame()
	defer s.other.Established(s.id, token)
	s.send(s.hooks.forClient(data, hooks.Connect), s.table.version, socket.PingFrame) // some raw clients publish only after the first ping (docs/wcs-protocol.md#keep-alive)
}

// sessionID is the public session id, which grants nothing, and the authToken, which resumes the session.
type sessionID struct {
	public, token string
	resumed       bool // of a session that the client resumes
}

func newSessionID(remote string) sessionID {
	return withToken("/" + remote + "/" + translate.RandomHex(16))
}

// withToken returns a session id with a new authToken.
func withToken(id string) sessionID {
	return sessionID{public: id, token: id + "/" + translate.RandomHex(64)}
}

// commonProviders returns the media providers of both sides, in the client's order.
func commonProviders(client []string) []string {
	return slices.DeleteFunc(append([]string{}, client...), func(p string) bool { return p != wcs.ProviderWebRTC })
}

// prefersWebRTC reports whether the client's first provider is WebRTC. Streams of other providers have no
// statistics.
func prefersWebRTC(client []string) bool { return len(client) > 0 && client[0] == wcs.ProviderWebRTC }

// onClose runs once, when the end of the socket is decided.
func (s *Session) onClose(r socket.Reason) {
	s.closed = true
	s.leave()
	s.table.Metrics.Connections.Dec()
	s.table.Metrics.Closed(r)
	s.releaseSlot()
	if s.id == "" {
		s.log(zerolog.DebugLevel).Str("reason", r.Name).Msg("socket closed before it was a session")
		s.hooks.disconnected()
		s.finish()
		return
	}
	s.endOrDetach(r)
}

// endOrDetach ends a session that lost its socket, or detaches it if it asked for keepAlive.
func (s *Session) endOrDetach(r socket.Reason) {
	s.table.Metrics.Sessions.WithLabelValues(s.app.Key).Dec()
	s.endOther()
	s.log(zerolog.InfoLevel).Str("reason", r.Name).Int("streams", len(s.streams)).Bool("detached", s.resume != nil).Msg("session closed")
	if s.resume != nil {
		s.resume.detach(r)
		return
	}
	s.endAll(false)
	if s.registered { // and not taken by another pod
		s.table.Sessions.DropSession(s.id)
		s.hooks.disconnected()
	}
	s.finish()
}

// finish closes gone once everything is released.
func (s *Session) finish() {
	if !s.closed || len(s.streams) > 0 || s.jobs > 0 || s.resume != nil {
		return
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if _, held := s.table.sessions[s]; !held {
		return // finished before
	}
	delete(s.table.sessions, s)
	if s.table.byID[s.id] == s { // not a session that was resumed on this pod
		delete(s.table.byID, s.id)
	}
	close(s.gone)
}

// Close closes the session's socket. A session with keepAlive lives on for its grace period.
func (s *Session) Close(r socket.Reason) { s.conn.Close(r) }

// ShortenGrace ends the grace period of a detached session after Config.Handover, because the pod shuts down.
func (s *Session) ShortenGrace() { s.loop.Post(func() { s.resume.shortenGrace() }) }

// HasStreams reports whether the session publishes or plays.
func (s *Session) HasStreams() bool { return s.streaming.Load() > 0 }

// Done is closed when the session has released everything that it held.
func (s *Session) Done() <-chan struct{} { return s.gone }

// async runs work beside the session's loop and then, on the loop, then with the result of work. After a
// panic in work, then gets errPanic. The session is not gone before then has run.
func async[T any](s *Session, work func() (T, error), then func(T, error)) {
	s.jobs++
	go func() {
		var got T
		err := errPanic // unless work returns
		defer s.loop.Post(func() {
			s.jobs--
			then(got, err)
			s.finish()
		})
		defer func() {
			if v := recover(); v != nil {
				s.onPanic(v)
			}
		}()
		got, err = work()
	}()
}

// asyncErr is async for work without a result.
func asyncErr(s *Session, work func() error, then func(error)) {
	async(s, func() (struct{}, error) { return struct{}{}, work() }, func(_ struct{}, err error) { then(err) })
}

// offLoop is async for work that cannot fail.
func (s *Session) offLoop(work, then func()) {
	asyncErr(s, func() error { work(); return nil }, func(error) { then() })
}

// callOn runs f on the session's loop and returns its result. After an error f did not run and will not run,
// except for errLoopPanic: f is either called in time or dropped, so that the caller's answer is never
// contradicted later.
func callOn[T any](ctx context.Context, s *Session, f func() T) (got T, err error) {
	var taken atomic.Bool // by the loop, which then runs f, or by the caller, which then returns
	done := make(chan T, 1)
	s.loop.Post(func() {
		if taken.CompareAndSwap(false, true) {
			defer close(done) // after a panic without a result
			done <- f()
		}
	})
	var returned bool
	select {
	case got, returned = <-done:
	case <-ctx.Done():
		if taken.CompareAndSwap(false, true) {
			return got, ctx.Err()
		}
		got, returned = <-done // f is running: it does not wait for anything
	}
	if !returned {
		err = errLoopPanic
	}
	return got, err
}

// Peer is the client end of a socket.
type Peer struct {
	Remote    string // address and port; the port is 0 if only a proxy knows it
	Origin    string // of the page; empty for clients that are not browsers
	OwnOrigin bool   // Origin is this server's address, as libraries that are not browsers send it: no page
	Conn      *socket.MeteredConn
	Hybrid    *hybrid.Origin // for upstreams of its session; nil: it gets none
}
