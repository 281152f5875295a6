package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/tracing"
	"wcsgateway/translate/wcs"
)

// sessionHooks makes a session's calls to its application's backend, one at a time, in the order of the
// events in the session. It is nil for an application without a backend.
type sessionHooks struct {
	// set once
	sess  *Session
	app   *apps.App
	log   zerolog.Logger
	queue *hooks.Queue

	// loop
	id            sessionID          // of the session, which might not be established yet
	cancelConnect context.CancelFunc // cancels the connect call
	connection    hooks.Object       // body of connect, as the backend last changed it
	policies      hooks.Policies     // of restClientConfig
	requests      int                // calls that a client's command waits for
}

func newSessionHooks(s *Session, app *apps.App, id sessionID) *sessionHooks {
	return &sessionHooks{
		sess: s, app: app, id: id, log: s.table.HookLog.With().Str("session", id.public).Str("app", app.Key).Logger(),
		queue: hooks.NewQueue(s.table.Config.MaxStreams, &app.Hooks.Backend.Queued),
	}
}

// wants reports whether the backend receives calls of method m for this session.
func (h *sessionHooks) wants(m hooks.Method) bool {
	return h != nil && h.app.Hooks.Backend.Sends(m) && h.policies.For(m).Mode != hooks.Disable
}

// event notifies the backend, if it receives calls of the method, with v as the body.
func (h *sessionHooks) event(m hooks.Method, v any) {
	if h.wants(m) {
		h.notify(m, h.body(v))
	}
}

// notify calls the method of an event. The answer is ignored. A failure is reported to the client if
// restOnError is FAIL.
func (h *sessionHooks) notify(m hooks.Method, body hooks.Object) {
	h.call(h.sess.table.Context, m, body, func(_ hooks.Object, err error) {
		if err != nil && h.sess.table.Context.Err() == nil {
			h.sess.loop.Post(func() { h.eventFailed(m, err) })
		}
	})
}

func (h *sessionHooks) eventFailed(m hooks.Method, err error) {
	s := h.sess
	h.log.Warn().Err(err).Str("hook", string(m)).Msg("backend event call failed")
	if h.policies.For(m).OnError != hooks.Fail || m == hooks.ErrorEvent || s.closed {
		return
	}
	s.reportError(string(m) + ": " + classify(err).info)
}

// request calls a method that the backend can refuse. then runs on the loop with the outcome; err is nil if
// the client's request continues, including after a failure that the policy ignores. then does not run once
// the session is closed. ctx is the gateway's, with a trace if there is one.
func (h *sessionHooks) request(ctx context.Context, m hooks.Method, body hooks.Object, then func(answer hooks.Object, err error)) {
	answered := func(answer hooks.Object, err error) {
		h.sess.loop.Post(func() {
			h.requests--
			if !h.sess.closed {
				then(answer, h.decide(m, err))
			}
		})
	}
	h.requests++
	if h.requests > hooks.MaxClientCalls {
		h.dropped(m, answered)
		return
	}
	h.call(ctx, m, body, answered)
}

// decide returns the error that rejects the client's request after a call ended with err, or nil if the
// policy ignores err.
func (h *sessionHooks) decide(m hooks.Method, err error) error {
	if err == nil {
		return nil
	}
	if m != hooks.Connect && h.policies.For(m).OnError != hooks.Fail && !h.app.Hooks.FailClosed {
		h.log.Warn().Err(err).Str("hook", string(m)).Msg("backend hook failed; continuing (restOnError=LOG)")
		return nil
	}
	h.sess.table.Metrics.HookVetoes.WithLabelValues(string(m)).Inc()
	return fmt.Errorf("%s hook: %w", m, err)
}

// call queues a call. done runs outside the loop.
func (h *sessionHooks) call(ctx context.Context, m hooks.Method, body hooks.Object, done func(hooks.Object, error)) {
	t := h.sess.table
	sent := h.policies.For(m).Request(body)
	t.hookCalls.Add(1)
	queued := h.queue.Do(m, sent, h.sess.closed, func() {
		defer t.hookCalls.Done()
		var answer hooks.Object
		err := errPanic // unless Call returns
		defer func() { done(answer, err) }()
		defer t.Recovered()
		since := time.Now()
		ctx, end := tracing.Call(ctx, t.Tracer, "hook "+string(m))
		defer func() { end(classify(err).info) }()
		answer, err = h.app.Hooks.Backend.Call(ctx, m, sent)
		t.Ends.Called(h.sess.id, string(m), sent, since, err)
		h.log.Debug().Str("hook", string(m)).Dur("dur_ms", time.Since(since)).AnErr("err", err).Msg("backend called")
	})
	if !queued {
		t.hookCalls.Done()
		h.dropped(m, done)
	}
}

// dropped reports a call that was not made because the session's queue is full.
func (h *sessionHooks) dropped(m hooks.Method, done func(hooks.Object, error)) {
	h.sess.table.Metrics.HookCall(m, 0, hooks.ErrBusy)
	done(nil, fmt.Errorf("%w: the session has too many queued calls", hooks.ErrBusy))
}

// sendAs sends the client a message without the members that the policies of the given methods exclude
// (clientExclude).
func (s *Session) sendAs(frame []byte, methods ...hooks.Method) {
	s.send(s.hooks.forClient(frame, methods...))
}

func (h *sessionHooks) forClient(frame []byte, methods ...hooks.Method) []byte {
	if h == nil {
		return frame
	}
	for _, m := range methods {
		p := h.policies.For(m)
		if len(p.ClientExclude) == 0 {
			continue
		}
		frame = wcs.Edit(frame, func(arg hooks.Object) hooks.Object {
			var info hooks.Object
			if json.Unmarshal(arg["streamInfo"], &info) == nil { // repeats some members
				arg["streamInfo"] = hooks.Raw(p.ForClient(info))
			}
			return p.ForClient(arg)
		})
	}
	return frame
}

func (st *stream) body(status wcs.Status, info string) hooks.StreamBody {
	b := hooks.StreamBody{StreamStatus: st.status(status, info), Transport: "UDP", CVOExtension: bool(st.req.CVOExtension)}
	b.AudioCodec, b.VideoCodec = b.StreamStatus.AudioCodec, b.StreamStatus.VideoCodec
	if wantsTCP(st.req) {
		b.Transport = "TCP"
	}
	return b
}

func (st *stream) requestBody() hooks.RequestBody {
	r := st.req
	return hooks.RequestBody{
		StreamHead: st.head(hooks.StatusPending), SDP: r.SDP, Record: bool(r.Record), Width: int(r.Width), Height: int(r.Height),
		Bitrate: int(r.Bitrate), MinBitrate: int(r.MinBitrate), MaxBitrate: int(r.MaxBitrate), Quality: int(r.Quality), MediaProvider: st.provider,
	}
}

// body returns v as the body of a hook.
func (h *sessionHooks) body(v any) hooks.Object { return h.addressed(hooks.Body(v)) }

// addressed sets the members that identify the server, the application and the session.
func (h *sessionHooks) addressed(o hooks.Object) hooks.Object {
	return hooks.Addressed(o, h.sess.table.Config.NodeID, h.app.Key, h.id.public)
}

// connectBody returns the members that the client sent and those that the server adds. authToken, a secret
// between client and server, is omitted.
func (h *sessionHooks) connectBody(c *wcs.Connection) hooks.Object {
	o := maps.Clone(c.Sent)
	hooks.Drop(o, memberAuthToken, memberPolicies, memberStatus)
	hooks.Put(o, hooks.Object{"origin": hooks.Raw(h.sess.Origin)})
	for _, flag := range wcs.ConnectionFlags {
		if _, sent := o[flag]; !sent {
			o[flag] = json.RawMessage("false")
		}
	}
	return h.addressed(o)
}

// reportError notifies client and backend of a fault that no status can carry.
func (s *Session) reportError(info string) {
	s.sendAs(wcs.ErrorEvent(info), hooks.ErrorEvent)
	s.hooks.event(hooks.ErrorEvent, hooks.ErrorBody{Info: info})
}
