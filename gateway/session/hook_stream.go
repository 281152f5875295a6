package session

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// authorizeStart lets the backend decide on a stream. If the client stops the stream before the answer, the
// call is still completed: later calls of the session must not overtake it.
func (st *stream) authorizeStart(m hooks.Method, arg json.RawMessage) {
	h := st.sess.hooks
	var body hooks.Object
	_ = json.Unmarshal(arg, &body) // does not fail: a StreamRequest with an SDP was decoded from it
	hooks.Put(body, hooks.Body(st.requestBody()))
	body = h.addressed(body)
	h.request(st.trace.In(st.sess.table.Context), m, body, func(answer hooks.Object, err error) {
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

// overwritable lists the members of publishStream and playStream that a backend can change with an effect.
var overwritable = []string{"name", "record", "bitrate", "minBitrate", "maxBitrate"}

// idleOverwrites returns the "method.member" entries of restOverwrite that have no effect: answers to other
// methods are not applied, and custom of a stream is only meant for the backend. connect needs no policy: its
// answer is always applied.
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

// overwrite applies the members that the backend changed to the request. A new name is validated like a
// client's.
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
		log.Warn().Str("media", st.id).Strs("members", ignored).Msg("overwritten members ignored")
	}
	req := st.req
	if err := rebind(taken, &req); err != nil {
		return fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
	}
	if said, name, p := st.said(), st.name, st.pull; req.Name != said {
		if err := st.rename(req.Name); err != nil {
			st.name, st.pull = name, p
			return fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
		}
		st.pull.Say(said) // the backend's address can have credentials
		log.Info().Str("media", st.id).Msg("stream renamed by backend hook")
	}
	st.req = req
	return nil
}

// notifyStatus sends the backend a status of the stream.
func (st *stream) notifyStatus(status wcs.Status, info string) {
	if h := st.sess.hooks; h != nil {
		h.event(hooks.StreamStatusEvent, st.body(status, info))
	}
}

// notifyStop notifies the backend that the client stops the stream. The backend cannot refuse: the client's
// media has already ended.
func (st *stream) notifyStop() {
	if st.ending == nil {
		st.sess.hooks.event(st.stopMethod, hooks.StopBody{StreamHead: st.head(st.statusNow())})
	}
}

// statusNow returns the status of a stream that has not ended.
func (st *stream) statusNow() wcs.Status {
	if st.phase != phaseUp {
		return hooks.StatusPending
	}
	return st.upStatus
}

// startKeepAliveHook starts the calls of StreamKeepAliveEvent if the application configured them. The first
// call comes at a random moment within the interval, which spreads the calls of streams that started
// together.
func (st *stream) startKeepAliveHook() {
	h := st.sess.hooks
	if h == nil || h.app.Hooks.KeepAlive == 0 || !h.wants(hooks.StreamKeepAliveEvent) {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(rand.N(h.app.Hooks.KeepAlive), func() { st.sess.loop.Post(func() { st.sendKeepAlive(timer) }) })
	st.timers = append(st.timers, timer)
}

// sendKeepAlive asks the backend whether the stream can continue. The next call follows an interval after the
// answer.
func (st *stream) sendKeepAlive(timer *time.Timer) {
	if st.ending != nil {
		return
	}
	const m = hooks.StreamKeepAliveEvent
	h := st.sess.hooks
	h.call(st.sess.table.Context, m, h.body(st.body(st.statusNow(), "")), func(_ hooks.Object, err error) {
		st.sess.loop.Post(func() {
			switch {
			case st.ending != nil:
				return
			case hooks.IsRefusal(err) && h.policies.For(m).OnError == hooks.Fail:
				st.sess.table.Metrics.HookVetoes.WithLabelValues(string(m)).Inc()
				st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoTerminatedByKeepAlive, reason: ends.BackendRejected})
				return
			case err != nil:
				h.eventFailed(m, err)
			}
			timer.Reset(h.app.Hooks.KeepAlive)
		})
	})
}
