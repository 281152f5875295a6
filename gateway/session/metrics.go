package session

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/socket"
)

// Metrics are the figures of sessions and streams. gateway.NewMetrics registers them. All label sets are
// closed.
type Metrics struct {
	Connections   prometheus.Gauge
	Sessions      *prometheus.GaugeVec // app
	Detached      prometheus.Gauge
	Resumes       *prometheus.CounterVec   // result
	Streams       *prometheus.GaugeVec     // kind, app
	Commands      *prometheus.CounterVec   // app, cmd, class
	Closes        *prometheus.CounterVec   // reason
	Rejections    *prometheus.CounterVec   // reason
	StartTime     *prometheus.HistogramVec // kind
	OwnShare      *prometheus.HistogramVec // kind
	HookCalls     *prometheus.HistogramVec // method, class
	HookVetoes    *prometheus.CounterVec   // method
	RatesSent     *prometheus.CounterVec   // kind
	Snapshots     *prometheus.CounterVec   // result
	Notifications *prometheus.HistogramVec // stage
	LostBytes     prometheus.Counter
	Panics        prometheus.Counter
	Egresses      *prometheus.CounterVec // kind, result
	Rates         rates.Metrics
}

// Preset creates the series of label values whose rates operators watch, so that a rate exists from the first
// event on.
func (m *Metrics) Preset() {
	for _, r := range rejections {
		m.Rejections.WithLabelValues(string(r))
	}
	for _, s := range []stage{stageLocal, stageAnnounce, stageDeliver} {
		m.Notifications.WithLabelValues(string(s))
	}
	for _, kind := range []string{ends.Publish, ends.Play} {
		m.StartTime.WithLabelValues(kind)
	}
	m.Rates.Preset()
	for counter, labels := range map[*prometheus.CounterVec][]string{
		m.Resumes:    {resumeOK, resumeRefused, resumeUnavailable},
		m.Snapshots:  {"ok", "failed"},
		m.HookVetoes: {string(hooks.Connect), string(hooks.PublishStream), string(hooks.PlayStream)},
	} {
		for _, label := range labels {
			counter.WithLabelValues(label)
		}
	}
}

// HookCall records a call to an application's backend.
func (m *Metrics) HookCall(method hooks.Method, d time.Duration, err error) {
	m.HookCalls.WithLabelValues(string(method), hooks.ClassOf(err)).Observe(d.Seconds())
}

// stage is a part of the time until players are notified that their publisher ended. The clocks of pods
// differ, so each stage is measured by the clock of one pod. For players on other pods, the latency is the
// sum of the last three stages.
type stage string

const (
	stageLocal    stage = "local"    // publisher's pod: from the end of the publisher until its own players' messages are queued
	stageAnnounce stage = "announce" // publisher's pod: until Redis has the event, with participant and name released
	stageTransit  stage = "transit"  // through Redis from pod to pod, measured with a message of a pod to itself
	stageDeliver  stage = "deliver"  // another pod: from the event until its players' messages are queued
)

// notifyTiming is the start of a stage. The zero value is for ends whose start is unknown, because the pod
// learned of them by polling or from LiveKit; these are not measured.
type notifyTiming struct {
	stage stage
	since time.Time
}

// Transit returns the observer of the way through Redis, which package bus measures.
func (m *Metrics) Transit() prometheus.Observer {
	return m.Notifications.WithLabelValues(string(stageTransit))
}

// observeNotification records that a stage is over.
func (m *Metrics) observeNotification(n notifyTiming) {
	if n.stage != "" {
		m.Notifications.WithLabelValues(string(n.stage)).Observe(time.Since(n.since).Seconds())
	}
}

// Rejected counts a rejection.
func (m *Metrics) Rejected(r socket.Rejection) { m.Rejections.WithLabelValues(string(r)).Inc() }

// Closed counts the end of a socket, also as a rejection if it is one.
func (m *Metrics) Closed(reason socket.Reason) {
	m.Closes.WithLabelValues(reason.Name).Inc()
	if reason.Rejection != "" {
		m.Rejected(reason.Rejection)
	}
}

// rejectedCommand counts the error of a command if it is a rejection.
func (m *Metrics) rejectedCommand(err error) {
	if o := classify(err); o.rejectedBy != "" {
		m.Rejected(o.rejectedBy)
	}
}

// Results of resumes, for the metric.
const (
	resumeOK          = "ok"
	resumeRefused     = "refused" // unknown, ended, wrong token or of another application
	resumeUnavailable = "unavailable"
)
