package gateway

import (
	"errors"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// firstRecord is what a name is claimed with, off the loop: nothing that changes.
func (st *stream) firstRecord(room translate.RoomName) state.Stream {
	return state.Stream{
		Name: st.name, MediaID: st.id, App: st.sess.app.Key, Session: st.sess.id, Room: string(room), Identity: string(st.identity),
		Phase: state.PhaseStarting, MinKbps: st.minKbps, MaxKbps: st.maxKbps, CreatedAt: st.created, Era: st.sess.era,
	}
}

// record is what other pods may know of a stream that is up.
func (st *stream) record() state.Stream {
	rec := st.firstRecord(st.room)
	rec.Phase, rec.AudioMuted, rec.VideoMuted, rec.Mutes = state.PhasePublishing, st.audioMuted, st.videoMuted, st.muteChanges
	for _, t := range st.tracks {
		rec.Tracks = append(rec.Tracks, state.Track{Name: t.Name, Kind: string(t.Kind), Mime: t.Mime, Width: t.Width, Height: t.Height})
	}
	return rec
}

// save writes the record as it is now and runs then, whatever became of it. One write is under way at a time; one that fails
// is repeated when LiveKit was next asked about the room.
func (st *stream) save(then func()) {
	if st.saving {
		st.unsaved = true
		return
	}
	g := st.sess.g
	st.saving, st.unsaved = true, false
	rec := st.record()
	st.saying = st.toPlayers.take()
	asyncErr(st.sess, func() error {
		ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
		defer cancel()
		return st.role.write(ctx, st, rec)
	}, func(err error) { st.onSaved(err, then) })
}

func (st *stream) onSaved(err error, then func()) {
	st.saving, st.saying = false, nil
	if st.ending != nil { // meanwhile
		st.undo()
		return
	}
	if errors.Is(err, state.ErrAdopted) {
		st.sess.letGo()
		return
	}
	if errors.Is(err, state.ErrNameTaken) || errors.Is(err, state.ErrLostOwnership) { // somebody else has come to have the name
		st.end(ending{status: wcs.StatusFailed, info: wcs.InfoStreamNameAlreadyInUse, class: classUpstream})
		return
	}
	if err != nil {
		st.sess.log(zerolog.WarnLevel).Err(err).Str("media", st.id).Msg("stream record not written, will be tried again")
	}
	if then != nil {
		then()
	}
	if st.unsaved && err == nil {
		st.save(nil)
	}
	st.unsaved = err != nil
}

// registerAgain repeats what is in Redis about the stream.
func (st *stream) registerAgain() {
	if st.ending == nil && st.phase == phaseUp {
		st.save(nil)
	}
}
