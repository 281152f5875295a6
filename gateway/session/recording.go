package session

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/ends"
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
		s.table.Metrics.Egresses.WithLabelValues(string(translate.EgressRecord), egress.Forbidden).Inc()
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

// recordLogin is the value of {login}. For a client without a login it is the random end of the session id.
func (s *Session) recordLogin() string {
	return cmp.Or(s.login, s.id[strings.LastIndexByte(s.id, '/')+1:])
}

// egressOwner implements egress.Owner for a stream.
type egressOwner struct{ st *stream }

func (o egressOwner) Room() translate.RoomName { return o.st.room }

func (o egressOwner) Identity() translate.Identity { return o.st.identity }

func (o egressOwner) State() (over, handedOver bool) {
	e := o.st.ending
	return e != nil, e != nil && e.handedOver
}

func (o egressOwner) Async(work func() error, then func(error)) { asyncErr(o.st.sess, work, then) }

func (o egressOwner) Post(f func()) { o.st.sess.loop.Post(f) }

func (o egressOwner) SaveForResume() { o.st.sess.resume.save() }

// Lost notifies client and backend. A stream goes on without its recording. It ends without its republishing,
// which viewers elsewhere wait for.
func (o egressOwner) Lost(kind translate.EgressKind, how string) {
	if kind == translate.EgressRTMP {
		o.st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoFailedByRTMPWriterError, reason: ends.RTMPFailed})
		return
	}
	o.st.sess.resume.save()
	o.st.sess.reportError(fmt.Sprintf("Recording of %s %s", o.st.name, how))
}

func (o egressOwner) Log(level zerolog.Level) *zerolog.Event {
	return o.st.sess.log(level).Str("media", o.st.id)
}
