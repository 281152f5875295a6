package console

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
)

// A pod keeps figures of one hour, about 100 KB.
const (
	sampleStep  = 10 * time.Second
	sampleSteps = 360
)

// Sample holds the figures of a pod at one moment, and the events in the sampleStep before it.
type Sample struct {
	At        int64 `json:"at"` // Unix time in sampleSteps, so that samples of different pods match
	Sessions  int   `json:"sessions"`
	Published int   `json:"published"`
	Played    int   `json:"played"`
	Publishes int   `json:"publishes"` // streams that came up
	Plays     int   `json:"plays"`
	Failed    int   `json:"failed"`        // streams that failed and requests for streams that were rejected
	NoMedia   int   `json:"noMedia"`       // those of them without a media connection (ends.ICETimeout)
	SFU       calls `json:"sfu,omitempty"` // calls to LiveKit, by duration
	Redis     calls `json:"redis,omitempty"`
}

// calls counts calls by the upper bounds of their durations in microseconds, like a Prometheus histogram but
// not cumulative. The key of calls above the last bound is 0.
type calls map[int64]int

// Recorder records samples of a pod's metrics.
type Recorder struct {
	metrics    prometheus.Gatherer
	statistics func() admin.Statistics
	log        zerolog.Logger

	mu      sync.Mutex
	samples []Sample // the newest last
}

// NewRecorder returns a recorder of metrics with the names of gateway.Metrics.
func NewRecorder(metrics prometheus.Gatherer, statistics func() admin.Statistics, log zerolog.Logger) *Recorder {
	return &Recorder{metrics: metrics, statistics: statistics, log: log}
}

// Run records a sample each sampleStep until ctx is done.
func (r *Recorder) Run(ctx context.Context) {
	// The samples are taken at the end of each step of the clock: a ticker that started at another moment would
	// leave steps out, or take two samples of one step.
	untilNext := func() time.Duration { return sampleStep - time.Duration(time.Now().UnixNano())%sampleStep }
	tick := time.NewTimer(untilNext())
	defer tick.Stop()
	was, _ := r.totals()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			tick.Reset(untilNext())
			is, err := r.totals()
			if err != nil {
				r.log.Warn().Err(err).Msg("console: reading metrics failed")
				continue
			}
			r.add(is.since(was), now)
			was = is
		}
	}
}

func (r *Recorder) add(s Sample, now time.Time) {
	has := r.statistics()
	s.At, s.Sessions, s.Published, s.Played = now.Unix()/int64(sampleStep/time.Second), has.Connections, has.Published, has.Played
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, s)
	r.samples = slices.Clone(r.samples[max(0, len(r.samples)-sampleSteps):])
}

// Samples returns the samples of the last hour, the newest last.
func (r *Recorder) Samples() []Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.samples)
}

// totals returns the counts since the start of the pod.
func (r *Recorder) totals() (t Sample, err error) {
	families, err := r.metrics.Gather()
	if err != nil {
		return t, err
	}
	t.SFU, t.Redis = make(calls), make(calls)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "wcs_stream_start_seconds":
				n := int(m.GetHistogram().GetSampleCount())
				if label(m, "kind") == "publish" {
					t.Publishes += n
				} else {
					t.Plays += n
				}
			case "wcs_stream_ends_total":
				n, reason := int(m.GetCounter().GetValue()), ends.Reason(label(m, "reason"))
				if reason.Failed() {
					t.Failed += n
				}
				if reason == ends.ICETimeout {
					t.NoMedia += n
				}
			case "wcs_sfu_call_seconds":
				t.SFU.add(m.GetHistogram())
			case "wcs_store_call_seconds":
				t.Redis.add(m.GetHistogram())
			}
		}
	}
	return t, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (c calls) add(h *dto.Histogram) {
	below := 0
	for _, b := range h.GetBucket() {
		c[int64(math.Round(b.GetUpperBound()*1e6))] += int(b.GetCumulativeCount()) - below
		below = int(b.GetCumulativeCount())
	}
	c[0] += int(h.GetSampleCount()) - below
}

// since returns the difference of two totals.
func (s Sample) since(was Sample) Sample {
	return Sample{
		Publishes: s.Publishes - was.Publishes, Plays: s.Plays - was.Plays,
		Failed: s.Failed - was.Failed, NoMedia: s.NoMedia - was.NoMedia, SFU: growth(s.SFU, was.SFU), Redis: growth(s.Redis, was.Redis),
	}
}

// growth returns the positive differences of two counts of calls.
func growth(is, was calls) calls {
	grown := make(calls)
	for k, n := range is {
		if n > was[k] {
			grown[k] = n - was[k]
		}
	}
	return grown
}

// quantile returns the upper bound, in milliseconds, of the bucket that holds the given quantile of the
// durations. It is nil without calls and above the last bound.
func (c calls) quantile(share float64) *float64 {
	all := 0
	for _, n := range c {
		all += n
	}
	seen := 0
	for _, bound := range slices.Sorted(maps.Keys(c)) {
		if bound == 0 {
			continue
		}
		if seen += c[bound]; all > 0 && float64(seen) >= share*float64(all) {
			ms := float64(bound) / 1000
			return &ms
		}
	}
	return nil
}
