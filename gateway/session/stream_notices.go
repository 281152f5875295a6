package session

import (
	"encoding/json"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// The events of a publisher (mutes, data) are published with the stream's record to the pods with players,
// one message for each pod. Since there is one write at a time, they stay in order. If a message is lost its
// data is lost, but mutes are not: they are also in the record, and in the attributes of the publisher's
// participant, which players' pods read with each query of the room at LiveKit. Since mute changes are
// counted, a player is notified of each state once.

// Limits of the events that are pending, for Redis or for LiveKit.
const (
	MaxEvents     = 256
	maxEventBytes = 2 << 20
)

// events is a queue of a publisher's events.
type events struct {
	list  []state.StreamNotice
	bytes int
}

func (o *events) add(s state.StreamNotice) error {
	if len(o.list) >= MaxEvents || o.bytes+len(s.Payload) > maxEventBytes && len(o.list) > 0 {
		return errTooManyEvents
	}
	o.list = append(o.list, s)
	o.bytes += len(s.Payload)
	return nil
}

func (o *events) take() []state.StreamNotice {
	list := o.list
	*o = events{}
	return list
}

// publishEvent sends an event to players and native participants. It has no effect before the stream is up:
// mutes are in the first record.
func (st *stream) publishEvent(s state.StreamNotice) error {
	if st.phase != phaseUp {
		return nil
	}
	if err := st.publishToPlayers(s); err != nil {
		return err
	}
	return st.relay.queue(s)
}

// publishToPlayers sends an event to the players of a publisher that is up, on all pods.
func (st *stream) publishToPlayers(s state.StreamNotice) error {
	if err := st.writer.outbox.add(s); err != nil {
		return err
	}
	st.writer.save(nil)
	return nil
}

// onPublisherNotice passes a publisher's events to a player, and the mutes in its record if they are newer.
func (st *stream) onPublisherNotice(notices []state.StreamNotice, rec state.Stream) {
	for _, s := range notices {
		if s.Type != string(wcs.EventData) {
			st.applyMutes(translate.Mutes{Audio: s.AudioMuted, Video: s.VideoMuted, Changes: s.Mutes})
		} else if st.phase == phaseUp {
			st.sess.relay(wcs.StreamData(st.id, s.Payload))
		}
	}
	st.applyMutes(mutesOf(rec))
}

func mutesOf(rec state.Stream) translate.Mutes {
	return translate.Mutes{Audio: rec.AudioMuted, Video: rec.VideoMuted, Changes: rec.Mutes}
}

// applyMutes takes a publisher's mutes, unless they are outdated, and notifies a player that is up. Before
// that, the mutes are in its first status.
func (st *stream) applyMutes(m translate.Mutes) {
	if m.Changes <= st.mutes.Changes {
		return
	}
	before := st.mutes
	st.mutes = m
	if st.phase != phaseUp {
		return
	}
	if m.Audio != before.Audio {
		st.sendMute(m.Audio, wcs.EventAudioMuted, wcs.EventAudioUnmuted)
	}
	if m.Video != before.Video {
		st.sendMute(m.Video, wcs.EventVideoMuted, wcs.EventVideoUnmuted)
	}
}

func (st *stream) sendMute(muted bool, mute, unmute wcs.StreamEventType) {
	typ := unmute
	if muted {
		typ = mute
	}
	st.sess.send(wcs.StreamMute(st.id, typ, st.name))
}

// handleStreamEvent passes a publisher's mutes and data to its players
// (docs/wcs-protocol.md#sendstreamevent). Events of players, of ended streams and of other types have no
// effect, nor do data before PUBLISHING, which no SDK sends.
func handleStreamEvent(s *Session, e wcs.StreamEvent) error {
	st := s.streams[e.MediaSessionID]
	if st == nil || !st.published || st.ending != nil {
		return nil
	}
	m := st.mutes
	switch e.Type {
	case wcs.EventAudioMuted:
		m.Audio = true
	case wcs.EventAudioUnmuted:
		m.Audio = false
	case wcs.EventVideoMuted:
		m.Video = true
	case wcs.EventVideoUnmuted:
		m.Video = false
	case wcs.EventData:
		return st.sendData(e.Payload)
	}
	if m == st.mutes {
		return nil
	}
	m.Changes++
	st.mutes = m
	return st.publishEvent(state.StreamNotice{Type: string(e.Type), AudioMuted: m.Audio, VideoMuted: m.Video, Mutes: m.Changes})
}

// sendData sends data to all who watch the stream: its players on all pods, and native participants.
func (st *stream) sendData(payload json.RawMessage) error {
	if st.phase != phaseUp {
		return nil
	}
	if err := st.sess.table.Settings().Limits.CheckPayload(payload); err != nil {
		return err
	}
	return st.publishEvent(state.StreamNotice{Type: string(wcs.EventData), Payload: payload})
}
