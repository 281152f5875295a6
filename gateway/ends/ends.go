package ends

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of streams.
const (
	Publish = "publish"
	Play    = "play"
)

// End is the end of a stream, or the rejection of a request for one.
type End struct {
	Kind   string // Publish or Play
	Reason Reason
	App    string // key of a configured application
	Remote string // address of the client
}

// Recorder counts ends. Its methods are safe for concurrent use.
type Recorder struct {
	total   *prometheus.CounterVec // kind, class, reason, app
	recent  *recent
	streams *streams
}

// New returns a Recorder that counts in total, whose labels are kind, class, reason and app. keep reports
// whether it keeps the failures of the last hour and the last streams.
func New(total *prometheus.CounterVec, keep bool) *Recorder {
	r := &Recorder{total: total}
	if keep {
		r.recent, r.streams = newRecent(), newStreams()
	}
	return r
}

// Add counts an end.
func (r *Recorder) Add(e End) {
	r.total.WithLabelValues(e.Kind, string(e.Reason.Class()), string(e.Reason), e.App).Inc()
	r.recent.add(e, time.Now())
}

// Failures returns the failures of the last hour, those that occurred most recently last.
func (r *Recorder) Failures() []Failure { return r.recent.list(time.Now()) }

// Preset creates the series of media failures of an application, so that a rate exists from the first failure
// on.
func (r *Recorder) Preset(app string) {
	for _, kind := range []string{Publish, Play} {
		for _, reason := range mediaFailures {
			r.total.WithLabelValues(kind, string(reason.Class()), string(reason), app)
		}
	}
}
