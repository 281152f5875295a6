package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/waiting"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// resumeState makes a session resumable: one that asked for keepAlive outlives its socket by the grace
// period, in which its client can resume it on any pod (resume.go). A nil resumeState is that of a session
// that ends with its socket. It is on the session's loop.
type resumeState struct {
	// set once
	s      *Session
	record state.Session // the registration, without streams and rooms

	detached time.Time // when the socket was lost; zero while it is open
	expiring bool
	grace    *time.Timer // ends a detached session
	place    *waiting.Entry[*resumeState]
	ends     []pastEnd
}

// pastEnd is the end of a stream that is repeated at a resume.
type pastEnd struct {
	state.SessionStream // with its Status
	at                  time.Time
}

// maxEnds bounds the ends that are repeated when a session is resumed.
const maxEnds = 64

// enableResume makes the session resumable. The caller registers the session.
func (s *Session) enableResume(rec state.Session) {
	rec.Streams, rec.Rooms = nil, nil
	s.resume = &resumeState{s: s, record: rec}
}

// active reports whether the session can be resumed. It cannot if it is about to end.
func (r *resumeState) active() bool { return r != nil && !r.expiring }

// isDetached reports whether the session has lost its socket.
func (r *resumeState) isDetached() bool { return r != nil && !r.detached.IsZero() }

// save writes what a resuming pod needs to restore the session's streams and memberships.
func (r *resumeState) save() {
	if !r.active() {
		return
	}
	rec := r.record
	rec.Streams = r.recentEnds()
	for _, st := range r.s.streams {
		if st.phase == phaseUp && st.ending == nil {
			rec.Streams = append(rec.Streams, st.snapshotForResume())
		}
	}
	rec.Rooms = r.s.rooms.records(r.detached)
	r.s.table.Sessions.PutSession(rec)
}

// snapshotForResume returns what a pod needs to restore the stream, or to repeat its end.
func (st *stream) snapshotForResume() state.SessionStream {
	k := state.SessionStream{
		MediaID: st.id, Name: st.name, Published: st.published, Room: string(st.room), Identity: string(st.identity),
		Publisher: string(st.publisher), PublisherSID: st.publisherSID, Native: !st.published && st.publisher.Native(), Provider: st.provider,
		MinKbps: st.minKbps, MaxKbps: st.maxKbps, Audio: st.kinds.Audio, Video: st.kinds.Video,
		AudioMuted: st.mutes.Audio, VideoMuted: st.mutes.Video, Tracks: st.record().Tracks, CreatedAt: st.created,
		InRoom:   st.inRoom,
		TellEnd:  st.sess.hooks.wants(hooks.StreamStatusEvent),
		Egresses: st.egresses.Records(),
	}
	k.Pull, k.Said = st.sess.table.Pulls.Save(st.pull)
	if st.ending != nil {
		k.Status, k.Info = string(st.ending.status), st.ending.info
	}
	return k
}

// recordEnd writes that a stream of the session ended.
func (r *resumeState) recordEnd(st *stream) {
	if !r.active() || st.phase != phaseUp {
		return
	}
	if !st.ending.noClient {
		r.queueEnd(st.snapshotForResume())
	}
	r.save()
}

// queueEnd keeps the status that the client is sent at a stream's end. It is repeated when the session is
// resumed: the socket may be dead until that is detected.
func (r *resumeState) queueEnd(k state.SessionStream) {
	if r != nil {
		r.ends = append(r.ends, pastEnd{k, time.Now()})
	}
}

// recentEnds returns the ends that the client may not have received.
func (r *resumeState) recentEnds() (streams []state.SessionStream) {
	connected := time.Now()
	if r.isDetached() {
		connected = r.detached
	}
	from := connected.Add(-r.s.table.Config.Conn.DetectionTime())
	r.ends = slices.DeleteFunc(r.ends, func(e pastEnd) bool { return e.at.Before(from) })
	r.ends = r.ends[max(0, len(r.ends)-maxEnds):]
	for _, e := range r.ends {
		streams = append(streams, e.SessionStream)
	}
	return streams
}

// moveAway ends a stream on this pod that another pod has adopted. Neither the client nor the backend is
// notified, and nothing is cleaned up.
func (st *stream) moveAway() {
	st.end(endCause{info: wcs.InfoStoppedBySessionDisconnect, reason: ends.HandedOver, noClient: true, handedOver: true})
}

// disconnect ends a stream because its client is gone.
func (st *stream) disconnect() {
	st.end(endCause{status: st.stopped, info: wcs.InfoStoppedBySessionDisconnect, reason: ends.Disconnected, noClient: true})
}

// detach keeps the session after the loss of its socket. Streams that are not up end: without the socket they
// cannot come up.
func (r *resumeState) detach(reason socket.Reason) {
	s := r.s
	for _, st := range s.streams {
		if st.phase != phaseUp {
			st.disconnect()
		}
	}
	r.detached = time.Now()
	for _, m := range s.rooms.byRoom {
		s.table.Rooms.Detach(m.member)
	}
	r.save()
	s.table.addDetached(r)
	switch {
	case s.terminated, reason == socket.ClosedTakenOver, reason == socket.ClosedDisplaced, reason == socket.ClosedTerminated: // another client or pod needs its names
		r.expire()
	case reason == socket.ClosedShutdown:
		r.shortenGrace()
	default:
		r.expireAfter(s.table.Config.KeepAliveGrace)
	}
}

// addDetached counts a detached session. If there are too many, of the pod or of one address, the oldest one
// of the address that has most ends; one that has streams or rooms only if there is none without.
func (t *Table) addDetached(r *resumeState) {
	s, l := r.s, &t.Settings().Limits
	most := l.Detached
	if most == 0 {
		most = -1
	}
	holds := len(s.rooms.byRoom) > 0 || len(r.ends) > 0
	for _, st := range s.streams {
		holds = holds || st.phase == phaseUp && st.ending == nil
	}
	t.mu.Lock()
	place, lost := t.detached.Add(s.Conn.Key, r, holds, l.ConnectionsPerAddress, most)
	r.place = place
	t.Metrics.Detached.Set(float64(t.detached.Len()))
	t.mu.Unlock()
	if lost != nil {
		t.Metrics.Rejected(rejectDetached)
		lost.Value.s.loop.Post(lost.Value.expire)
	}
}

func (t *Table) removeDetached(r *resumeState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detached.Remove(r.place)
	t.Metrics.Detached.Set(float64(t.detached.Len()))
}

func (r *resumeState) expireAfter(d time.Duration) {
	if r.grace != nil {
		r.grace.Stop()
	}
	r.grace = time.AfterFunc(d, func() { r.s.loop.Post(r.expire) })
}

// Terminate closes the socket of a session and ends the session without a grace period, also if it is
// detached already. A socket whose end was decided a moment earlier, for another reason, detaches the session
// later: terminated is checked then.
func (s *Session) Terminate(r socket.Reason) {
	s.conn.Close(r)
	s.loop.Post(func() {
		s.terminated = true
		s.resume.expire()
	})
}

// expire ends a detached session. If another pod has taken it without this pod's knowledge, its streams and
// memberships stay untouched: they belong to the owner of the registration.
func (r *resumeState) expire() {
	if !r.active() || !r.isDetached() || r.s.resume != r {
		return
	}
	r.expiring = true
	s, lost := r.s, false
	s.offLoop(func() { lost = r.endRegistration() }, func() {
		s.log(zerolog.InfoLevel).Bool("taken", lost).Int("streams", len(s.streams)).Msg("detached session ended")
		r.endDetached(lost)
	})
}

// endRegistration deletes the session's registration. It retries until Redis answers or the gateway ends, and
// reports whether the session belongs to another pod.
func (r *resumeState) endRegistration() (lost bool) {
	t := r.s.table
	_, err := backoff.Retry(t.Context, func() (struct{}, error) {
		err := t.Sessions.EndSession(t.Context, r.record)
		if errors.Is(err, state.ErrLostOwnership) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(cleanup.NewBackOff(cleanup.FirstWait, cleanup.MaxWait)), backoff.WithMaxElapsedTime(0))
	return errors.Is(err, state.ErrLostOwnership)
}

// endDetached ends the session on this pod. Unless another pod has taken it, this is the end of the session.
func (r *resumeState) endDetached(taken bool) {
	s := r.s
	if r.grace != nil {
		r.grace.Stop()
	}
	if r.isDetached() {
		s.table.removeDetached(r)
	}
	s.resume = nil
	s.endAll(taken)
	if !taken {
		s.hooks.disconnected()
	}
	s.finish()
}

// endAll ends the session's memberships and streams, on this pod or, unless another pod has taken the
// session, altogether.
func (s *Session) endAll(taken bool) {
	endMember, endStream := s.table.Rooms.Leave, (*stream).disconnect
	if taken {
		endMember, endStream = s.table.Rooms.Move, (*stream).moveAway
	}
	s.rooms.endAll(endMember)
	for _, st := range s.streams {
		endStream(st)
	}
}

// shortenGrace shortens the remaining time of a detached session because the pod shuts down.
func (r *resumeState) shortenGrace() {
	if r.active() && r.isDetached() {
		r.expireAfter(min(r.s.table.Config.KeepAliveGrace, r.s.table.Config.Handover))
	}
}

// handover is what a pod had of a session when it yielded the session to the pod that resumed it.
type handover struct {
	Streams []state.SessionStream `json:"streams,omitempty"`
	Rooms   []state.SessionRoom   `json:"rooms,omitempty"`
}

// handOver yields the session to the pod that resumed it, perhaps this one, and returns the streams and
// memberships that this pod takes from now on. They are newer than the session's record in Redis.
func (r *resumeState) handOver(to string) *handover {
	s, detached := r.s, r.detached
	if !r.isDetached() {
		detached = time.Now()
	}
	now := &handover{Streams: r.recentEnds(), Rooms: s.rooms.records(detached)}
	s.rooms.endAll(s.table.Rooms.Move)
	for _, st := range s.streams {
		if st.phase == phaseUp && st.ending == nil {
			now.Streams = append(now.Streams, st.snapshotForResume())
			st.moveAway()
		}
	}
	s.log(zerolog.InfoLevel).Str("to", to).Int("streams", len(now.Streams)).Int("rooms", len(now.Rooms)).Msg("session handed over")
	if to != s.table.Config.Pod {
		s.table.Sessions.DropSession(s.id) // only this pod's copy: the registration is the other pod's
	}
	s.registered = false
	for _, st := range s.streams {
		st.disconnect()
	}
	r.endDetached(true)
	s.conn.Close(socket.ClosedResumed)
	return now
}

// handOverRequest is the body of EventResumed.
type handOverRequest struct {
	Was state.TokenHash `json:"was"` // of the session before it was resumed: a pod that has resumed it since does not yield it
}

// handOver hands over a session of this pod. It returns nil if this pod does not have the session any more,
// or not in time.
func (t *Table) handOver(ctx context.Context, id string, request handOverRequest, to string) *handover {
	s := t.sessionByID(id)
	if s == nil {
		return nil
	}
	now, _ := callOn(ctx, s, func() *handover { // nil after an error
		r := s.resume
		if !r.active() || r.record.TokenHash != request.Was && to != t.Config.Pod {
			return nil
		}
		return r.handOver(to)
	})
	return now
}

// releaseStale makes this pod give up its own outdated copy of the session before it resumes the current one,
// and waits for that copy's pending writes: they must not overtake the new session's.
func (t *Table) releaseStale(ctx context.Context, id string, request handOverRequest) *handover {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	s := t.sessionByID(id)
	now := t.handOver(ctx, id, request, t.Config.Pod)
	if s != nil {
		select {
		case <-s.Done():
		case <-ctx.Done():
		}
	}
	return now
}

// AdoptDeadline is the time in which a pod adopts a stream that was handed over: longer than takeTimeout.
const AdoptDeadline = 2 * takeTimeout

// reapUnadopted releases a handed-over stream that no pod has adopted by the deadline, because the adopting
// pod died or never learned that its take-over succeeded.
func (s *Session) reapUnadopted(st *stream) {
	t, k, sess := s.table, st.snapshotForResume(), state.Session{ID: s.id, App: s.app.Key, Generation: s.generation}
	time.AfterFunc(AdoptDeadline, func() {
		if t.Context.Err() != nil {
			return // another pod takes over this pod's records
		}
		t.Cleanup.Add(cleanup.StoreTask("release handed-over stream", s.Conn.Key, func(ctx context.Context) error {
			defer t.Moving.Lock(ctx, sess.ID)()
			if t.streams.find(st.identity) != nil {
				return nil // the session was resumed on this pod
			}
			_, err := t.adopt(ctx, k, sess, state.Owner{})
			if err != nil {
				return unlessGone(err)
			}
			t.Cleanup.RemoveParticipant(s.Conn.Key, st.room, st.identity, cleanup.Expiry)
			return st.role.release(ctx, st)
		}))
	})
}

// HandOver handles another pod's EventResumed.
func (t *Table) HandOver(ctx context.Context, e state.Event) error {
	var request handOverRequest
	if err := json.Unmarshal(e.Body, &request); err != nil {
		return fmt.Errorf("decode hand-over request: %w", err)
	}
	var reply []byte
	if now := t.handOver(ctx, e.Name, request, e.From); now != nil {
		var err error
		if reply, err = wcs.Encode(now); err != nil {
			return err
		}
	}
	t.Bus.Reply(ctx, e, string(reply))
	return nil
}

// newRestoredStream returns a stream that is up, from a snapshot of a resumed session's stream.
func (s *Session) newRestoredStream(k state.SessionStream) *stream {
	kind := played
	if k.Published {
		kind = published
	}
	st := newStream(s, streamSpec{
		kindOfStream: kind, id: k.MediaID, name: k.Name, pull: s.table.Pulls.Restore(k.Pull, k.Said), provider: k.Provider,
		minKbps: k.MinKbps, maxKbps: k.MaxKbps, created: k.CreatedAt, inRoom: k.InRoom,
	}, translate.MediaKinds{Audio: k.Audio, Video: k.Video})
	st.phase, st.cancel = phaseUp, func() {}
	st.participant = participant{
		identity: translate.Identity(k.Identity), room: translate.RoomName(k.Room), claimed: true, offered: true, joined: true,
	}
	st.mutes = translate.Mutes{Audio: k.AudioMuted, Video: k.VideoMuted}
	st.publisher, st.publisherSID = translate.Identity(k.Publisher), k.PublisherSID
	for _, t := range k.Tracks {
		st.tracks[translate.Kind(t.Kind)] = translate.Track{
			Name: t.Name, Kind: translate.Kind(t.Kind), Mime: t.Mime, Width: t.Width, Height: t.Height,
		}
	}
	st.egresses.Restore(k.Egresses)
	st.settled.Store(true)
	return st
}

// wantsResume reports whether a client asks for a resumable session and can have one.
func (t *Table) wantsResume(c *wcs.Connection) bool {
	return bool(c.KeepAlive) && t.Config.KeepAliveGrace > 0
}
