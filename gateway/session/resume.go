package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// A client that reconnects with its authToken within the grace period, to any pod, gets its session and its
// streams back. The pod that replaces the session's registration in Redis owns the session. The previous
// owner yields it when it is notified, or when it finds out while it ends the session or writes a record; if
// it is dead, its lease does not matter. Then the streams' records are adopted one by one. A stream that no
// pod adopts in time falls back to its previous owner (reapUnadopted).
//
// Each take-over raises the session's generation (state.Session.Generation). If Redis comes back empty and a
// pod that does not know of the take-over registers the session and its streams again, the higher generation
// wins.
//
// The identity of an adopted participant still names the pod that created it, so LiveKit's webhooks about it
// go there and are lost: its end is found by polling (gateway/reconcile).

var errNotResumable = errors.New("no session to resume: it ended, was not resumable, or has another token")

// maxSessionID bounds the ids that are looked up in Redis; the longest real one is an IPv6 address, a port
// and 16 digits.
const maxSessionID = 128

// IDOfToken returns the session id in an authToken.
func IDOfToken(token string) (id string, ok bool) {
	at := strings.LastIndexByte(token, '/')
	if at <= 0 || at > maxSessionID {
		return "", false
	}
	return token[:at], true
}

// connect opens the client's session after the approval of the application's backend: the session of its
// authToken, or a new one.
func (s *Session) connect(app *apps.App, c *wcs.Connection) {
	fresh := newSessionID(s.Remote)
	if c.AuthToken == "" {
		s.authorizeConnect(app, c, fresh)
		return
	}
	async(s, func() (sessionID, error) { return s.table.findSession(app, c.AuthToken) }, func(old sessionID, err error) {
		if err != nil {
			s.notResumed(err)
			old = fresh
		}
		if !s.closed {
			s.authorizeConnect(app, c, old)
		}
	})
}

// enter starts or resumes the session after the approval.
func (s *Session) enter(app *apps.App, c *wcs.Connection, id sessionID) {
	if id.resumed {
		s.resumeSession(app, c, id)
		return
	}
	s.establish(app, c, id)
	s.hooks.established(id)
}

// resumeSession takes the session of the client, or starts a new one if that has ended.
func (s *Session) resumeSession(app *apps.App, c *wcs.Connection, id sessionID) {
	unlock := func() {}
	tell := s.hooks.wants(hooks.ConnectionStatusEvent)
	async(s, func() (resumed, error) {
		ctx, cancel := context.WithTimeout(s.table.Context, takeTimeout)
		defer cancel()
		got, err := s.table.take(ctx, app, c, id, tell)
		if err == nil {
			unlock = s.table.Moving.Lock(ctx, id.public)
			s.table.takeStreams(ctx, &got)
		}
		return got, err
	}, func(got resumed, err error) {
		defer unlock()
		if err == nil {
			s.table.Metrics.Resumes.WithLabelValues(resumeOK).Inc()
			s.restore(app, c, id, got)
			return
		}
		s.notResumed(err)
		if !s.closed {
			s.enter(app, c, newSessionID(s.Remote))
		}
	})
}

func (s *Session) notResumed(err error) {
	result := resumeUnavailable
	if errors.Is(err, errNotResumable) {
		result = resumeRefused
	}
	s.table.Metrics.Resumes.WithLabelValues(result).Inc()
	s.sampled().Err(err).Msg("session not resumed; starting a new one")
}

// resumed is a session that this pod has taken.
type resumed struct {
	was     state.Session // as the previous owner had it
	record  state.Session
	streams []adopted
	rooms   []state.SessionRoom
}

// adopted is a stream of a resumed session. err is the reason why it could not be adopted.
type adopted struct {
	state.SessionStream
	record state.Stream
	err    error
}

// findSession returns the id of the session that a token resumes, with a new token, or errNotResumable.
func (t *Table) findSession(app *apps.App, token string) (sessionID, error) {
	id, ok := IDOfToken(token)
	if !ok {
		return sessionID{}, errNotResumable
	}
	kept, err := t.Sessions.FindSessionOf(t.Context, id, sha256.Sum256([]byte(token)))
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

// resumes reports whether a token is that of a resumable session of the application.
func resumes(kept state.Session, app *apps.App, token string) bool {
	hash := sha256.Sum256([]byte(token))
	return kept.Resumable && kept.App == app.Key && subtle.ConstantTimeCompare(kept.TokenHash[:], hash[:]) == 1
}

// takeTimeout bounds a take-over, including its streams.
const takeTimeout = 30 * time.Second

// take transfers the session of an authToken to this pod, under its new token, without its streams.
func (t *Table) take(ctx context.Context, app *apps.App, c *wcs.Connection, id sessionID, tellEnd bool) (got resumed, err error) {
	got.was, err = t.Sessions.TakeSession(ctx, id.public, func(was state.Session) (state.Session, error) {
		if !resumes(was, app, c.AuthToken) {
			return was, errNotResumable
		}
		got.record = was
		got.record.TokenHash, got.record.Resumable = sha256.Sum256([]byte(id.token)), t.wantsResume(c)
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

// takeStreams makes the previous owner yield a session that this pod has taken, and adopts its streams.
func (t *Table) takeStreams(ctx context.Context, got *resumed) {
	had := t.requestHandOver(ctx, got.was)
	got.rooms = had.Rooms
	for _, k := range had.Streams {
		a := adopted{SessionStream: k}
		if k.Status == "" {
			a.record, a.err = t.adopt(ctx, k, got.record, got.was.Owner)
		}
		got.streams = append(got.streams, a)
	}
}

// handOverTimeout bounds the wait for the previous owner, which replies within milliseconds unless it is
// dead.
const handOverTimeout = time.Second

// requestHandOver makes the previous owner yield the session and returns its streams and memberships. Without
// a reply these are those of the session's record.
func (t *Table) requestHandOver(ctx context.Context, was state.Session) *handover {
	r, recorded := handOverRequest{Was: was.TokenHash}, &handover{Streams: was.Streams, Rooms: was.Rooms}
	if now := t.releaseStale(ctx, was.ID, r); was.Owner.Pod == t.Config.Pod {
		return cmp.Or(now, recorded)
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	body, _ := wcs.Encode(r) // a text: cannot fail
	answer, err := t.Bus.Request(ctx, was.Owner.Pod, state.Event{Kind: state.EventResumed, Name: was.ID, Body: body})
	if err == nil && answer != "" {
		now := new(handover)
		if err = json.Unmarshal([]byte(answer), now); err == nil {
			return now
		}
	}
	t.Log.Info().Err(err).Str("pod", was.Owner.Pod).Msg("previous owner unreachable; adopting streams from the session record")
	return recorded
}

// adopt transfers the record of a session's stream to this pod.
func (t *Table) adopt(ctx context.Context, k state.SessionStream, sess state.Session, from state.Owner) (rec state.Stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Media.StoreTimeout)
	defer cancel()
	defer t.Moving.Lock(ctx, k.Identity)()
	if !k.Published {
		return t.Sessions.AdoptPlayer(ctx, state.Player{
			MediaID: k.MediaID, Stream: k.Name, App: sess.App, Session: sess.ID, Room: k.Room, Identity: k.Identity,
			CreatedAt: k.CreatedAt, Native: k.Native, Playing: true, Tracks: k.Tracks, Generation: sess.Generation, TellEnd: k.TellEnd,
		}, from)
	}
	rec, err = t.Store.FindStream(ctx, k.Name)
	if errors.Is(err, state.ErrNotFound) || err == nil && rec.Identity != k.Identity {
		rec, err = recordOf(k, sess), nil // is rejected, which cleans up an earlier attempt
	}
	if err == nil {
		rec.Generation = sess.Generation
		err = t.Sessions.AdoptStream(ctx, rec, from)
	}
	return rec, err
}

// recordOf returns the record of a published stream as far as the snapshot has it.
func recordOf(k state.SessionStream, sess state.Session) state.Stream {
	return state.Stream{
		Name: k.Name, MediaID: k.MediaID, App: sess.App, Session: sess.ID, Room: k.Room, Identity: k.Identity, Phase: state.PhasePublishing,
		Tracks: k.Tracks, AudioMuted: k.AudioMuted, VideoMuted: k.VideoMuted, CreatedAt: k.CreatedAt, TellEnd: k.TellEnd,
	}
}

// restore continues a session that was taken. If the client has lost its socket since, the session is
// detached.
func (s *Session) restore(app *apps.App, c *wcs.Connection, id sessionID, got resumed) {
	s.id, s.generation = id.public, got.record.Generation
	if got.record.Resumable {
		s.enableResume(got.record)
	}
	s.welcome(app, c, id.token)
	s.hooks.established(id)
	for _, a := range got.streams {
		s.restoreStream(a, got.record)
	}
	s.rooms.resume(got.record, got.was.Owner, got.rooms)
	s.resume.save()
	s.log(zerolog.InfoLevel).Int("streams", len(s.streams)).Msg("session resumed")
	if s.closed {
		s.endOrDetach(socket.ClosedLost)
	}
}

// restoreStream continues a stream of the session and sends the client its status.
func (s *Session) restoreStream(a adopted, sess state.Session) {
	if isAny(a.err, state.ErrNotFound, state.ErrLostOwnership) {
		a.Status, a.Info = string(wcs.StatusFailed), wcs.InfoStoppedBySessionDisconnect
	}
	st := s.newRestoredStream(a.SessionStream)
	if a.Status != "" {
		st.sendStatus(wcs.Status(a.Status), a.Info)
		s.resume.queueEnd(a.SessionStream)
		return
	}
	s.addStream(st)
	s.table.streams.add(st)
	s.table.Pulls.Rejoin(st.pull)
	if a.err != nil {
		from := sess.Owner
		st.adopt = func(ctx context.Context) error { // it may be this pod's or not: only its owner can release it
			_, err := s.table.adopt(ctx, a.SessionStream, sess, from)
			return err
		}
		st.fail(a.err)
		return
	}
	s.table.Poller.Add(st.room, st)
	st.startKeepAliveHook()
	st.startRates()
	if st.published {
		st.egresses.Watch()
		st.mutes = mutesOf(a.record)
		st.sendStatus(wcs.StatusPublishing, "")
		st.writer.save(nil) // notifies the players' pods of the new owner
		return
	}
	if !st.publisher.Native() && a.record.Identity != string(st.publisher) {
		st.onPublisherEnded(st.publisher, notifyTiming{})
		return
	}
	st.mutes = mutesOf(a.record)
	st.sendStatus(wcs.StatusPlaying, "") // the backend knows
	st.showFormat()
	st.onPublisherChanged(a.record.Owner.Pod, a.record, nil)
}
