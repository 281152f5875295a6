package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Errors of StartRecording and StopRecording, beside those of the store and of LiveKit.
var (
	ErrNoSuchStream       = errors.New("no such published stream")
	ErrRecordingForbidden = errors.New("the stream's application may not record")
	ErrNotRecorded        = errors.New("stream is not recorded")
	ErrRecordingFailed    = errors.New("recording could not be begun")
)

// startEgresses starts the recording and the republishing that the client requested, when its stream comes up.
func (st *stream) startEgresses() {
	s := st.sess
	switch {
	case !bool(st.req.Record):
	case s.app.Record:
		st.startRecording(s.g.cfg.Egress.Template, func(string, error) {})
	default:
		s.log(zerolog.InfoLevel).Str("media", st.id).Str("hint", "the application has no recording.enabled").Msg("recording not allowed")
		s.g.metrics.egress.Egresses.WithLabelValues(string(translate.EgressRecord), egress.Forbidden).Inc()
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
func (s *session) checkRTMP(req wcs.StreamRequest) error {
	if req.RTMPURL == "" || s.app.RTMPHosts.Allow(req.RTMPURL) {
		return nil
	}
	s.g.metrics.egress.Egresses.WithLabelValues(string(translate.EgressRTMP), egress.Forbidden).Inc()
	return errRTMP
}

// recordLogin is the value of {login}. For a client without a login it is the random end of the session id.
func (s *session) recordLogin() string {
	return cmp.Or(s.login, s.id[strings.LastIndexByte(s.id, '/')+1:])
}

// reportError notifies client and backend of a fault that no status can carry.
func (s *session) reportError(info string) {
	s.sendAs(wcs.ErrorEvent(info), hooks.ErrorEvent)
	if s.hooks.wants(hooks.ErrorEvent) {
		s.hooks.notify(hooks.ErrorEvent, s.hooks.body(errorBody{Info: info}))
	}
}

// StartRecording records a published stream, on whichever pod it is, as the server's REST API asks (integration.md §2.2). A recording that runs is
// ended and another begun, as /recorder/startup does. An empty template is the configured one. It gives the name of the file, which
// has something in it some seconds later. It takes up to egress.Config.StartTimeout and some seconds. It fails with ErrNoSuchStream, ErrRecordingForbidden,
// ErrRecordingFailed (the log of the stream's pod tells why), translate.ErrFileTemplate, ErrPodSilent, or as the store does.
func (g *Gateway) StartRecording(ctx context.Context, stream string, t translate.FileTemplate) (file string, err error) {
	t = cmp.Or(t, g.cfg.Egress.Template)
	if err := t.Validate(); err != nil {
		return "", err
	}
	return g.askRecorder(ctx, stream, recordWish{Template: t})
}

// StopRecording ends the recording of a published stream. It fails with ErrNoSuchStream, ErrNotRecorded or ErrPodSilent, or as the store does.
func (g *Gateway) StopRecording(ctx context.Context, stream string) error {
	_, err := g.askRecorder(ctx, stream, recordWish{Stop: true})
	return err
}

// recordWish is the argument of adminRecord.
type recordWish struct {
	Publisher translate.Identity     `json:"publisher"`
	Stop      bool                   `json:"stop,omitempty"`
	Template  translate.FileTemplate `json:"template,omitempty"`
}

// recordAnswer is its answer.
type recordAnswer struct {
	File  string `json:"file,omitempty"`
	Fault string `json:"fault,omitempty"` // text of one of recordFaults
}

var recordFaults = []error{ErrNoSuchStream, ErrRecordingForbidden, ErrNotRecorded, ErrRecordingFailed}

// askRecorder has a wish fulfilled by the pod that has the stream.
func (g *Gateway) askRecorder(ctx context.Context, name string, w recordWish) (file string, err error) {
	rec, err := g.deps.Store.FindStream(ctx, name)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return "", ErrNoSuchStream
	case err != nil:
		return "", err
	}
	w.Publisher = translate.Identity(rec.Identity)
	var a recordAnswer
	if err := g.order(ctx, rec.Owner.Pod, adminRecord, w, &a); err != nil {
		return "", fmt.Errorf("recording: %w", err)
	}
	for _, fault := range recordFaults {
		if a.Fault == fault.Error() {
			return "", fault
		}
	}
	if a.Fault != "" {
		return "", ErrRecordingFailed // for a reason that a pod of another version has
	}
	return a.File, nil
}

// recordHere fulfils a wish about a stream of this pod.
func (g *Gateway) recordHere(ctx context.Context, w recordWish) recordAnswer {
	st := g.streams.find(w.Publisher)
	if st == nil {
		return recordAnswer{Fault: ErrNoSuchStream.Error()}
	}
	done := make(chan recordAnswer, 1)
	st.sess.loop.Post(func() {
		st.fulfil(w, func(file string, err error) {
			a := recordAnswer{File: file}
			if err != nil {
				a.Fault = err.Error()
			}
			done <- a
		})
	})
	select {
	case a := <-done:
		return a
	case <-ctx.Done():
		return recordAnswer{Fault: ErrRecordingFailed.Error()}
	}
}

// fulfil runs then on the loop: at once, or when LiveKit has answered.
func (st *stream) fulfil(w recordWish, then func(file string, err error)) {
	switch {
	case st.ending != nil || st.phase != phaseUp || !st.published:
		then("", ErrNoSuchStream)
	case w.Stop && !st.egresses.StopRecording():
		then("", ErrNotRecorded)
	case w.Stop:
		then("", nil)
	case !st.sess.app.Record:
		then("", ErrRecordingForbidden)
	default:
		st.startRecording(w.Template, func(file string, err error) {
			if err != nil {
				file, err = "", ErrRecordingFailed
			}
			then(file, err)
		})
	}
}
