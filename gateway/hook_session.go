package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
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

	queued atomic.Int64  // bytes of the calls in line
	bytes  *atomic.Int64 // those of all sessions of the application

	// loop
	id         sessionID          // of the session, which need not be established
	giveUp     context.CancelFunc // of the connect call
	connection hooks.Object       // what the session was opened with, as the backend has it
	policies   hooks.Policies     // of restClientConfig
	asked      int                // calls that a client waits for
}

const (
	maxAsked = 64 // calls that a client's commands have put into its line

	// A client may have bodies of this size wait, beside the first, and all clients of an application together: they are as large as the
	// clients like, and a backend that hangs takes none.
	maxLineBytes = 1 << 20
	maxAppBytes  = 64 << 20
)

func newSessionHooks(s *session, app *App, id sessionID) *sessionHooks {
	h := &sessionHooks{sess: s, app: app, id: id, log: s.g.hookLog.With().Str("session", id.public).Str("app", app.Key).Logger()}
	h.bytes = s.g.hookBytes(app.Key)
	return h
}

// place is how many calls may wait before one of a method. What clients can cause as often as they like leaves room for the events of
// streams, and those for the events at the end of a session with all its streams: none of these is lost.
func (h *sessionHooks) place(m hooks.Method) int {
	streams := h.sess.g.cfg.MaxStreams
	switch {
	case h.sess.closed:
		return 2*maxAsked + 4*streams + 1
	case m == hooks.StreamStatusEvent, m == hooks.UnPublishStream, m == hooks.StopStream:
		return 2*maxAsked + 2*streams
	}
	return 2 * maxAsked
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
	size := sizeOf(sent)
	if !h.sess.closed && h.queued.Load() > 0 && (h.queued.Load()+size > maxLineBytes || h.bytes.Load()+size > maxAppBytes) {
		h.dropped(m, done)
		return
	}
	h.count(size)
	g.hookCalls.Add(1)
	queued := h.line.DoWithin(h.place(m), func() {
		defer g.hookCalls.Done()
		defer h.count(-size)
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
		h.count(-size)
		g.hookCalls.Done()
		h.dropped(m, done)
	}
}

func sizeOf(o hooks.Object) (size int64) {
	for name, value := range o {
		size += int64(len(name) + len(value))
	}
	return size
}

func (h *sessionHooks) count(bytes int64) {
	h.queued.Add(bytes)
	h.bytes.Add(bytes)
}

// hookBytes counts the bytes of an application's calls that wait.
func (g *Gateway) hookBytes(app string) *atomic.Int64 {
	n, _ := g.hookQueues.LoadOrStore(app, new(atomic.Int64))
	return n.(*atomic.Int64)
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
