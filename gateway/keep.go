package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// keeping is what a session has more that asked for keepAlive: it outlives its socket by the grace period, in which its client
// may come back to any pod (resume.go). It is on the session's loop.
type keeping struct {
	record   state.Session // as it is registered, without its streams
	parked   bool          // the socket is gone
	since    time.Time     // when it went; zero while it is there
	expiring bool
	timer    *time.Timer // runs out when nobody has come back
	ended    []endedStream
}

// endedStream is one of whose end the client was told, or should have been.
type endedStream struct {
	state.SessionStream // with its Status
	at                  time.Time
}

// keepAs lets the session outlive its socket. It needs the session's registration to be written.
func (s *session) keepAs(rec state.Session) {
	rec.Streams, rec.Rooms = nil, nil
	s.keep = &keeping{record: rec}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.kept[s.id] = s
}

// remember registers what whoever takes the session must know of its streams.
func (s *session) remember() {
	if s.keep == nil || s.keep.expiring {
		return
	}
	rec := s.keep.record
	rec.Streams = s.missedEnds()
	for _, st := range s.streams {
		if st.phase == phaseUp && st.ending == nil {
			rec.Streams = append(rec.Streams, st.kept())
		}
	}
	rec.Rooms = s.rooms.records(s.keep.since)
	s.g.deps.Sessions.PutSession(rec)
}

// kept describes the stream for whoever takes its session.
func (st *stream) kept() state.SessionStream {
	k := state.SessionStream{
		MediaID: st.id, Name: st.name, Published: st.published, Room: string(st.room), Identity: string(st.identity),
		Publisher: string(st.publisher), Native: !st.published && st.publisher.Native(), Provider: st.provider,
		MinKbps: st.minKbps, MaxKbps: st.maxKbps, Audio: st.kinds.Audio, Video: st.kinds.Video,
		AudioMuted: st.mutes.Audio, VideoMuted: st.mutes.Video, Tracks: st.record().Tracks, CreatedAt: st.created,
		InRoom:   st.inRoom,
		Egresses: st.egresses.Records(),
	}
	if st.ending != nil {
		k.Status, k.Info = string(st.ending.status), st.ending.info
	}
	return k
}

// noteEnd registers that a stream of the session has ended.
func (s *session) noteEnd(st *stream) {
	if s.keep == nil || s.keep.expiring || st.phase != phaseUp {
		return
	}
	if !st.ending.silent {
		s.keepEnd(st.kept())
	}
	s.remember()
}

// maxEnds bounds the ends that are repeated when a session is resumed.
const maxEnds = 64

// keepEnd keeps the status that the client is sent at a stream's end. It is sent again when the session is resumed, because the socket
// may have been dead for as long as that takes to be detected.
func (s *session) keepEnd(k state.SessionStream) {
	if s.keep != nil {
		s.keep.ended = append(s.keep.ended, endedStream{k, time.Now()})
	}
}

// missedEnds returns the streams that ended too late for the client to have certainly been told.
func (s *session) missedEnds() (streams []state.SessionStream) {
	now := time.Now()
	if s.keep.parked {
		now = s.keep.since
	}
	from := now.Add(-s.g.cfg.Conn.DetectionTime())
	s.keep.ended = slices.DeleteFunc(s.keep.ended, func(e endedStream) bool { return e.at.Before(from) })
	s.keep.ended = s.keep.ended[max(0, len(s.keep.ended)-maxEnds):]
	for _, e := range s.keep.ended {
		streams = append(streams, e.SessionStream)
	}
	return streams
}

// move lets go of a stream that another pod has taken: neither client nor backend is told of an end, and nothing is undone.
func (st *stream) move() {
	st.end(ending{info: wcs.InfoStoppedBySessionDisconnect, class: classOK, silent: true, moved: true})
}

// disconnect ends a stream because its client is gone.
func (st *stream) disconnect() {
	st.end(ending{status: st.stopped(), info: wcs.InfoStoppedBySessionDisconnect, class: classClient, silent: true})
}

// park keeps the session without its socket. What is not up yet cannot come up without it.
func (s *session) park(r socket.Reason) {
	for _, st := range s.streams {
		if st.phase != phaseUp {
			st.disconnect()
		}
	}
	s.keep.parked, s.keep.since = true, time.Now()
	s.rooms.detachAll()
	s.remember()
	switch fits := s.g.park(s.metered.Key, +1); {
	case !fits:
		s.g.metrics.refused(refusedParked)
		s.expire()
	case s.dismissed, r == socket.ClosedTakenOver, r == socket.ClosedDisplaced, r == socket.ClosedTerminated: // what it has is others', or wanted by others
		s.expire()
	case r == socket.ClosedShutdown:
		s.expireAfter(min(s.g.cfg.KeepAliveGrace, s.g.cfg.Drain.Handover))
	default:
		s.expireAfter(s.g.cfg.KeepAliveGrace)
	}
}

// park counts the parked sessions and tells whether they are not too many. Nobody can take all places from one address.
func (g *Gateway) park(of netip.Addr, by int) (fits bool) {
	l := &g.live().limits
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked.Add(of, by)
	g.metrics.parked.Set(float64(g.parked.All()))
	return g.parked.All() <= l.Parked && (l.ConnectionsPerAddress == 0 || g.parked.Of(of) <= l.ConnectionsPerAddress)
}

func (s *session) expireAfter(d time.Duration) {
	if s.keep.timer != nil {
		s.keep.timer.Stop()
	}
	s.keep.timer = time.AfterFunc(d, func() { s.loop.Post(s.expire) })
}

// dismiss closes the socket of a session that is not to be kept, and ends it if it is parked already. A socket whose end was decided a moment
// before, for whatever reason, parks its session later than that.
func (s *session) dismiss(r socket.Reason) {
	s.conn.Close(r)
	s.loop.Post(func() {
		s.dismissed = true
		s.expire()
	})
}

// expire ends a parked session, unless another pod has taken it meanwhile without this one's knowing: only who still has the
// registration may touch its streams.
func (s *session) expire() {
	if s.keep == nil || !s.keep.parked || s.keep.expiring {
		return
	}
	s.keep.expiring = true
	lost, rec := false, s.keep.record
	s.offLoop(func() { lost = s.endRegistration(rec) }, func() {
		s.log(zerolog.InfoLevel).Bool("taken", lost).Int("streams", len(s.streams)).Msg("kept session is over")
		s.unpark(lost)
	})
}

// endRegistration deletes the session's registration. It retries until Redis answers or the gateway ends, and reports
// whether the session belongs to another pod.
func (s *session) endRegistration(rec state.Session) (lost bool) {
	_, err := backoff.Retry(s.g.ctx, func() (struct{}, error) {
		ctx, cancel := s.g.withTimeout(s.g.cfg.Media.StoreTimeout)
		defer cancel()
		err := s.g.deps.Resumption.EndSession(ctx, rec)
		if errors.Is(err, state.ErrLostOwnership) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(cleanup.NewBackOff(cleanup.FirstWait, cleanup.MaxWait)), backoff.WithMaxElapsedTime(0))
	return errors.Is(err, state.ErrLostOwnership)
}

// unpark is the end of a kept session on this pod. If it is not taken by another, it is the session's end.
func (s *session) unpark(taken bool) {
	if s.keep.timer != nil {
		s.keep.timer.Stop()
	}
	if s.keep.parked {
		s.g.park(s.metered.Key, -1)
	}
	s.g.mu.Lock()
	if s.g.kept[s.id] == s { // not the one that has come back to this very pod
		delete(s.g.kept, s.id)
	}
	s.g.mu.Unlock()
	s.keep = nil
	if taken {
		s.rooms.moveAll()
	} else {
		s.rooms.leaveAll()
	}
	for _, st := range s.streams {
		if taken {
			st.move()
		} else {
			st.disconnect()
		}
	}
	if !taken {
		s.hooks.disconnected()
	}
	s.finish()
}

// hurry shortens the time that a parked session has left, because the pod shuts down.
func (s *session) hurry() {
	if s.keep != nil && s.keep.parked && !s.keep.expiring {
		s.expireAfter(min(s.g.cfg.KeepAliveGrace, s.g.cfg.Drain.Handover))
	}
}

// handover is everything that a pod had of a session when it gave it up.
type handover struct {
	Streams []state.SessionStream `json:"streams,omitempty"`
	Rooms   []state.SessionRoom   `json:"rooms,omitempty"`
}

// handOver gives up the session, which a pod, perhaps this one, has taken. That pod has the streams and memberships that are
// returned: the session's record in Redis may be a moment older.
func (s *session) handOver(by string) (now handover) {
	detached := s.keep.since
	if !s.keep.parked {
		detached = time.Now()
	}
	now = handover{Streams: s.missedEnds(), Rooms: s.rooms.records(detached)}
	s.rooms.moveAll()
	for _, st := range s.streams {
		if st.phase == phaseUp && st.ending == nil {
			now.Streams = append(now.Streams, st.kept())
			st.move()
		}
	}
	s.log(zerolog.InfoLevel).Str("to", by).Int("streams", len(now.Streams)).Int("rooms", len(now.Rooms)).Msg("kept session is resumed")
	if by != s.g.cfg.Pod {
		s.g.deps.Sessions.DropSession(s.id) // only this pod's knowledge of it: the registration is the other's
	}
	s.registered = false
	for _, st := range s.streams {
		st.disconnect()
	}
	s.unpark(true)
	s.conn.Close(socket.ClosedResumed)
	return now
}

// letGo lets go of a session that turns out to be another pod's.
func (s *session) letGo() {
	if s.keep != nil && !s.keep.expiring {
		s.handOver("another pod")
	}
}

// resumption is what a pod says of a session that it has taken.
type resumption struct {
	Was state.TokenHash `json:"was"` // of the session before: a pod that has taken it back since is not meant
}

// handOver has a session of this pod let go. ok is false if this pod does not have it any more: then the taker finds out
// about each stream.
func (g *Gateway) handOver(ctx context.Context, id string, r resumption, by string) (now handover, ok bool) {
	g.mu.Lock()
	s := g.kept[id]
	g.mu.Unlock()
	if s == nil {
		return handover{}, false
	}
	done, err := callOn(ctx, s, func() *handover {
		if s.keep == nil || s.keep.expiring || s.keep.record.TokenHash != r.Was && by != g.cfg.Pod {
			return nil
		}
		h := s.handOver(by)
		return &h
	})
	if err != nil || done == nil {
		return handover{}, false
	}
	return *done, true
}

// reclaim takes back from this pod itself what it has of a session, perhaps from long ago: of what came after it was not told. What is still
// being written of it must not meet what is written from now on.
func (g *Gateway) reclaim(ctx context.Context, id string, r resumption) (now handover, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, handOverWait)
	defer cancel()
	g.mu.Lock()
	s := g.kept[id]
	g.mu.Unlock()
	now, ok = g.handOver(ctx, id, r, g.cfg.Pod)
	if s != nil {
		select {
		case <-s.gone:
		case <-ctx.Done():
		}
	}
	return now, ok
}

// letGoWait is until nobody takes a stream any more that was let go: longer than takeLimit.
const letGoWait = 2 * takeLimit

// lookAgain undoes a stream that was let go if it is this pod's still: nobody has come for it. The pod that took its session has
// died over that, or did not learn that it had taken it.
func (s *session) lookAgain(st *stream) {
	g, k, sess := s.g, st.kept(), state.Session{ID: s.id, App: s.app.Key, Generation: s.generation}
	time.AfterFunc(letGoWait, func() {
		if g.ctx.Err() != nil {
			return // other pods take over what is left
		}
		g.cleanup.Add(cleanup.StoreTask("release handed-over stream", func(ctx context.Context) error {
			defer g.moving.lock(ctx, sess.ID)()
			if g.streams.find(st.identity) != nil {
				return nil // its session has come back
			}
			_, err := g.adopt(ctx, k, sess, state.Owner{})
			switch {
			case errors.Is(err, state.ErrNotFound), errors.Is(err, state.ErrLostOwnership):
				return nil
			case err != nil:
				return err
			}
			g.cleanup.RemoveParticipant(st.room, st.identity, cleanup.Expiry)
			return st.role.release(ctx, st)
		}))
	})
}

// handOverTo does what another pod's EventResumed asks for, and answers.
func (g *Gateway) handOverTo(ctx context.Context, e state.Event) error {
	var r resumption
	if err := json.Unmarshal(e.Body, &r); err != nil {
		return fmt.Errorf("session taken by a pod of another version: %w", err)
	}
	var answer []byte
	if now, ok := g.handOver(ctx, e.Name, r, e.From); ok {
		var err error
		if answer, err = json.Marshal(now); err != nil {
			return err
		}
	}
	g.bus.Reply(ctx, e, string(answer))
	return nil
}

// revive makes a stream of what a kept session's record says of it. It is up.
func (s *session) revive(k state.SessionStream) *stream {
	st := &stream{
		sess: s, role: player{}, cancel: func() {}, phase: phaseUp,
		streamSpec: streamSpec{
			published: k.Published, id: k.MediaID, name: k.Name, provider: k.Provider,
			minKbps: k.MinKbps, maxKbps: k.MaxKbps, created: k.CreatedAt, inRoom: k.InRoom,
		},
		participant: participant{
			identity: translate.Identity(k.Identity), room: translate.RoomName(k.Room), claimed: true, offered: true, joined: true,
		},
		streamMedia: streamMedia{
			kinds: translate.MediaKinds{Audio: k.Audio, Video: k.Video}, tracks: make(map[translate.Kind]translate.Track),
			mutes: translate.Mutes{Audio: k.AudioMuted, Video: k.VideoMuted},
		},
		playedStream: playedStream{publisher: translate.Identity(k.Publisher)},
	}
	if st.published {
		st.role = publisher{}
	}
	for _, t := range k.Tracks {
		st.tracks[translate.Kind(t.Kind)] = translate.Track{
			Name: t.Name, Kind: translate.Kind(t.Kind), Mime: t.Mime, Width: t.Width, Height: t.Height,
		}
	}
	st.addComponents()
	st.egresses.Restore(k.Egresses)
	st.settled.Store(true)
	return st
}
