package ends

import (
	"iter"

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
}

// Recorder counts ends. Its methods are safe for concurrent use.
type Recorder struct {
	total *prometheus.CounterVec // kind, class, reason, app
}

// New returns a Recorder that counts in total, whose labels are kind, class, reason and app.
func New(total *prometheus.CounterVec) *Recorder { return &Recorder{total: total} }

// Add counts an end.
func (r *Recorder) Add(e End) {
	r.total.WithLabelValues(e.Kind, string(e.Reason.Class()), string(e.Reason), e.App).Inc()
}

// Preset creates the series of media failures of applications, so that a rate exists from the first failure
// on.
func (r *Recorder) Preset(apps iter.Seq[string]) {
	for app := range apps {
		for _, kind := range []string{Publish, Play} {
			for reason := range causes {
				if reason.Media() {
					r.total.WithLabelValues(kind, string(reason.Class()), string(reason), app)
				}
			}
		}
	}
}
