// Package egress has LiveKit's egress service record and republish published streams. It owns the state of
// each egress, from the request until it ends, and the limit on requests at a time. A Set belongs to one
// stream, and is used on its session's loop only.
package egress

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Client is LiveKit's egress API. Every call needs a context with a deadline; without an egress service
// StartEgress runs into it. Errors are *translate.Error.
type Client interface {
	// StartEgress requests an egress of a participant. After an error it may have started nevertheless.
	StartEgress(ctx context.Context, r translate.EgressRequest) (translate.Egress, error)
	// StopEgress ends an egress and returns its state then. An egress that has ended is not an error.
	StopEgress(ctx context.Context, id string) (translate.Egress, error)
	// FindEgress returns the state of an egress; with an empty id, that of the publisher's current egress of r's
	// kind. The error is translate.ErrKindNotFound if there is none.
	FindEgress(ctx context.Context, r translate.EgressRequest, id string) (translate.Egress, error)
	// ListEgresses returns the egresses of participants that have not ended, those of other systems included.
	ListEgresses(ctx context.Context) ([]translate.ListedEgress, error)
	// MaskRTMP returns an RTMP address as ListEgresses does, with its stream key masked.
	MaskRTMP(address string) string
}

// Owner is the stream that a Set belongs to. All methods but Post are called on the loop.
type Owner interface {
	Room() translate.RoomName
	Identity() translate.Identity
	// State reports whether the stream has ended, and whether it ended because another pod has taken it.
	State() (over, handedOver bool)
	// Async runs work off the loop and then, on the loop, then with its error.
	Async(work func() error, then func(error))
	// Post runs f on the loop. It may be called on any goroutine.
	Post(f func())
	// SaveForResume is called when Records has changed.
	SaveForResume()
	// Lost reports that an egress ended or failed that was not stopped; how completes a sentence that begins with
	// its name.
	Lost(kind translate.EgressKind, how string)
	// Log begins a log line about the stream.
	Log(level zerolog.Level) *zerolog.Event
}

// Config has the settings of recordings.
type Config struct {
	Prefix       string                 // of the files: a directory of the egress service, or the beginning of keys
	Template     translate.FileTemplate // the rest of the file's name
	StartTimeout time.Duration          // for the egress service to answer; without one there is no answer
}

const (
	// MaxStarting is the number of start requests of a pod at a time. Others are queued, within
	// Config.StartTimeout.
	MaxStarting = 32
	// QueryInterval is the time between two queries for the state of an egress: webhooks may be lost.
	QueryInterval = 5 * time.Second

	queryTimeout = 2 * time.Second
	stopExpiry   = 10 * time.Second // retries of a stop: an egress whose participant left ends automatically
)

// Values of the label result of Deps.Egresses.
const (
	Failed    = "failed"
	Forbidden = "forbidden" // by the application's settings; counted by the caller
	started   = "started"
	complete  = "complete"
)

// Deps are the dependencies of a Service.
type Deps struct {
	Config   Config
	Client   Client
	Cleanup  *cleanup.Queue
	Egresses *prometheus.CounterVec // kind, result
	Context  context.Context        // ends all calls
}

// Service makes the calls of all Sets of a pod.
type Service struct {
	d     Deps
	slots *semaphore.Weighted // of start requests
}

// New returns a Service.
func New(d Deps) *Service { return &Service{d: d, slots: semaphore.NewWeighted(MaxStarting)} }

var (
	errBusy       = errors.New("too many egress requests are waiting for an answer")
	errNotStarted = errors.New("the egress that another pod requested did not start")
)

func (s *Service) start(ctx context.Context, r translate.EgressRequest) (translate.Egress, error) {
	ctx, cancel := context.WithTimeout(ctx, s.d.Config.StartTimeout)
	defer cancel()
	if s.slots.Acquire(ctx, 1) != nil {
		return translate.Egress{}, &translate.Error{Kind: translate.ErrKindUnavailable, Op: "start egress", Err: errBusy}
	}
	defer s.slots.Release(1)
	return s.d.Client.StartEgress(ctx, r)
}

// Set holds the egresses of a published stream: at most one of a kind is current. Records and Restore move it
// to another pod.
type Set struct {
	s        *Service
	owner    Owner
	current  map[translate.EgressKind]*egress
	replaced []string // ids of earlier egresses
}

// NewSet returns an empty Set.
func (s *Service) NewSet(o Owner) Set { return Set{s: s, owner: o} }

// StartRecording starts a recording and stops an earlier one. then is called on the loop with the name of the
// new file, once the request is answered or has failed.
func (t *Set) StartRecording(template translate.FileTemplate, v translate.FileValues, then func(file string, err error)) {
	if e := t.current[translate.EgressRecord]; e != nil {
		e.stop()
	}
	name := template.Name(v)
	r := translate.EgressRequest{Kind: translate.EgressRecord, File: t.s.d.Config.Prefix + name}
	t.start(r, name, func(err error) { then(name, err) })
}

// Republish sends the stream to an RTMP server (Address).
func (t *Set) Republish(address string) {
	t.start(translate.EgressRequest{Kind: translate.EgressRTMP, URL: address}, "", func(error) {})
}

// rtmpPrefix is what WCS puts before a stream's name at the RTMP server.
const rtmpPrefix = "rtmp_"

// Address returns the RTMP address of a stream. As in WCS, the stream's name is appended to the base that a
// client requests.
func Address(base, stream string) string {
	return strings.TrimRight(base, "/") + "/" + rtmpPrefix + translate.FileNamePart(stream)
}

func (t *Set) start(r translate.EgressRequest, name string, then func(error)) {
	r.Room, r.Publisher = t.owner.Room(), t.owner.Identity()
	e := t.add(&egress{set: t, request: r, name: name, state: translate.EgressStarting})
	e.request.URL = "" // a secret that is no longer needed
	t.owner.SaveForResume()
	var now translate.Egress
	t.owner.Async(func() (err error) {
		now, err = t.s.start(t.s.d.Context, r)
		return err
	}, func(err error) {
		e.onStarted(now, err)
		then(err)
	})
}

// add makes an egress the current one of its kind.
func (t *Set) add(e *egress) *egress {
	if t.current == nil {
		t.current = make(map[translate.EgressKind]*egress)
	}
	if old := t.current[e.request.Kind]; old != nil {
		old.unwatch()
		t.replace(old.id)
	}
	t.current[e.request.Kind] = e
	return e
}

// maxReplaced bounds Set.replaced. An egress ends within seconds of its stop.
const maxReplaced = 8

// replace records the id of an earlier egress: updates with this id are not about the current one.
func (t *Set) replace(id string) {
	if id == "" || slices.Contains(t.replaced, id) {
		return
	}
	t.replaced = append(t.replaced, id)
	t.replaced = t.replaced[max(0, len(t.replaced)-maxReplaced):]
}

// Recorded reports whether the stream is being recorded, or is about to be. For a stream that has ended, it
// reports whether there is a file.
func (t *Set) Recorded() bool {
	if over, _ := t.owner.State(); over {
		return t.File() != ""
	}
	e := t.current[translate.EgressRecord]
	return e != nil && !e.stopping && e.state != translate.EgressFailed
}

// File returns the name of the recording's file, without Config.Prefix; "" as long as the file is empty.
func (t *Set) File() string {
	e := t.current[translate.EgressRecord]
	if e == nil || e.state != translate.EgressActive && e.state != translate.EgressComplete {
		return ""
	}
	return e.name
}

// StopRecording stops the recording and reports whether there was one.
func (t *Set) StopRecording() bool {
	e := t.current[translate.EgressRecord]
	if e == nil || e.state.Over() || e.stopping {
		return false
	}
	e.stop()
	return true
}

// StopAll stops all egresses. Each channel is closed when the state of an egress at its end is known, and
// with it the name of its file, or when the first attempt to stop it has failed.
func (t *Set) StopAll() (ended []<-chan struct{}) {
	for _, e := range t.current {
		if c := e.stop(); c != nil {
			ended = append(ended, c)
		}
	}
	return ended
}

// OnWebhook takes a webhook about an egress of the stream's participant. Pushes (Service.Push) are of the
// same kind as the client's own republishing, so a webhook cannot say which of them is the latter.
func (t *Set) OnWebhook(now translate.Egress) {
	e := t.current[now.Kind]
	if e == nil || slices.Contains(t.replaced, now.ID) || e.id == "" && now.Kind == translate.EgressRTMP {
		return
	}
	e.update(now)
}

// Records returns the records that Restore needs on the pod that resumes the stream's session.
func (t *Set) Records() (records []state.Egress) {
	for kind, e := range t.current {
		records = append(records, state.Egress{
			Kind: string(kind), ID: e.id, State: int(e.state), File: e.name, Stopping: e.stopping, Replaced: slices.Clone(t.replaced),
		})
	}
	return records
}

// Restore adds the egresses of a resumed stream. Watch starts to query their states.
func (t *Set) Restore(records []state.Egress) {
	for _, k := range records {
		t.replaced = k.Replaced
		r := translate.EgressRequest{Room: t.owner.Room(), Publisher: t.owner.Identity(), Kind: translate.EgressKind(k.Kind)}
		t.add(&egress{set: t, request: r, name: k.File, id: k.ID, state: translate.EgressState(k.State), stopping: k.Stopping})
	}
}

// Watch queries LiveKit for the states of all egresses from now on, until Unwatch.
func (t *Set) Watch() {
	for _, e := range t.current {
		e.watch()
	}
}

// Unwatch ends Watch. It may be repeated.
func (t *Set) Unwatch() {
	for _, e := range t.current {
		e.unwatch()
	}
}
