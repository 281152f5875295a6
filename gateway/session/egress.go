package session

import (
	"fmt"

	"github.com/rs/zerolog"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

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
		o.st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoFailedByRTMPWriterError, class: classUpstream})
		return
	}
	o.st.sess.resume.save()
	o.st.sess.reportError(fmt.Sprintf("Recording of %s %s", o.st.name, how))
}

func (o egressOwner) Log(level zerolog.Level) *zerolog.Event {
	return o.st.sess.log(level).Str("media", o.st.id)
}
