// Package rates sends the clients of a stream its video rate and detects publishers that stopped sending. Its
// figures come from the client's own statistics or from a probe. A Meter belongs to the session that made it.
package rates

import (
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/wheel"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

const (
	Interval   = time.Second // fixed: the client takes the sum of a message for a rate per second
	ClientWait = 3 * time.Second
	// clientStart is longer than ClientWait because a player's first figures take two sender reports, and LiveKit
	// sends one every 3 s.
	clientStart = 10 * time.Second
)

// Figures are sent this long after their arrival (keepPhase), at a different time to each player of a stream.
const (
	minLag     = 100 * time.Millisecond
	MaxLag     = 250 * time.Millisecond
	PhaseSlack = 60 * time.Millisecond
)

// Sources in use: labels of metrics and fields of the log.
const (
	fromNobody = ""
	FromClient = "client"
	fromProbe  = "probe"
)

// Stream is the stream of a Meter. Its methods are called on the loop of its session.
type Stream interface {
	// Post runs f on the loop unless the stream has ended. It is called from any goroutine.
	Post(f func())
	// HasVideo reports whether the stream has video.
	HasVideo() bool
	// Probe returns the figures of the stream's publisher and the time of their arrival.
	Probe() (translate.VideoFigures, time.Time)
	// SendRate sends the client a message with the figures.
	SendRate(wcs.VideoFigures)
	// UpdateSize takes the picture size that the source measured. It reports whether the stream uses it.
	UpdateSize(width, height int) bool
	// Muted reports whether LiveKit has the publisher's tracks muted.
	Muted() bool
	// OnSource is called when another source is in use; "" is none.
	OnSource(source string)
	// EndSilent ends a publisher that sends nothing.
	EndSilent()
}

// Config is the environment of a Meter.
type Config struct {
	Published      bool
	Mode           apps.RateSource
	SilenceTimeout time.Duration // 0: silence is allowed
	Wheel          *wheel.Wheel[probe.Ticker]
	Metrics        *Metrics
}

// Metrics are the figures of all meters. gateway.NewMetrics registers them.
type Metrics struct {
	Streams     *prometheus.GaugeVec   // source
	ClientStats *prometheus.CounterVec // result
}

// Results of a description or a batch, for the metric.
const (
	Taken   = "taken"
	Unknown = "unknown" // the stream does not exist, or its client was not asked
	excess  = "excess"
	Invalid = "invalid"
)

// Preset creates the series of all results.
func (m *Metrics) Preset() {
	for _, result := range []string{Taken, Unknown, excess, Invalid} {
		m.ClientStats.WithLabelValues(result)
	}
}

// MessagesPerSecond bounds the descriptions and batches of one stream. An SDK sends one batch a second
// (docs/wcs-protocol.md#client-metrics).
const MessagesPerSecond = 8

// Meter sends a client the video rate of its stream, from when it is up until Stop. It is used on the
// session's loop.
type Meter struct {
	st       Stream
	cfg      Config
	leave    func()           // ends Tick
	source   string           // in use
	client   *wcs.ClientStats // nil until the client has described its statistics
	patience time.Time        // until then the client is the source
	came     time.Time        // arrival of the client's last row
	messages int              // with the client's statistics, since the last tick
	lag      time.Duration    // age of the figures when they are sent
	inPhase  bool             // ticks follow the arrival of figures
	sized    bool             // the source reports the picture size
	silence  silence
}

// Measurement is the report of a source about a stream.
type Measurement struct {
	Source string // "" for none
	Video  wcs.VideoFigures
	Known  bool      // Video is
	came   time.Time // Video
	media  uint64    // bytes sent so far by a publisher, audio and video
	heard  bool      // media is known
}

// New starts the meter of a stream that is up. It returns nil if the application's mode measures nothing.
func New(st Stream, cfg Config) *Meter {
	if !cfg.Mode.UsesClients() && !cfg.Mode.UsesProbes() {
		return nil
	}
	m := &Meter{st: st, cfg: cfg, lag: minLag + rand.N(MaxLag-minLag)}
	if cfg.Mode.UsesClients() {
		m.patience = time.Now().Add(ClientWait)
	}
	m.leave = cfg.Wheel.Add(m)
	return m
}

// Stop ends the meter. It does nothing on nil.
func (m *Meter) Stop() {
	if m != nil {
		m.leave()
		m.useSource(fromNobody)
	}
}

// Tick implements probe.Ticker.
func (m *Meter) Tick() { m.st.Post(m.onSecond) }

func (m *Meter) onSecond() {
	m.messages = 0
	got := m.Measure()
	m.useSource(got.Source)
	m.sized = false
	if got.Known {
		m.sized = m.st.UpdateSize(got.Video.Width, got.Video.Height)
		if m.keepPhase(got.came) {
			m.st.SendRate(got.Video)
		}
	}
	m.checkSilence(got)
}

// Sized reports whether the source reports the picture size.
func (m *Meter) Sized() bool { return m != nil && m.sized }

// Measure asks the present source: the client until its patience ends, then a probe.
func (m *Meter) Measure() (got Measurement) {
	video := m.st.HasVideo()
	if time.Now().Before(m.patience) {
		if m.client == nil {
			return got
		}
		got.Source = FromClient
		got.Video, got.Known = m.client.Figures()
		got.Known = got.Known && video
		got.came = m.came
		got.media, got.heard = m.client.MediaBytes(), m.client.Samples() > 0
		return got
	}
	// Without video a probe is needed only to detect a silent publisher.
	if !m.cfg.Mode.UsesProbes() || !video && !(m.cfg.Published && m.cfg.SilenceTimeout > 0) {
		return got
	}
	f, came := m.st.Probe()
	fresh := time.Since(came) <= probe.MaxAge
	got.Source = fromProbe
	got.Video = wcs.VideoFigures{Rate: f.Rate, FPS: f.FPS, NACK: f.NACK, PLI: f.PLI, Lost: f.Lost, Width: f.Width, Height: f.Height}
	got.Known, got.came = fresh && video, came
	got.media, got.heard = f.MediaBytes, fresh
	return got
}

// useSource records the source in use.
func (m *Meter) useSource(source string) {
	if m.source == source {
		return
	}
	if m.source != fromNobody {
		m.cfg.Metrics.Streams.WithLabelValues(m.source).Dec()
	}
	if source != fromNobody {
		m.cfg.Metrics.Streams.WithLabelValues(source).Inc()
		m.st.OnSource(source)
	}
	m.source, m.inPhase = source, false
}

// keepPhase keeps the ticks shortly after the arrival of figures, and reports whether the figures are sent
// now. The client compares them with its own count when it receives them: the older they are, the more a
// change of the bit rate looks like a bad connection. The first figures of a source wait for the right
// moment. Afterwards the ticks follow in small steps, since uneven intervals would distort the comparison as
// well.
func (m *Meter) keepPhase(came time.Time) bool {
	const step = Interval / wheel.Slots
	off := time.Since(came)%Interval - m.lag // too late by so much
	if off > Interval/2 {
		off -= Interval
	}
	first := !m.inPhase
	m.inPhase = true
	switch {
	case off.Abs() <= PhaseSlack:
		return true
	case first:
		m.moveTick((2*Interval - off) % Interval)
		return false
	case off > 0:
		m.moveTick(Interval - step)
	default:
		m.moveTick(Interval + step)
	}
	return true
}

func (m *Meter) moveTick(next time.Duration) {
	m.leave()
	m.leave = m.cfg.Wheel.AddIn(m, next)
}

// silence detects a publisher that stopped sending.
type silence struct {
	bytes uint64
	since time.Time // zero while nothing is measured
}

// lasts returns for how long bytes has been unchanged.
func (s *silence) lasts(bytes uint64) time.Duration {
	if now := time.Now(); s.since.IsZero() || bytes != s.bytes {
		s.bytes, s.since = bytes, now
	}
	return time.Since(s.since)
}

// checkSilence ends a publisher that has sent nothing for too long. While nothing is measured, the time
// starts again.
func (m *Meter) checkSilence(got Measurement) {
	switch {
	case !m.cfg.Published || m.cfg.SilenceTimeout == 0:
	case !got.heard, m.st.Muted():
		m.silence = silence{}
	case m.silence.lasts(got.media) >= m.cfg.SilenceTimeout:
		m.st.EndSilent()
	}
}

// Describe takes the client's description of its statistics. It returns the result for the metric, and an
// error if the description is not usable.
func (m *Meter) Describe(d wcs.MetricsDescription) (result string, err error) {
	return m.take(func() error {
		if m.client == nil {
			m.client = wcs.NewClientStats(m.cfg.Published)
			m.patience = time.Now().Add(clientStart)
		}
		return m.client.Describe(d)
	})
}

// Batch takes a batch of the client's statistics. It returns the result for the metric, and an error if the
// batch is not usable. A new sample with the needed figures keeps the client as the source.
func (m *Meter) Batch(b wcs.MetricsBatch) (result string, err error) {
	return m.take(func() error { return m.batch(b) })
}

func (m *Meter) take(use func() error) (result string, err error) {
	switch {
	case m == nil || !m.cfg.Mode.UsesClients():
		return Unknown, nil
	case m.messages >= MessagesPerSecond:
		return excess, nil
	}
	m.messages++
	if err = use(); err != nil {
		return Invalid, err
	}
	return Taken, nil
}

func (m *Meter) batch(b wcs.MetricsBatch) error {
	if m.client == nil {
		return wcs.ErrMetricsUndescribed
	}
	before := m.client.Samples()
	if err := m.client.Batch(b); err != nil {
		return err
	}
	video, known := m.client.Figures()
	if m.client.Samples() == before {
		return nil
	}
	m.came = time.Now()
	if !known && m.st.HasVideo() {
		return nil
	}
	if until := time.Now().Add(ClientWait); until.After(m.patience) {
		m.patience = until
	}
	if known {
		m.sized = m.st.UpdateSize(video.Width, video.Height) || m.sized
	}
	return nil
}
