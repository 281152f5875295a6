package session

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/quota"
	"wcsgateway/translate/wcs"
)

// endCause is the reason and the manner of a stream's end.
type endCause struct {
	status       wcs.Status
	info         string
	reason       ends.Reason
	err          error        // with details for the log, or nil
	noClient     bool         // the client is gone
	afterCleanup bool         // the client is notified only after everything is released
	handedOver   bool         // another pod has the stream, or will have it: nothing is released
	since        time.Time    // set by end
	timing       notifyTiming // player: of its publisher's end
}

// end ends the stream. Only the first cause counts.
func (st *stream) end(e endCause) {
	if st.ending != nil {
		if e.noClient {
			st.ending.noClient = true
			st.notifyEnd() // only the backend
		}
		return
	}
	e.since = time.Now()
	st.ending = &e
	fault := e.info
	class := e.reason.Class()
	if class == ends.OK {
		fault = ""
	}
	st.trace.Failed(string(class), fault)
	st.stopTimers()
	st.sess.table.Poller.Remove(st.room, st)
	st.stopRates()
	if st.following {
		st.cancel()
	}
	if st.phase == phaseUp && !e.handedOver {
		st.updateRoom()
	}
	if !e.afterCleanup {
		st.notifyEnd()
	}
	switch {
	case st.phase == phaseAuthorizing:
		st.finished() // nothing to release
	case st.phase == phaseStarting:
		st.cancel() // onStarted continues
	case st.writer.saving: // onSaved continues: a record written after its release would stay in Redis
	default:
		st.cleanUp()
	}
}

// notifyEnd sends the terminal status to client and backend, once.
func (st *stream) notifyEnd() {
	e := st.ending
	if st.notified || e.handedOver {
		return
	}
	st.notified = true
	if !e.noClient {
		st.sendStatus(e.status, e.info)
		st.sess.table.Metrics.observeNotification(e.timing)
	}
	st.notifyStatus(e.status, e.info)
}

// UndoWait bounds the time for which a client waits for UNPUBLISHED or STOPPED while LiveKit or Redis is
// slow.
const UndoWait = 1500 * time.Millisecond

// cleanUp removes the participant and releases the claims. Failed calls are retried by the cleanup queue.
func (st *stream) cleanUp() {
	if st.ending.handedOver {
		st.finished()
		st.sess.reapUnadopted(st)
		return
	}
	t := st.sess.table
	released := func() {}
	if st.published && st.claimed {
		released = t.streams.releasing(st.name)
		t.publisherEnded(st.name, st.identity, notifyTiming{stageLocal, st.ending.since})
	}
	room, offered, claimed, expiry := st.room, st.offered, st.claimed, cleanup.Expiry
	if !st.joined {
		expiry = cleanup.ExpiryNeverUp
	}
	egresses := st.egresses.StopAll()
	st.sess.offLoop(func() {
		defer released()
		limit := time.NewTimer(UndoWait)
		defer limit.Stop()
		for _, ended := range egresses {
			waitFor(limit, ended)
		}
		if offered {
			// The participant goes before the name: the next publisher of the name must find the room empty.
			waitFor(limit, t.Cleanup.RemoveParticipant(st.sess.Conn.Key, room, st.identity, expiry))
		}
		if claimed {
			waitFor(limit, t.Cleanup.Add(cleanup.StoreTask("release stream", st.sess.Conn.Key, st.release)))
		}
	}, st.finished)
}

// removeLate removes a player's participant again whose call to LiveKit was canceled: until the call's
// deadline, it can appear after its removal.
func (st *stream) removeLate() {
	t, party, room, id := st.sess.table, st.sess.Conn.Key, st.room, st.identity
	if st.published || !st.offered || st.ending.handedOver {
		return
	}
	time.AfterFunc(t.Config.Media.SFUTimeout, func() {
		if t.Context.Err() == nil {
			t.Cleanup.RemoveParticipant(party, room, id, cleanup.ExpiryNeverUp)
		}
	})
}

// release undoes in Redis what start did.
func (st *stream) release(ctx context.Context) error {
	if st.adopt != nil {
		if err := st.adopt(ctx); err != nil {
			return unlessGone(err)
		}
	}
	return st.role.release(ctx, st)
}

func waitFor(limit *time.Timer, done <-chan struct{}) {
	select {
	case <-done:
	case <-limit.C:
		limit.Reset(0) // over for the next wait, too
	}
}

// finished runs on the loop when everything is released or queued for release.
func (st *stream) finished() {
	s := st.sess
	delete(s.streams, st.id)
	s.streaming.Add(-1)
	s.table.streams.remove(st)
	s.table.Pulls.Leave(st.pull)
	s.table.Metrics.Streams.WithLabelValues(st.kind, s.app.Key).Dec()
	s.ended(st.kind, st.ending.reason)
	s.table.Ends.Keep(ends.Stream{Session: s.id, MediaID: st.id}, st.kind, ends.Ended{Name: st.name, App: s.app.Key, Status: st.ending.status, Info: st.ending.info, Reason: st.ending.reason})
	st.notifyEnd()
	s.resume.recordEnd(st)
	if class := st.ending.reason.Class(); !st.settled.Load() && (class == ends.Client || class == ends.OK) {
		s.quota().Charge(quota.Starts)
	}
	st.logEnd()
}

// ended counts the end of a stream, or a rejected request for one.
func (s *Session) ended(kind string, reason ends.Reason) {
	s.table.Ends.Add(ends.End{Kind: kind, Reason: reason, App: s.app.Key, Remote: s.Remote})
}

// logEnd logs the end with all that is known about its cause.
func (st *stream) logEnd() {
	s, e := st.sess, st.ending
	class, what := e.reason.Class(), " ended"
	level := class.Level()
	if e.reason.Failed() {
		what = " failed"
	}
	if errors.Is(e.err, context.Canceled) { // the gateway shuts down
		level = zerolog.DebugLevel
	}
	log := s.log
	if !st.settled.Load() && class != ends.Internal { // clients can cause this at any rate
		log = s.sampledAt
	}
	line := log(level).Str("media", st.id).Str("room", string(st.room)).Str("identity", string(st.identity)).
		Str("status", string(e.status)).Str("info", e.info).Str("class", string(class)).Str("reason", string(e.reason)).AnErr("err", e.err)
	if e.reason.Media() {
		line.Stringer("candidates", st.candidates).Bool("connected", st.joined)
	}
	line.Msg(st.kind + what)
}
