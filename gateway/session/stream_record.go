package session

import (
	"errors"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// recordWriter writes a stream's record to Redis, one write at a time. The events of a publisher go with it
// to the pods of its players. It is used on the session's loop.
type recordWriter struct {
	st       *stream
	saving   bool     // a write is under way
	unsaved  bool     // the record must be written (again)
	outbox   events   // to be published with the next write
	inFlight [][]byte // published with the current write
}

// firstRecord returns the record that claims a name. It has no state that changes, as it is called off the
// loop.
func (st *stream) firstRecord(room translate.RoomName) state.Stream {
	return state.Stream{
		Name: st.name, MediaID: st.id, App: st.sess.app.Key, Session: st.sess.id, Room: string(room), Identity: string(st.identity),
		Phase: state.PhaseStarting, MinKbps: st.minKbps, MaxKbps: st.maxKbps, CreatedAt: st.created, Generation: st.sess.generation,
		TellEnd: st.sess.hooks.wants(hooks.StreamStatusEvent),
	}
}

// record returns the record of a stream that is up.
func (st *stream) record() state.Stream {
	rec := st.firstRecord(st.room)
	rec.Phase, rec.AudioMuted, rec.VideoMuted, rec.Mutes = state.PhasePublishing, st.mutes.Audio, st.mutes.Video, st.mutes.Changes
	for _, t := range st.tracks {
		rec.Tracks = append(rec.Tracks, state.Track{Name: t.Name, Kind: string(t.Kind), Mime: t.Mime, Width: t.Width, Height: t.Height})
	}
	return rec
}

// save writes the current record and calls then, even if the write failed. A failed write is repeated after
// the next query of the room at LiveKit.
func (w *recordWriter) save(then func()) {
	st := w.st
	if w.saving {
		w.unsaved = true
		return
	}
	t := st.sess.table
	w.saving, w.unsaved = true, false
	rec := st.record()
	w.inFlight = w.outbox.take()
	asyncErr(st.sess, func() error {
		ctx, cancel := t.timeout(t.Config.Media.StoreTimeout)
		defer cancel()
		defer t.Moving.Lock(ctx, rec.Identity)() // a rejected claim is undone, which could undo an adoption
		return st.role.write(ctx, st, rec)
	}, func(err error) { w.onSaved(err, then) })
}

func (w *recordWriter) onSaved(err error, then func()) {
	st := w.st
	w.saving, w.inFlight = false, nil
	if st.ending != nil { // ended while writing
		st.cleanUp()
		return
	}
	if errors.Is(err, state.ErrAdopted) {
		if r := st.sess.resume; r.active() {
			r.handOver("unknown pod")
		}
		return
	}
	if isAny(err, state.ErrNameTaken, state.ErrLostOwnership) { // another client has the name now
		st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoStreamNameAlreadyInUse, reason: ends.NameLost})
		return
	}
	if err != nil {
		st.sess.log(zerolog.WarnLevel).Err(err).Str("media", st.id).Msg("stream record not written; will be retried")
	}
	if then != nil {
		then()
	}
	if w.unsaved && err == nil {
		w.save(nil)
	}
	w.unsaved = err != nil
}

// reregister writes the stream's record again.
func (st *stream) reregister() {
	if st.ending == nil && st.phase == phaseUp {
		st.writer.save(nil)
	}
}
