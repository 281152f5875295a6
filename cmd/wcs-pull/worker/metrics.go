package worker

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

// Metrics are the metrics of a worker (docs/pull.md#health-and-metrics).
type Metrics struct {
	registry      prometheus.Registerer
	running, max  prometheus.Gauge
	sandboxed     prometheus.Gauge
	takes, ends   *prometheus.CounterVec
	interruptions prometheus.Counter
	start         prometheus.Histogram
	store, sfu    *prometheus.HistogramVec
}

// Results of a take.
const (
	takeOK     = "taken"
	takeOther  = "other"  // a living worker has it
	takeNone   = "none"   // not wanted, or failed
	takeFailed = "failed" // the store is away
)

var callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		registry: registry,
		running:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "wcs_pull_running", Help: "Pulls that this worker has."}),
		max:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "wcs_pull_max", Help: "Pulls that this worker can have."}),
		sandboxed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wcs_pull_sandboxed", Help: "1 if ffmpeg has no network but a connection to this worker.",
		}),
		takes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wcs_pull_takes_total", Help: "Attempts to take a pull, by result.",
		}, []string{"result"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wcs_pull_ends_total", Help: "Ends of pulls at this worker, by reason.",
		}, []string{"reason"}),
		interruptions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wcs_pull_interruptions_total", Help: "Losses of sources that are tried again.",
		}),
		start: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wcs_pull_start_seconds", Help: "Time from the take of a pull until its tracks are published.",
			Buckets: []float64{.1, .25, .5, 1, 2, 3, 5, 10, 20},
		}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wcs_pull_store_call_seconds", Help: "Duration of calls to Redis.", Buckets: callBuckets,
		}, []string{"op", "result"}),
		sfu: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wcs_pull_sfu_call_seconds", Help: "Duration of calls to LiveKit.", Buckets: callBuckets,
		}, []string{"op", "result"}),
	}
	registry.MustRegister(m.running, m.max, m.sandboxed, m.takes, m.ends, m.interruptions, m.start, m.store, m.sfu)
	for _, result := range []string{takeOK, takeOther, takeNone, takeFailed} {
		m.takes.WithLabelValues(result)
	}
	for _, reason := range []string{endLost, endUnwanted, endReturned} {
		m.ends.WithLabelValues(reason)
	}
	for _, fault := range pull.Faults {
		m.ends.WithLabelValues(string(fault))
	}
	return m
}

// Sandboxed notes whether ffmpeg runs in a sandbox.
func (m *Metrics) Sandboxed(yes bool) {
	m.sandboxed.Set(0)
	if yes {
		m.sandboxed.Set(1)
	}
}

// watch registers whether the worker is ready, which is asked at each scrape.
func (m *Metrics) watch(ready func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wcs_pull_ready", Help: "1 while this worker takes pulls: Redis answers, and it is not leaving.",
	}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

func (m *Metrics) take(err error) {
	result := takeFailed
	switch {
	case err == nil:
		result = takeOK
	case errors.Is(err, state.ErrTaken):
		result = takeOther
	case errors.Is(err, state.ErrNotFound), errors.Is(err, state.ErrWorkersDied):
		result = takeNone
	}
	m.takes.WithLabelValues(result).Inc()
}

// changed records a change of the state of a pull: its first Running, and each loss of its source.
func (m *Metrics) changed(before, now pull.State, after time.Duration) {
	switch {
	case now == pull.Running && before == pull.Connecting:
		m.start.Observe(after.Seconds())
	case now == pull.Interrupted && before == pull.Running:
		m.interruptions.Inc()
	}
}

// StoreCall records a call to Redis.
func (m *Metrics) StoreCall(op string, d time.Duration, err error) {
	m.store.WithLabelValues(op, resultOf(err)).Observe(d.Seconds())
}

// SFUCall records a call to LiveKit.
func (m *Metrics) SFUCall(op string, d time.Duration, err error) {
	m.sfu.WithLabelValues(strings.ReplaceAll(op, " ", "_"), resultOf(err)).Observe(d.Seconds())
}

// resultOf is the result of a call: answers that deny something are answers.
func resultOf(err error) string {
	for _, answer := range []error{state.ErrNotFound, state.ErrTaken, state.ErrWorkersDied, state.ErrUnwanted, state.ErrLostOwnership, state.ErrFull} {
		if errors.Is(err, answer) {
			return "ok"
		}
	}
	if err != nil {
		return "error"
	}
	return "ok"
}
