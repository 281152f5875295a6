package session

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
)

// Metrics are the figures of sessions and streams. gateway.NewMetrics registers them. All label sets are
// closed.
type Metrics struct {
	Connections   prometheus.Gauge
	Sessions      prometheus.Gauge
	Detached      prometheus.Gauge
	Resumes       *prometheus.CounterVec   // result
	Streams       *prometheus.GaugeVec     // kind
	Commands      *prometheus.CounterVec   // cmd, class
	Ends          *prometheus.CounterVec   // kind, class
	Closes        *prometheus.CounterVec   // reason
	Rejections    *prometheus.CounterVec   // reason
	StartTime     *prometheus.HistogramVec // kind
	OwnShare      *prometheus.HistogramVec // kind
	HookCalls     *prometheus.HistogramVec // method, class
	HookVetoes    *prometheus.CounterVec   // method
	RateStreams   *prometheus.GaugeVec     // source
	Rates         *prometheus.CounterVec   // kind
	ClientStats   *prometheus.CounterVec   // result
	Snapshots     *prometheus.CounterVec   // result
	Notifications *prometheus.HistogramVec // stage
	LostBytes     prometheus.Counter
	Panics        prometheus.Counter
	Egress        egress.Metrics
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
	for counter, labels := range map[*prometheus.CounterVec][]string{
		m.Resumes:     {resumeOK, resumeRefused, resumeUnavailable},
		m.ClientStats: {statsTaken, statsUnknown, statsExcess, statsInvalid},
		m.Snapshots:   {"ok", "failed"},
		m.HookVetoes:  {string(hooks.Connect), string(hooks.PublishStream), string(hooks.PlayStream)},
	} {
		for _, label := range labels {
			counter.WithLabelValues(label)
		}
	}
}

// HookCall records a call to an application's backend.
func (m *Metrics) HookCall(method hooks.Method, d time.Duration, err error) {
	class := "ok"
	switch {
	case err == nil:
	case isRefusal(err):
		class = "refused"
	case errors.Is(err, hooks.ErrBusy):
		class = "busy"
	case errors.Is(err, hooks.ErrBadResponse):
		class = "bad_answer"
	case errors.Is(err, context.Canceled): // the client is gone
		class = "given_up"
	default:
		class = "unavailable"
	}
	m.HookCalls.WithLabelValues(string(method), class).Observe(d.Seconds())
}
