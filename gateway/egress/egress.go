package egress

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/translate"
)

// egress is one recording or republishing. The egress service joins the stream's room and ends when the
// publisher leaves it. So the egresses of a dead pod end without being stopped.
type egress struct {
	set      *Set
	request  translate.EgressRequest // without URL once it was sent
	name     string                  // of a recording: its file's, without Config.Prefix
	id       string                  // LiveKit's; "" until it is known
	state    translate.EgressState
	stopping bool        // it must end
	stopped  bool        // LiveKit has the stop
	timer    *time.Timer // until the next query; nil before watch
}

func (e *egress) onStarted(now translate.Egress, err error) {
	switch _, handedOver := e.set.owner.State(); {
	case handedOver: // the pod that has the stream now finds the egress by its participant
	case err != nil && e.active():
		e.failed(err)
	case err == nil:
		e.count(started)
		e.bindID(now.ID)
		e.update(now)
		if e.active() {
			e.watch()
		}
	case e.open(): // it may have started nevertheless
		e.watch()
	}
}

// bindID sets the egress id from the StartEgress reply; it overrides an id learned from an earlier webhook.
func (e *egress) bindID(id string) {
	current := e.set.current[e.request.Kind]
	if current != e {
		e.set.replace(id)
	}
	for _, other := range []*egress{current, e} {
		if (other.id == id) != (other == e) {
			other.id, other.state, other.stopped = "", translate.EgressStarting, false
		}
	}
}

func (e *egress) streamOver() bool {
	over, _ := e.set.owner.State()
	return over
}

// active reports whether the stream must keep the egress.
func (e *egress) active() bool { return !e.streamOver() && !e.stopping }

// open reports whether the state of the egress still matters: it is active, or it cannot be stopped before
// its id is known.
func (e *egress) open() bool {
	return e.active() || !e.streamOver() && e.id == "" && e.set.current[e.request.Kind] == e
}

// update takes a state that LiveKit reports. Late, repeated and reordered reports have no effect, nor have
// those about an earlier egress of the stream.
func (e *egress) update(now translate.Egress) {
	if e.id == "" { // this one: there is one of a kind at a time. It may have been given up because the start timed out
		e.id, e.state = now.ID, translate.EgressStarting
		e.set.owner.SaveForResume()
		if e.stopping {
			e.stop()
		}
	}
	if now.ID != e.id || now.State <= e.state || e.state.Over() {
		return
	}
	e.state = now.State
	e.updateName(now.File)
	switch now.State {
	case translate.EgressActive:
		e.log(zerolog.InfoLevel).Msg("egress is active")
		e.set.owner.SaveForResume()
	case translate.EgressComplete:
		e.count(complete)
		e.log(zerolog.InfoLevel).Bool("wanted", e.active()).Msg("egress is complete")
		e.reportLoss("has ended")
	case translate.EgressFailed:
		e.log(zerolog.ErrorLevel).Str("cause", e.loggable(now.Error)).Msg("egress failed")
		e.markFailed()
	case translate.EgressStarting:
	}
}

// updateName takes the name that the egress service chose for the file.
func (e *egress) updateName(file string) {
	if file != "" && !strings.HasSuffix(file, e.name) {
		e.name = strings.TrimPrefix(file, e.set.s.d.Config.Prefix)
	}
}

// loggable returns a text of LiveKit or the egress service, unless it may quote the key in an RTMP address.
func (e *egress) loggable(text string) string {
	if e.request.Kind == translate.EgressRTMP {
		return "see the log of LiveKit or the egress service"
	}
	return text
}

// failed is the end of an egress that did not start.
func (e *egress) failed(err error) {
	cause := e.loggable(err.Error())
	if fault := new(translate.Error); errors.As(err, &fault) {
		cause = fault.Kind.String() + ": " + e.loggable(fault.Err.Error())
	}
	e.log(zerolog.ErrorLevel).Str("cause", cause).Str("hint", "LiveKit needs Redis and an egress service").Msg("egress not started")
	e.state = translate.EgressFailed
	e.markFailed()
}

func (e *egress) markFailed() {
	e.count(Failed)
	e.reportLoss("has failed")
}

// reportLoss notifies the owner of an end that it did not request.
func (e *egress) reportLoss(how string) {
	if e.active() {
		e.set.owner.Lost(e.request.Kind, how)
	}
}

// watch queries the state of the egress every QueryInterval.
func (e *egress) watch() {
	owner := e.set.owner
	e.timer = time.AfterFunc(QueryInterval, func() { owner.Post(e.query) })
}

func (e *egress) unwatch() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

func (e *egress) query() {
	if !e.open() || e.state.Over() {
		return
	}
	d, r, id := &e.set.s.d, e.request, e.id
	r.Not = slices.Clone(e.set.replaced)
	var now translate.Egress
	e.set.owner.Async(func() (err error) {
		ctx, cancel := context.WithTimeout(d.Context, queryTimeout)
		defer cancel()
		now, err = d.Client.FindEgress(ctx, r, id)
		return err
	}, func(err error) {
		missing := translate.KindOf(err) == translate.ErrKindNotFound && e.id == ""
		switch {
		case err == nil:
			e.update(now)
		case missing && e.active(): // the pod that requested it would have had an answer by now
			e.failed(errNotStarted)
			return
		case missing:
			return // there is nothing to stop
		}
		if e.open() {
			e.timer.Reset(QueryInterval)
		}
	})
}

// stop stops the egress now, or as soon as it has started. The channel is closed as StopAll says; it is nil
// if there is nothing to wait for.
func (e *egress) stop() <-chan struct{} {
	e.stopping = true
	if e.id == "" || e.stopped || e.state.Over() {
		return nil
	}
	e.stopped = true
	d, owner, id := &e.set.s.d, e.set.owner, e.id
	return d.Cleanup.Add(cleanup.Task{Op: "stop egress", Target: cleanup.EgressService, Expiry: stopExpiry, Run: func(ctx context.Context) error {
		now, err := d.Client.StopEgress(ctx, id)
		if err == nil {
			owner.Post(func() { e.update(now) })
		}
		return err
	}})
}

func (e *egress) count(result string) {
	e.set.s.d.Egresses.WithLabelValues(string(e.request.Kind), result).Inc()
}

func (e *egress) log(level zerolog.Level) *zerolog.Event {
	return e.set.owner.Log(level).Str("room", string(e.request.Room)).Str("kind", string(e.request.Kind)).
		Str("egress", e.id).Str("file", e.name)
}
