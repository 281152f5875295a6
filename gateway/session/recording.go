package session

import (
	"cmp"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// startEgresses starts the recording and the republishing that the client requested, when its stream comes
// up.
func (st *stream) startEgresses() {
	s := st.sess
	switch {
	case !bool(st.req.Record):
	case s.app.Record:
		st.startRecording(s.table.Config.Egress.Template, func(string, error) {})
	default:
		s.log(zerolog.InfoLevel).Str("media", st.id).Str("hint", "the application has no recording.enabled").Msg("recording not allowed")
		s.table.Metrics.Egress.Egresses.WithLabelValues(string(translate.EgressRecord), egress.Forbidden).Inc()
	}
	if address := st.req.RTMPURL; address != "" {
		if !s.app.RTMPFullURL {
			address = egress.Address(address, st.name)
		}
		st.egresses.Republish(address)
		st.req.RTMPURL = ""
	}
}

// startRecording starts a recording and stops an earlier one. then gets the name of the new file.
func (st *stream) startRecording(t translate.FileTemplate, then func(file string, err error)) {
	st.egresses.StartRecording(t, translate.FileValues{
		StreamName: st.name, MediaID: st.id, SessionID: st.sess.id, Login: st.sess.recordLogin(),
		AudioCodec: st.codec(translate.Audio), VideoCodec: st.codec(translate.Video), Start: time.Now(),
	}, then)
}

// checkRTMP rejects an address that the application is not allowed to republish to.
func (s *Session) checkRTMP(req wcs.StreamRequest) error {
	if req.RTMPURL == "" || s.app.RTMPHosts.Allow(req.RTMPURL) {
		return nil
	}
	s.table.Metrics.Egress.Egresses.WithLabelValues(string(translate.EgressRTMP), egress.Forbidden).Inc()
	return errRTMP
}

// recordLogin is the value of {login}. For a client without a login it is the random end of the session id.
func (s *Session) recordLogin() string {
	return cmp.Or(s.login, s.id[strings.LastIndexByte(s.id, '/')+1:])
}

// reportError notifies client and backend of a fault that no status can carry.
func (s *Session) reportError(info string) {
	s.sendAs(wcs.ErrorEvent(info), hooks.ErrorEvent)
	if s.hooks.wants(hooks.ErrorEvent) {
		s.hooks.notify(hooks.ErrorEvent, s.hooks.body(hooks.ErrorBody{Info: info}))
	}
}
