package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// startMethod is the method that decides on the stream.
func (st *stream) startMethod() hooks.Method {
	if st.published {
		return hooks.PublishStream
	}
	return hooks.PlayStream
}

// askStart lets the backend decide on a stream. A client that stops it meanwhile does not wait; the call is brought to its end
// all the same, because what comes after it in the session must not overtake it.
func (st *stream) askStart(m hooks.Method, arg json.RawMessage) {
	h := st.sess.hooks
	var body hooks.Object
	if json.Unmarshal(arg, &body) != nil || body == nil {
		body = hooks.Object{} // never: StreamRequest was decoded of it
	}
	put(body, object(st.requestBody()))
	body = h.addressed(body)
	h.askIn(st.trace.in(st.sess.g.ctx), m, body, func(answer hooks.Object, err error) {
		if st.ending != nil {
			return
		}
		if err == nil {
			err = st.overwrite(h.policies.For(m), body, answer)
		}
		if err != nil {
			st.fail(err)
			return
		}
		st.launch()
	})
}

// overwritable are the members of publishStream and playStream that a backend may change, as far as this server makes use of them.
var overwritable = []string{"name", "record", "bitrate", "minBitrate", "maxBitrate"}

// idleOverwrites are the members, with their methods, that a backend means to change without effect: of answers to other methods nothing
// is taken, and custom of a stream is for the backend alone. connect needs no policy: all of its answer is taken.
func idleOverwrites(policies hooks.Policies) (idle []string) {
	for m, p := range policies {
		if p.Mode != hooks.Overwrite || m == hooks.Connect {
			continue
		}
		for _, name := range p.Overwrite {
			if m != hooks.PublishStream && m != hooks.PlayStream || !slices.Contains(overwritable, name) {
				idle = append(idle, string(m)+"."+name)
			}
		}
	}
	slices.Sort(idle)
	return idle
}

// overwrite takes what the backend has changed into the request. A new name has to be as good as a client's.
func (st *stream) overwrite(p hooks.Policy, body, answer hooks.Object) error {
	got, changed := p.Take(body, answer)
	var ignored []string
	taken := make(hooks.Object)
	for _, name := range changed {
		if slices.Contains(overwritable, name) {
			taken[name] = got[name]
		} else {
			ignored = append(ignored, name)
		}
	}
	log := st.sess.hooks.log
	if len(ignored) > 0 {
		log.Warn().Str("media", st.id).Strs("members", ignored).Msg("the application's backend has changed what this server makes no use of")
	}
	req := st.req
	if err := rebind(taken, &req); err != nil {
		return fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
	}
	if err := st.sess.checkName(req.Name); err != nil {
		return fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
	}
	if req.Name != st.name {
		log.Info().Str("media", st.id).Msg("stream renamed by the application's backend")
	}
	st.req, st.name = req, req.Name
	return nil
}

// report tells the backend a status of the stream.
func (st *stream) report(status wcs.Status, info string) {
	if h := st.sess.hooks; h.wants(hooks.StreamStatusEvent) {
		h.tell(hooks.StreamStatusEvent, h.body(st.body(status, info)))
	}
}

// reportStop tells the backend that the client stops the stream. It cannot keep the client from it: the client's media has
// ended by then.
func (st *stream) reportStop() {
	m := hooks.StopStream
	if st.published {
		m = hooks.UnPublishStream
	}
	h := st.sess.hooks
	if st.ending != nil || !h.wants(m) {
		return
	}
	h.tell(m, h.body(stopBody{
		MediaSessionID: st.id, Name: st.name, Published: st.published, HasVideo: st.kinds.Video, HasAudio: st.kinds.Audio, Status: st.statusNow(),
	}))
}

// statusNow is the status of a stream that has not ended.
func (st *stream) statusNow() wcs.Status {
	switch {
	case st.phase != phaseUp:
		return statusPending
	case st.published:
		return wcs.StatusPublishing
	}
	return wcs.StatusPlaying
}

// keepAlive begins to call StreamKeepAliveEvent, if the application asks for it: the first time at random within the interval, so
// that the calls of streams that began together are spread.
func (st *stream) keepAlive() {
	h := st.sess.hooks
	if h == nil || h.app.Hooks.KeepAlive == 0 || !h.wants(hooks.StreamKeepAliveEvent) {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(rand.N(h.app.Hooks.KeepAlive), func() { st.sess.loop.post(func() { st.beat(timer) }) })
	st.timers = append(st.timers, timer)
}

// beat asks whether the stream may go on. The next time comes an interval after the answer.
func (st *stream) beat(timer *time.Timer) {
	if st.ending != nil {
		return
	}
	const m = hooks.StreamKeepAliveEvent
	h := st.sess.hooks
	h.call(st.sess.g.ctx, m, h.body(st.body(st.statusNow(), "")), func(_ hooks.Object, err error) {
		st.sess.loop.post(func() {
			switch {
			case st.ending != nil:
				return
			case refused(err) && h.policies.For(m).OnError == hooks.Fail:
				st.sess.g.metrics.hookVetoes.WithLabelValues(string(m)).Inc()
				st.end(ending{status: wcs.StatusFailed, info: wcs.InfoTerminatedByKeepAlive, class: classClient})
				return
			case err != nil:
				h.eventFailed(m, err)
			}
			timer.Reset(h.app.Hooks.KeepAlive)
		})
	})
}
