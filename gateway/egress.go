package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// EgressConfig is about what LiveKit's egress service does with published streams.
type EgressConfig struct {
	Prefix       string                 // of the files of recordings: a directory of the egress service, or the beginning of keys
	Template     translate.FileTemplate // the rest of the file's name
	StartTimeout time.Duration          // for the egress service to answer; without one nobody does
}

const (
	egressParallel = 32               // starts that a pod has under way; more wait for their turn, within EgressConfig.StartTimeout
	egressAsk      = 5 * time.Second  // between two times that LiveKit is asked how an egress stands: webhooks may be lost
	egressStop     = 10 * time.Second // for how long a stop is tried: an egress whose participant has left ends by itself
)

// egress is one recording or republishing of a published stream. The egress service takes part in the stream's room and ends when the
// publisher leaves it, so nobody need end what a dead pod has begun. It is on the session's loop.
type egress struct {
	st       *stream
	request  translate.EgressRequest // without URL once it was sent
	name     string                  // of a recording: its file's, without EgressConfig.Prefix
	id       string                  // LiveKit's; "" until it is known
	state    translate.EgressState
	stopping bool        // it shall end
	stopped  bool        // LiveKit is told so
	timer    *time.Timer // until LiveKit is asked; nil before watch
}

var (
	errEgressBusy = errors.New("too many egress requests are waiting for an answer")
	errNoEgress   = errors.New("the egress that another pod has asked for was never begun")
)

// startEgress asks for an egress of a stream that is up. then runs on the loop when it is answered, or has failed.
func (st *stream) startEgress(r translate.EgressRequest, name string, then func(error)) {
	g := st.sess.g
	r.Room, r.Publisher = st.room, st.identity
	e := st.addEgress(&egress{st: st, request: r, name: name, state: translate.EgressStarting})
	e.request.URL = "" // a secret that is not needed any more
	st.sess.remember()
	async(st.sess, func() (translate.Egress, error) { return g.startEgress(r) }, func(now translate.Egress, err error) {
		e.onStarted(now, err)
		then(err)
	})
}

// addEgress puts an egress in the place of an earlier one of its kind.
func (st *stream) addEgress(e *egress) *egress {
	if st.egresses == nil {
		st.egresses = make(map[translate.EgressKind]*egress)
	}
	if old := st.egresses[e.request.Kind]; old != nil {
		old.unwatch()
		st.replace(old.id)
	}
	st.egresses[e.request.Kind] = e
	return e
}

// maxReplaced bounds the ids that are remembered. An egress ends within seconds of its stop.
const maxReplaced = 8

// replace remembers an egress that is not the stream's any more: what LiveKit still says of it is not about the one in its place.
func (st *stream) replace(id string) {
	if id == "" || slices.Contains(st.replaced, id) {
		return
	}
	st.replaced = append(st.replaced, id)
	st.replaced = st.replaced[max(0, len(st.replaced)-maxReplaced):]
}

func (g *Gateway) startEgress(r translate.EgressRequest) (translate.Egress, error) {
	ctx, cancel := g.withTimeout(g.cfg.Egress.StartTimeout)
	defer cancel()
	select {
	case g.egressing <- struct{}{}:
		defer func() { <-g.egressing }()
	case <-ctx.Done():
		return translate.Egress{}, &translate.Error{Kind: translate.ErrKindUnavailable, Op: "start egress", Err: errEgressBusy}
	}
	return g.deps.Egress.StartEgress(ctx, r)
}

func (e *egress) onStarted(now translate.Egress, err error) {
	switch ending := e.st.ending; {
	case ending != nil && ending.moved: // whoever has the stream now finds the egress by its participant
	case err != nil && e.wanted():
		e.failed(err)
	case err == nil:
		e.count("started")
		e.isThe(now.ID)
		e.learn(now)
		if e.wanted() {
			e.watch()
		}
	case e.open(): // it may have been begun all the same
		e.watch()
	}
}

// isThe takes the id that StartEgress has answered, whatever a webhook has made believe before.
func (e *egress) isThe(id string) {
	current := e.st.egresses[e.request.Kind]
	if current != e {
		e.st.replace(id)
	}
	for _, other := range []*egress{current, e} {
		if (other.id == id) != (other == e) {
			other.id, other.state, other.stopped = "", translate.EgressStarting, false
		}
	}
}

// wanted tells whether the stream shall go on having the egress.
func (e *egress) wanted() bool { return e.st.ending == nil && !e.stopping }

// open tells whether something hangs on how the egress stands: it is wanted, or it cannot be stopped before its id is known.
func (e *egress) open() bool {
	return e.wanted() || e.st.ending == nil && e.id == "" && e.st.egresses[e.request.Kind] == e
}

// learn takes what LiveKit says of the egress. Late, repeated and disordered news, and news of an earlier egress of
// the stream, do no harm.
func (e *egress) learn(now translate.Egress) {
	if e.id == "" { // ours: there is one of a kind at a time. If it was given up because nobody had answered, it is back
		e.id, e.state = now.ID, translate.EgressStarting
		e.st.sess.remember()
		if e.stopping { // meanwhile
			e.stop()
		}
	}
	if now.ID != e.id || now.State <= e.state || e.state.Over() {
		return
	}
	e.state = now.State
	e.learnName(now.File)
	switch now.State {
	case translate.EgressActive:
		e.log(zerolog.InfoLevel).Msg("egress is active")
		e.st.sess.remember()
	case translate.EgressComplete:
		e.completed()
	case translate.EgressFailed:
		e.log(zerolog.ErrorLevel).Str("cause", e.loggable(now.Error)).Msg("egress failed")
		e.broken()
	case translate.EgressStarting:
	}
}

// learnName takes the name that the egress service has given a file.
func (e *egress) learnName(file string) {
	if file != "" && !strings.HasSuffix(file, e.name) {
		e.name = strings.TrimPrefix(file, e.st.sess.g.cfg.Egress.Prefix)
	}
}

// loggable is a text of LiveKit or the egress service. Where the output's address has a key it may quote that.
func (e *egress) loggable(text string) string {
	if e.request.Kind == translate.EgressRTMP {
		return "the log of LiveKit or the egress service has it"
	}
	return text
}

// completed is the end of an egress.
func (e *egress) completed() {
	e.count("complete")
	e.log(zerolog.InfoLevel).Bool("wanted", e.wanted()).Msg("egress is complete")
	e.interrupted("has ended")
}

// failed is the end of an egress that could not be begun.
func (e *egress) failed(err error) {
	cause := e.loggable(err.Error())
	if fault := new(translate.Error); errors.As(err, &fault) {
		cause = fault.Kind.String() + ": " + e.loggable(fault.Err.Error())
	}
	e.log(zerolog.ErrorLevel).Str("cause", cause).Msg("egress could not be begun: does LiveKit have Redis and an egress service?")
	e.state = translate.EgressFailed
	e.broken()
}

func (e *egress) broken() {
	e.count(egressFailed)
	e.interrupted("has failed")
}

// interrupted lets the application know of an end that is not ours. A stream without its recording goes on; one whose republishing somebody waits
// for elsewhere does not (design.md §9).
func (e *egress) interrupted(how string) {
	st := e.st
	if !e.wanted() {
		return
	}
	if e.request.Kind == translate.EgressRTMP {
		st.end(ending{status: wcs.StatusFailed, info: wcs.InfoFailedByRTMPWriterError, class: classUpstream})
		return
	}
	st.sess.remember()
	st.sess.reportError("Recording of " + st.name + " " + how)
}

// watch asks LiveKit from time to time how the egress stands.
func (e *egress) watch() {
	e.timer = time.AfterFunc(egressAsk, func() { e.st.sess.loop.Post(e.ask) })
}

func (e *egress) unwatch() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

func (e *egress) ask() {
	if !e.open() || e.state.Over() {
		return
	}
	g, r, id := e.st.sess.g, e.request, e.id
	r.Not = slices.Clone(e.st.replaced)
	async(e.st.sess, func() (translate.Egress, error) {
		ctx, cancel := g.withTimeout(askTimeout)
		defer cancel()
		return g.deps.Egress.FindEgress(ctx, r, id)
	}, func(now translate.Egress, err error) {
		switch {
		case err == nil:
			e.learn(now)
		case translate.KindOf(err) == translate.ErrKindNotFound && e.id == "" && e.wanted(): // the pod that has asked for it would have an answer by now
			e.failed(errNoEgress)
			return
		case translate.KindOf(err) == translate.ErrKindNotFound && e.id == "":
			return // there is nothing to stop
		}
		if e.open() {
			e.timer.Reset(egressAsk)
		}
	})
}

// stop ends the egress, or sees to it that it is ended as soon as it has begun. The channel is closed when its state then, and with it the name of its file, is
// known, or the first try has failed; it is nil if there is nothing to wait for.
func (e *egress) stop() <-chan struct{} {
	e.stopping = true
	if e.id == "" || e.stopped || e.state.Over() {
		return nil
	}
	e.stopped = true
	g, id := e.st.sess.g, e.id
	return g.cleanup.Add(cleanup.Task{Op: "stop egress", Target: cleanup.EgressService, Expiry: egressStop, Run: func(ctx context.Context) error {
		now, err := g.deps.Egress.StopEgress(ctx, id)
		if err == nil {
			e.st.sess.loop.Post(func() { e.learn(now) })
		}
		return err
	}})
}

// stopEgresses ends all that the egress service does with the stream.
func (st *stream) stopEgresses() (ended []<-chan struct{}) {
	for _, e := range st.egresses {
		if c := e.stop(); c != nil {
			ended = append(ended, c)
		}
	}
	return ended
}

// onEgress takes a webhook about an egress of the stream's participant.
func (st *stream) onEgress(now translate.Egress) {
	if e := st.egresses[now.Kind]; e != nil && !slices.Contains(st.replaced, now.ID) {
		e.learn(now)
	}
}

// keptEgresses describes them for whoever takes the stream's session.
func (st *stream) keptEgresses() (kept []state.Egress) {
	for kind, e := range st.egresses {
		kept = append(kept, state.Egress{Kind: string(kind), ID: e.id, State: int(e.state), File: e.name, Stopping: e.stopping, Replaced: slices.Clone(st.replaced)})
	}
	return kept
}

// reviveEgresses is the reverse of keptEgresses.
func (st *stream) reviveEgresses(kept []state.Egress) {
	for _, k := range kept {
		st.replaced = k.Replaced
		r := translate.EgressRequest{Room: st.room, Publisher: st.identity, Kind: translate.EgressKind(k.Kind)}
		st.addEgress(&egress{st: st, request: r, name: k.File, id: k.ID, state: translate.EgressState(k.State), stopping: k.Stopping})
	}
}

// egressFailed is the result that operators are told of.
const egressFailed = "failed"

func (e *egress) count(result string) {
	e.st.sess.g.metrics.egresses.WithLabelValues(string(e.request.Kind), result).Inc()
}

func (e *egress) log(level zerolog.Level) *zerolog.Event {
	return e.st.sess.log(level).Str("media", e.st.id).Str("room", string(e.request.Room)).Str("kind", string(e.request.Kind)).
		Str("egress", e.id).Str("file", e.name)
}
