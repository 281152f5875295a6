package gateway

import "wcsgateway/translate/wcs"

// handleStreamEvent keeps what a publisher has muted in its record, where late players learn it. Events of players, and of any
// other type, are accepted in silence.
func handleStreamEvent(s *session, e wcs.StreamEvent) error {
	st := s.streams[e.MediaSessionID]
	if st == nil || !st.published || st.ending != nil {
		return nil
	}
	audio, video := st.audioMuted, st.videoMuted
	switch e.Type {
	case wcs.EventAudioMuted:
		audio = true
	case wcs.EventAudioUnmuted:
		audio = false
	case wcs.EventVideoMuted:
		video = true
	case wcs.EventVideoUnmuted:
		video = false
	}
	if audio == st.audioMuted && video == st.videoMuted {
		return nil
	}
	st.audioMuted, st.videoMuted = audio, video
	if st.phase == phaseUp { // otherwise it will be in the first record
		st.save(nil)
	}
	return nil
}
