package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// relay brings what a publisher says to LiveKit, for native participants. Calls are made one after the other; of what is muted only
// the latest state counts. It is on the stream's loop.
type relay struct {
	busy  bool
	mutes int // changes that LiveKit knows of
	data  outbox
}

// maxNativeData is the largest data message that LiveKit's clients take in one piece, with some room for its envelope.
const maxNativeData = 60_000

// relayData queues what was said.
func (st *stream) relayData(s state.Said) error {
	if s.Type == string(wcs.EventData) {
		if len(s.Payload) > maxNativeData {
			st.sess.noisy().Str("media", st.id).Int("bytes", len(s.Payload)).Msg("data is too big for native participants: only players get it")
			return nil
		}
		if err := st.relay.data.add(s); err != nil {
			return err
		}
	}
	st.relayNow()
	return nil
}

// relayNow tells LiveKit what it does not know, if it is not being told already.
func (st *stream) relayNow() {
	r, g := &st.relay, st.sess.g
	m := st.mutes()
	muted := r.mutes != m.Changes
	if r.busy || st.ending != nil || st.phase != phaseUp || !muted && len(r.data.said) == 0 {
		return
	}
	r.busy = true
	data := r.data.take()
	var remote []translate.Track
	if muted && g.cfg.Media.RemoteMute {
		remote = st.tracksToMute(m)
	}
	asyncErr(st.sess, func() error { return st.tellSFU(muted, m, remote, data) }, func(err error) { st.relayed(m, remote, err) })
}

// tellSFU runs off the loop. Its error is of what is muted.
func (st *stream) tellSFU(muted bool, m translate.Mutes, remote []translate.Track, data []state.Said) (err error) {
	if muted {
		err = st.callSFU(func(ctx context.Context) error {
			return st.sess.g.deps.Notifier.SetMutes(ctx, st.room, st.identity, m)
		})
		for _, t := range remote {
			err = errors.Join(err, st.muteTrack(t))
		}
	}
	for _, d := range data {
		st.sendToRoom(d.Payload)
	}
	return err
}

// relayed goes on after a round of calls. What is muted and could not be told is told again when LiveKit was next asked about the room.
func (st *stream) relayed(m translate.Mutes, remote []translate.Track, err error) {
	r := &st.relay
	r.busy = false
	if err != nil && translate.KindOf(err) != translate.ErrKindNotFound {
		st.sess.noisyAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("native participants do not know what is muted, LiveKit will be told again")
	}
	if err == nil {
		r.mutes = m.Changes
		for _, t := range remote { // until LiveKit reports it; a refusal is not asked for again
			if have, ok := st.tracks[t.Kind]; ok && have.SID == t.SID {
				have.Muted = t.Muted
				st.tracks[t.Kind] = have
			}
		}
	}
	if err == nil || len(r.data.said) > 0 || st.muteChanges != m.Changes {
		st.relayNow()
	}
}

// tracksToMute gives the tracks that LiveKit is to mute or unmute, as they shall be.
func (st *stream) tracksToMute(m translate.Mutes) (change []translate.Track) {
	for kind, want := range map[translate.Kind]bool{translate.Audio: m.Audio, translate.Video: m.Video} {
		if t, ok := st.tracks[kind]; ok && t.SID != "" && t.Muted != want {
			t.Muted = want
			change = append(change, t)
		}
	}
	return change
}

// muteTrack has LiveKit mute or unmute a track. Unless LiveKit is configured for it, it refuses to unmute: the stream goes on.
func (st *stream) muteTrack(t translate.Track) error {
	err := st.callSFU(func(ctx context.Context) error {
		return st.sess.g.deps.Notifier.MuteTrack(ctx, st.room, st.identity, t.SID, t.Muted)
	})
	if translate.KindOf(err) != translate.ErrKindRefused {
		return err
	}
	st.sess.noisyAt(zerolog.ErrorLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Str("track", t.SID).Bool("muted", t.Muted).
		Msg("LiveKit refuses to mute or unmute a track: is its room.enable_remote_unmute set?")
	return nil
}

// sendToRoom sends data to native participants. Nobody waits for it: what is lost is lost.
func (st *stream) sendToRoom(payload json.RawMessage) {
	if payload == nil {
		payload = json.RawMessage("null")
	}
	err := st.callSFU(func(ctx context.Context) error { return st.sess.g.deps.Notifier.SendData(ctx, st.room, payload) })
	if err != nil {
		st.sess.noisyAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("data has not come to native participants")
	}
}

// sfuTimeout bounds a call to LiveKit whose result no client waits for.
const sfuTimeout = 2 * time.Second

func (st *stream) callSFU(call func(context.Context) error) error {
	ctx, cancel := st.sess.g.withTimeout(sfuTimeout)
	defer cancel()
	return call(ctx)
}

// mutedAtSFU tells whether LiveKit forwards nothing of a publisher, because it was asked to.
func (st *stream) mutedAtSFU() bool {
	if !st.sess.g.cfg.Media.RemoteMute || len(st.tracks) == 0 {
		return false
	}
	for _, t := range st.tracks {
		if !t.Muted {
			return false
		}
	}
	return true
}
