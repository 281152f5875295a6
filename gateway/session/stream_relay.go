package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// relay passes a publisher's mutes and data to LiveKit, for native participants. It makes one call after the
// other; of the mutes only the latest state is sent. It is used on the session's loop.
type relay struct {
	st    *stream
	busy  bool
	mutes int // changes that LiveKit has
	data  events
}

// maxNativeData is the largest data message that LiveKit's clients accept, less some bytes for its envelope.
const maxNativeData = 60_000

// queue adds data.
func (r *relay) queue(payload json.RawMessage) error {
	st := r.st
	if len(payload) > maxNativeData {
		st.sess.sampled().Str("media", st.id).Int("bytes", len(payload)).Msg("data too big for native participants")
		return nil
	}
	if err := r.data.add(payload); err != nil {
		return err
	}
	r.next()
	return nil
}

// next sends the pending mutes and data to LiveKit, unless a round of calls is under way.
func (r *relay) next() {
	st, t := r.st, r.st.sess.table
	m := st.mutes
	muted := r.mutes != m.Changes
	if r.busy || st.ending != nil || st.phase != phaseUp || !muted && len(r.data.list) == 0 {
		return
	}
	r.busy = true
	data := r.data.take()
	var remote []translate.Track
	if muted && t.Config.Media.RemoteMute {
		remote = r.tracksToMute(m)
	}
	asyncErr(st.sess, func() error { return r.send(muted, m, remote, data) }, func(err error) { r.sent(m, remote, err) })
}

// send runs off the loop. Its error is that of the mutes.
func (r *relay) send(muted bool, m translate.Mutes, remote []translate.Track, data [][]byte) (err error) {
	if muted {
		err = r.call(func(ctx context.Context) error {
			return r.st.sess.table.Notifier.SetMutes(ctx, r.st.room, r.st.identity, m)
		})
		for _, t := range remote {
			err = errors.Join(err, r.muteTrack(t))
		}
	}
	for _, d := range data {
		r.sendToRoom(d)
	}
	return err
}

// sent continues after a round of calls. Mutes that could not be sent are sent again after the next query of
// the room.
func (r *relay) sent(m translate.Mutes, remote []translate.Track, err error) {
	st := r.st
	r.busy = false
	if err != nil && translate.KindOf(err) != translate.ErrKindNotFound {
		st.sess.sampledAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("mutes not sent to LiveKit; will be retried")
	}
	if err == nil {
		r.mutes = m.Changes
		for _, t := range remote { // until LiveKit reports it; a rejected call is not repeated
			if have, ok := st.tracks[t.Kind]; ok && have.SID == t.SID {
				have.Muted = t.Muted
				st.tracks[t.Kind] = have
			}
		}
	}
	if err == nil || len(r.data.list) > 0 || st.mutes.Changes != m.Changes {
		r.next()
	}
}

// tracksToMute returns the tracks that LiveKit must mute or unmute, in their new state.
func (r *relay) tracksToMute(m translate.Mutes) (change []translate.Track) {
	for kind, want := range map[translate.Kind]bool{translate.Audio: m.Audio, translate.Video: m.Video} {
		if t, ok := r.st.tracks[kind]; ok && t.SID != "" && t.Muted != want {
			t.Muted = want
			change = append(change, t)
		}
	}
	return change
}

// muteTrack has LiveKit mute or unmute a track. LiveKit rejects unmuting unless it is configured for it; then
// the stream goes on.
func (r *relay) muteTrack(t translate.Track) error {
	err := r.call(func(ctx context.Context) error {
		return r.st.sess.table.Notifier.MuteTrack(ctx, r.st.room, r.st.identity, t.SID, t.Muted)
	})
	if translate.KindOf(err) != translate.ErrKindRefused {
		return err
	}
	r.st.sess.sampledAt(zerolog.ErrorLevel).Err(err).Str("media", r.st.id).Str("room", string(r.st.room)).Str("track", t.SID).Bool("muted", t.Muted).
		Str("hint", "room.enable_remote_unmute of LiveKit").Msg("LiveKit rejects muting or unmuting a track")
	return nil
}

// sendToRoom sends data to native participants, once: it is not retried.
func (r *relay) sendToRoom(payload json.RawMessage) {
	if payload == nil {
		payload = json.RawMessage("null")
	}
	err := r.call(func(ctx context.Context) error { return r.st.sess.table.Notifier.SendData(ctx, r.st.room, payload) })
	if err != nil {
		r.st.sess.sampledAt(zerolog.WarnLevel).Err(err).Str("media", r.st.id).Str("room", string(r.st.room)).Msg("data not sent to native participants")
	}
}

// sfuTimeout bounds a call to LiveKit whose result no client waits for.
const sfuTimeout = 2 * time.Second

func (r *relay) call(call func(context.Context) error) error {
	ctx, cancel := r.st.sess.table.timeout(sfuTimeout)
	defer cancel()
	return call(ctx)
}

// mutedAtSFU reports whether LiveKit forwards none of a publisher's tracks, because they were muted.
func (r *relay) mutedAtSFU() bool {
	st := r.st
	if !st.sess.table.Config.Media.RemoteMute || len(st.tracks) == 0 {
		return false
	}
	for _, t := range st.tracks {
		if !t.Muted {
			return false
		}
	}
	return true
}

// subscribeNativeData subscribes to the data messages that native participants send to the stream's room, if
// the application has nativeData. For a publisher's room, the publisher's pod subscribes. For the room of a
// native publisher, each pod with players does.
func (st *stream) subscribeNativeData() {
	switch {
	case !st.sess.app.NativeData:
	case st.published:
		st.sess.table.Probes.Subscribe(st, st.identity, st.room)
	case st.publisher.Native():
		st.sess.table.Probes.Subscribe(st, st.publisher, st.room)
	}
}

func (st *stream) unsubscribeNativeData() {
	if st.sess.app.NativeData {
		st.sess.table.Probes.Unsubscribe(st, st.publisher)
	}
}

// OnData implements probe.Listener.
func (st *stream) OnData(publisher translate.Identity, payload json.RawMessage) {
	st.sess.loop.Post(func() { st.deliverNative(publisher, payload) })
}

// deliverNative forwards a native participant's data message: to all players if st is the publisher,
// otherwise to this player.
func (st *stream) deliverNative(publisher translate.Identity, payload json.RawMessage) {
	switch {
	case st.ending != nil || st.phase != phaseUp:
	case st.published:
		if err := st.publishToPlayers(payload); err != nil {
			st.sess.sampledAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("native participant's data dropped")
		}
	case st.publisher == publisher:
		st.sess.relay(wcs.StreamData(st.id, payload))
	}
}
