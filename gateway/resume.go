package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// A client that comes back with its authToken within the grace period, to any pod, finds its session and its streams again. Who
// has swapped the session's registration in Redis has the session: the pod that had it lets go when it is told, or when it finds
// out as it wants to end it or write a record; if it is dead, its lease does not matter. Then the streams' records are adopted one by
// one. What nobody has adopted after a while falls back to the pod that had it (lookAgain).
//
// Each taking begins a generation of the session (state.Session.Generation). Where a pod that does not know yet that it has lost a session registers
// it and its streams once more, as all do when Redis has come back empty, the later generation has them.
//
// The identity of an adopted participant still names the pod that made it, so LiveKit's webhooks about it go there and to nobody: its
// end is found by polling (gateway/reconcile).

// Results of resumes, for the metric.
const (
	resumeOK          = "ok"
	resumeRefused     = "refused" // unknown, over, wrong token or of another application
	resumeUnavailable = "unavailable"
)

var errNotResumable = errors.New("no session to resume: it is over, was never kept, or the token is not its own")

// maxSessionID bounds what is looked for in Redis; the longest real one is an IPv6 address, a port and 16 digits.
const maxSessionID = 128

// sessionOfToken gives the session id that an authToken is for.
func sessionOfToken(token string) (id string, ok bool) {
	at := strings.LastIndexByte(token, '/')
	if at <= 0 || at > maxSessionID {
		return "", false
	}
	return token[:at], true
}

// connect opens the client's session, once the application's backend agrees: the one that it has come back for, or a new one.
func (s *session) connect(app *App, c wcs.Connection) {
	fresh := newSessionID(s.remote)
	if c.AuthToken == "" {
		s.authorizeConnect(app, c, fresh)
		return
	}
	async(s, func() (sessionID, error) { return s.g.findKept(app, c.AuthToken) }, func(old sessionID, err error) {
		if err != nil {
			s.notResumed(err)
			old = fresh
		}
		if !s.closed {
			s.authorizeConnect(app, c, old)
		}
	})
}

// enter lets the client in.
func (s *session) enter(app *App, c wcs.Connection, id sessionID) {
	if id.resumed {
		s.resume(app, c, id)
		return
	}
	s.establish(app, c, id)
	s.hooks.established(id)
}

// resume gives the client its session back, or a new one if that has ended meanwhile.
func (s *session) resume(app *App, c wcs.Connection, id sessionID) {
	unlock := func() {}
	tell := s.hooks.wants(hooks.ConnectionStatusEvent)
	async(s, func() (resumed, error) {
		ctx, cancel := context.WithTimeout(s.g.ctx, takeLimit)
		defer cancel()
		got, err := s.g.take(ctx, app, c, id, tell)
		if err == nil {
			unlock = s.g.moving.lock(ctx, id.public)
			s.g.takeStreams(ctx, &got)
		}
		return got, err
	}, func(got resumed, err error) {
		defer unlock()
		if err == nil {
			s.g.metrics.resumes.WithLabelValues(resumeOK).Inc()
			s.takeUp(app, c, id, got)
			return
		}
		s.notResumed(err)
		if !s.closed {
			s.enter(app, c, newSessionID(s.remote))
		}
	})
}

func (s *session) notResumed(err error) {
	result := resumeUnavailable
	if errors.Is(err, errNotResumable) {
		result = resumeRefused
	}
	s.g.metrics.resumes.WithLabelValues(result).Inc()
	s.noisy().Err(err).Msg("session is not resumed, the client gets a new one")
}

// resumed is a kept session that this pod has taken.
type resumed struct {
	was     state.Session // as the pod before had it
	record  state.Session
	streams []adopted
	rooms   []state.SessionRoom
}

// adopted is a stream of it, with its record and what went wrong.
type adopted struct {
	state.SessionStream
	record state.Stream
	err    error
}

// findKept tells whether there is a session that the token resumes, and gives its id with a new token.
func (g *Gateway) findKept(app *App, token string) (sessionID, error) {
	id, ok := sessionOfToken(token)
	if !ok {
		return sessionID{}, errNotResumable
	}
	ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
	defer cancel()
	kept, err := g.deps.Resumption.FindSession(ctx, id)
	switch {
	case errors.Is(err, state.ErrNotFound), err == nil && !resumes(kept, app, token):
		return sessionID{}, errNotResumable
	case err != nil:
		return sessionID{}, err
	}
	old := withToken(id)
	old.resumed = true
	return old, nil
}

// resumes tells whether a token is that of a kept session of the application.
func resumes(kept state.Session, app *App, token string) bool {
	hash := sha256.Sum256([]byte(token))
	return kept.Resumable && kept.App == app.Key && subtle.ConstantTimeCompare(kept.TokenHash[:], hash[:]) == 1
}

// takeLimit is for how long a pod may be at it to take a session and what it has.
const takeLimit = 30 * time.Second

// take makes the session of an authToken this pod's, under its new token, but not its streams yet.
func (g *Gateway) take(ctx context.Context, app *App, c wcs.Connection, id sessionID, tellEnd bool) (got resumed, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	got.was, err = g.deps.Resumption.TakeSession(ctx, id.public, func(was state.Session) (state.Session, error) {
		if !resumes(was, app, c.AuthToken) {
			return was, errNotResumable
		}
		got.record = was
		got.record.TokenHash, got.record.Resumable = sha256.Sum256([]byte(id.token)), g.keeps(c)
		got.record.Generation++
		got.record.TellEnd = tellEnd
		if !got.record.Resumable {
			got.record.Streams = nil
		}
		return got.record, nil
	})
	if errors.Is(err, state.ErrNotFound) {
		err = errNotResumable
	}
	return got, err
}

// takeStreams makes the streams of a session that this pod has taken its own, too.
func (g *Gateway) takeStreams(ctx context.Context, got *resumed) {
	had := g.askToLetGo(ctx, got.was)
	got.rooms = had.Rooms
	for _, k := range had.Streams {
		a := adopted{SessionStream: k}
		if k.Status == "" {
			a.record, a.err = g.adopt(ctx, k, got.record, got.was.Owner)
		}
		got.streams = append(got.streams, a)
	}
}

// handOverWait bounds the wait for the pod that had the session; it is some milliseconds, or the pod is dead.
const handOverWait = time.Second

// askToLetGo tells the pod that had the session that it has it no more, waits until it knows, and returns what that pod had of the session.
// Without an answer it is what the session's record says.
func (g *Gateway) askToLetGo(ctx context.Context, was state.Session) handover {
	r, recorded := resumption{Was: was.TokenHash}, handover{Streams: was.Streams, Rooms: was.Rooms}
	if now, ok := g.reclaim(ctx, was.ID, r); was.Owner.Pod == g.cfg.Pod {
		if ok {
			return now
		}
		return recorded
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWait)
	defer cancel()
	var now handover
	body, err := json.Marshal(r)
	if err == nil {
		var answer string
		answer, err = g.bus.Request(ctx, was.Owner.Pod, state.Event{Kind: state.EventResumed, Name: was.ID, Body: body})
		if err == nil && answer != "" {
			err = json.Unmarshal([]byte(answer), &now)
		}
		if err == nil && answer != "" {
			return now
		}
	}
	g.log.Info().Err(err).Str("pod", was.Owner.Pod).Msg("the pod that had a session does not have it any more, or does not answer: its streams are looked for")
	return recorded
}

// adopt makes a stream of the session this pod's.
func (g *Gateway) adopt(ctx context.Context, k state.SessionStream, sess state.Session, from state.Owner) (rec state.Stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	if !k.Published {
		return g.deps.Resumption.AdoptPlayer(ctx, state.Player{
			MediaID: k.MediaID, Stream: k.Name, App: sess.App, Session: sess.ID, Room: k.Room, Identity: k.Identity,
			CreatedAt: k.CreatedAt, Native: k.Native, Playing: true, Tracks: k.Tracks, Generation: sess.Generation,
		}, from)
	}
	rec, err = g.deps.Store.FindStream(ctx, k.Name)
	if errors.Is(err, state.ErrNotFound) || err == nil && rec.Identity != k.Identity {
		rec, err = recordOf(k, sess), nil // it will be refused, and what an earlier attempt has left is cleaned up
	}
	if err == nil {
		rec.Generation = sess.Generation
		err = g.deps.Resumption.AdoptStream(ctx, rec, from)
	}
	return rec, err
}

// recordOf is a published stream's record as far as its session's tells.
func recordOf(k state.SessionStream, sess state.Session) state.Stream {
	return state.Stream{
		Name: k.Name, MediaID: k.MediaID, App: sess.App, Session: sess.ID, Room: k.Room, Identity: k.Identity, Phase: state.PhasePublishing,
		Tracks: k.Tracks, AudioMuted: k.AudioMuted, VideoMuted: k.VideoMuted, CreatedAt: k.CreatedAt,
	}
}

// takeUp goes on with a session that was taken. The client may be gone again by now: then it is parked here.
func (s *session) takeUp(app *App, c wcs.Connection, id sessionID, got resumed) {
	s.id, s.generation = id.public, got.record.Generation
	if got.record.Resumable {
		s.keepAs(got.record)
	}
	s.welcome(app, c, id.token)
	s.hooks.established(id)
	for _, a := range got.streams {
		s.takeUpStream(a, got.record)
	}
	s.rooms.resume(got.record, got.was.Owner, got.rooms)
	s.remember()
	s.log(zerolog.InfoLevel).Int("streams", len(s.streams)).Msg("session resumed")
	if s.closed {
		s.leaveBehind(socket.ClosedLost)
	}
}

// takeUpStream goes on with a stream of the session and tells the client how it stands.
func (s *session) takeUpStream(a adopted, sess state.Session) {
	if errors.Is(a.err, state.ErrNotFound) || errors.Is(a.err, state.ErrLostOwnership) {
		a.Status, a.Info = string(wcs.StatusFailed), wcs.InfoStoppedBySessionDisconnect
	}
	st := s.revive(a.SessionStream)
	if a.Status != "" {
		st.tellStatus(wcs.Status(a.Status), a.Info)
		s.keepEnd(a.SessionStream)
		return
	}
	s.addStream(st)
	s.g.streams.add(st)
	if a.err != nil {
		from := sess.Owner
		st.adopt = func(ctx context.Context) error { // it may be ours or not: to be released it must be
			_, err := s.g.adopt(ctx, a.SessionStream, sess, from)
			return err
		}
		st.fail(a.err)
		return
	}
	s.g.poller.Add(st.room, st)
	st.startKeepAliveHook()
	st.startRates()
	if st.published {
		st.egresses.Watch()
		st.mutes = mutesOf(a.record)
		st.tellStatus(wcs.StatusPublishing, "")
		st.writer.save(nil) // which tells the players' pods where it is
		return
	}
	if !st.publisher.Native() && a.record.Identity != string(st.publisher) {
		st.publisherGone(st.publisher, notifyTiming{})
		return
	}
	st.mutes = mutesOf(a.record)
	st.tellStatus(wcs.StatusPlaying, "") // the backend knows
	st.tellFormat()
	st.publisherChanged(a.record.Owner.Pod, a.record, nil)
}

// keeps tells whether the session of a client outlives its socket.
func (g *Gateway) keeps(c wcs.Connection) bool { return bool(c.KeepAlive) && g.cfg.KeepAliveGrace > 0 }
