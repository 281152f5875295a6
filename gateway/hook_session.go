package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// sessionHooks is what a session has to do with its application's backend. Its calls are made one at a time, in the order in
// which things have happened in the session (integration.md §1.1). nil is that of an application without a backend.
type sessionHooks struct {
	// set once
	sess *session
	app  *App
	log  zerolog.Logger
	line hooks.Line

	// loop
	id         sessionID          // of the session, which need not be established
	giveUp     context.CancelFunc // of the connect call
	connection hooks.Object       // what the session was opened with, as the backend has it
	policies   hooks.Policies     // of restClientConfig
	asked      int                // calls that a client waits for
}

// maxAsked bounds the calls that a client's commands have put into its line: their bodies are as large as the client likes.
const maxAsked = 64

func newSessionHooks(s *session, app *App, id sessionID) *sessionHooks {
	h := &sessionHooks{sess: s, app: app, id: id, log: s.g.hookLog.With().Str("session", id.public).Str("app", app.Key).Logger()}
	h.line.Max = 2*maxAsked + 4*s.g.cfg.MaxStreams // none of the events at the end of a session with all its streams is lost
	return h
}

// newHookLog logs no more than a few of many warnings: of a backend that is down each call makes one, and the metrics count them all.
func newHookLog(log zerolog.Logger) zerolog.Logger {
	few := &zerolog.BurstSampler{Burst: 20, Period: time.Second}
	return log.Sample(zerolog.LevelSampler{WarnSampler: few, ErrorSampler: few})
}

// wants tells whether a method is to be called.
func (h *sessionHooks) wants(m hooks.Method) bool {
	return h != nil && h.app.Hooks.Backend.Sends(m) && h.policies.For(m).Mode != hooks.Disable
}

// tell calls the method of an event. The answer changes nothing; that there is none, or a bad one, is told to the client if
// the backend has asked for it (integration.md §1.5).
func (h *sessionHooks) tell(m hooks.Method, body hooks.Object) {
	h.call(h.sess.g.ctx, m, body, func(_ hooks.Object, err error) {
		if err != nil {
			h.sess.loop.post(func() { h.eventFailed(m, err) })
		}
	})
}

func (h *sessionHooks) eventFailed(m hooks.Method, err error) {
	s := h.sess
	h.log.Warn().Err(err).Str("hook", string(m)).Msg("event was not taken by the application's backend")
	if h.policies.For(m).OnError != hooks.Fail || m == hooks.ErrorEvent || s.closed {
		return
	}
	s.tellError(string(m) + ": " + classify(err).info)
}

// ask calls a method that the backend may refuse. then runs on the loop; its error is nil if things go on, also when the call
// has failed and that does not matter. It does not run once the session is over.
func (h *sessionHooks) ask(m hooks.Method, body hooks.Object, then func(answer hooks.Object, err error)) {
	h.askIn(h.sess.g.ctx, m, body, then)
}

// askIn is ask with a context of the gateway's, which may have a trace.
func (h *sessionHooks) askIn(ctx context.Context, m hooks.Method, body hooks.Object, then func(answer hooks.Object, err error)) {
	answered := func(answer hooks.Object, err error) {
		h.sess.loop.post(func() {
			h.asked--
			if !h.sess.closed {
				then(answer, h.decide(m, err))
			}
		})
	}
	h.asked++
	if h.asked > maxAsked {
		h.dropped(m, answered)
		return
	}
	h.call(ctx, m, body, answered)
}

// decide tells what a failed call means for the client's wish (integration.md §1.5).
func (h *sessionHooks) decide(m hooks.Method, err error) error {
	if err == nil {
		return nil
	}
	if m != hooks.Connect && h.policies.For(m).OnError != hooks.Fail && !h.app.Hooks.FailClosed {
		h.log.Warn().Err(err).Str("hook", string(m)).Msg("the application's backend does not agree; the client goes on, as restOnError says")
		return nil
	}
	h.sess.g.metrics.hookVetoes.WithLabelValues(string(m)).Inc()
	return fmt.Errorf("%s hook: %w", m, err)
}

// call puts a call into the session's line. done runs beside the loop.
func (h *sessionHooks) call(ctx context.Context, m hooks.Method, body hooks.Object, done func(hooks.Object, error)) {
	g := h.sess.g
	sent := h.policies.For(m).Request(body)
	g.hookCalls.Add(1)
	queued := h.line.Do(func() {
		defer g.hookCalls.Done()
		var answer hooks.Object
		err := errPanic // unless Call returns
		defer func() { done(answer, err) }()
		defer g.recovered()
		since := time.Now()
		ctx, end := g.tracedHook(ctx, m)
		defer func() { end(err) }()
		answer, err = h.app.Hooks.Backend.Call(ctx, m, sent)
		h.log.Debug().Str("hook", string(m)).Dur("dur_ms", time.Since(since)).AnErr("err", err).Msg("backend called")
	})
	if !queued {
		g.hookCalls.Done()
		h.dropped(m, done)
	}
}

// dropped is the end of a call that is not made because the session's line is long enough.
func (h *sessionHooks) dropped(m hooks.Method, done func(hooks.Object, error)) {
	h.sess.g.metrics.HookCall(m, 0, hooks.ErrBusy)
	done(nil, fmt.Errorf("%w: the session has too many calls in line", hooks.ErrBusy))
}

// sendAs sends a message that these methods stand for, without what the backend does not want the client to see
// (clientExclude).
func (s *session) sendAs(frame []byte, methods ...hooks.Method) {
	if s.hooks != nil {
		frame = s.hooks.forClient(frame, methods)
	}
	s.send(frame)
}

func (h *sessionHooks) forClient(frame []byte, methods []hooks.Method) []byte {
	for _, m := range methods {
		p := h.policies.For(m)
		if len(p.ClientExclude) == 0 {
			continue
		}
		frame = wcs.Edit(frame, func(arg hooks.Object) hooks.Object {
			var info hooks.Object
			if json.Unmarshal(arg["streamInfo"], &info) == nil { // it repeats some members
				arg["streamInfo"] = raw(p.ForClient(info))
			}
			return p.ForClient(arg)
		})
	}
	return frame
}

// refused tells whether the backend has said no, which is more than that it has not answered.
func refused(err error) bool {
	var r *hooks.Refusal
	return errors.As(err, &r)
}
