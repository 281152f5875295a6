package gateway

import (
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// What a publisher says (mute changes, data) goes with the stream's record to the pods that have players, one message for each pod, and
// one write at a time keeps it in order. A message may be lost; then data is lost, but not what is muted: that is in
// the record, and in the attributes of the publisher's participant, which players' pods look at whenever they ask LiveKit about the
// room. As the changes are counted, a player is told of each state once, wherever it learns it from.

// Bounds of what waits to be written, for Redis or for LiveKit.
const (
	maxSaid      = 256
	maxSaidBytes = 2 << 20
)

// outbox is what a publisher has said and is not on its way yet.
type outbox struct {
	said  []state.Said
	bytes int
}

func (o *outbox) add(s state.Said) error {
	if len(o.said) >= maxSaid || o.bytes+len(s.Payload) > maxSaidBytes && len(o.said) > 0 {
		return errTooMuchSaid
	}
	o.said = append(o.said, s)
	o.bytes += len(s.Payload)
	return nil
}

func (o *outbox) take() []state.Said {
	said := o.said
	*o = outbox{}
	return said
}

// say sends what a publisher says to its players and to native participants. Before the stream is up it will be in the first record.
func (st *stream) say(s state.Said) error {
	if st.phase != phaseUp {
		return nil
	}
	if err := st.tellPlayers(s); err != nil {
		return err
	}
	return st.relayData(s)
}

// tellPlayers sends something to the players of a publisher that is up, on all pods.
func (st *stream) tellPlayers(s state.Said) error {
	if err := st.toPlayers.add(s); err != nil {
		return err
	}
	st.save(nil)
	return nil
}

// hear tells a player what its publisher has said, and what is newer than the player knows.
func (st *stream) hear(said []state.Said, rec state.Stream) {
	for _, s := range said {
		if s.Type != string(wcs.EventData) {
			st.learnMutes(translate.Mutes{Audio: s.AudioMuted, Video: s.VideoMuted, Changes: s.Mutes})
		} else if st.phase == phaseUp {
			st.sess.relay(wcs.StreamData(st.id, s.Payload))
		}
	}
	st.learnMutes(mutesOf(rec))
}

func mutesOf(rec state.Stream) translate.Mutes {
	return translate.Mutes{Audio: rec.AudioMuted, Video: rec.VideoMuted, Changes: rec.Mutes}
}

// learnMutes takes over what a publisher has muted, unless it is old, and tells a player that is up. Others have it in
// their first status.
func (st *stream) learnMutes(m translate.Mutes) {
	if m.Changes <= st.muteChanges {
		return
	}
	before := st.mutes()
	st.setMutes(m)
	if st.phase != phaseUp {
		return
	}
	if m.Audio != before.Audio {
		st.tellMute(m.Audio, wcs.EventAudioMuted, wcs.EventAudioUnmuted)
	}
	if m.Video != before.Video {
		st.tellMute(m.Video, wcs.EventVideoMuted, wcs.EventVideoUnmuted)
	}
}

func (st *stream) tellMute(muted bool, mute, unmute wcs.StreamEventType) {
	typ := unmute
	if muted {
		typ = mute
	}
	st.sess.send(wcs.StreamMute(st.id, typ, st.name))
}
