package session

import (
	"encoding/json"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// handleStreamEvent takes what a publisher says to its players (protocol.md §2.8). Events of players, of
// streams that are gone, and of any other type are accepted in silence; so are data before PUBLISHING, which
// SDKs do not send.
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
