package session

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/wheel"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

const (
	RateInterval = time.Second // fixed: the client takes the sum of a message for a rate per second
	ClientWait   = 3 * time.Second
	// clientStart is longer than clientWait because a player's first figures take two sender reports, and LiveKit
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
	fromClient = "client"
	fromProbe  = "probe"
)

// rateMeter sends a client the video rate of its stream, from when it is up. It is used on the session's
// loop.
type rateMeter struct {
	st       *stream
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

// measurement is the report of a source about a stream.
type measurement struct {
	video wcs.VideoFigures
	known bool      // video is
	came  time.Time // video
	media uint64    // bytes sent so far by a publisher, audio and video
	heard bool      // media is known
}

// startRates starts to send the client its video rate. The client has just been notified that its stream is
// up.
func (st *stream) startRates() {
	st.subscribeNativeData()
	mode := st.sess.app.Rates
	if !mode.UsesClients() && !mode.UsesProbes() {
		return
	}
	st.rates = &rateMeter{st: st, lag: minLag + rand.N(MaxLag-minLag)}
	if mode.UsesClients() {
		st.rates.patience = time.Now().Add(ClientWait)
	}
	st.rates.leave = st.sess.table.RateWheel.Add(st.rates)
}

func (st *stream) stopRates() {
	st.unsubscribeNativeData()
	if st.published { // its probe can run for players of other applications
		st.sess.table.Probes.PublisherGone(st.identity)
	}
	if st.rates != nil {
		st.rates.leave()
		st.rates.useSource(fromNobody)
	}
}

// Tick implements probe.Ticker.
func (r *rateMeter) Tick() { r.st.sess.loop.Post(r.onSecond) }

func (r *rateMeter) onSecond() {
	if r.st.ending != nil {
		return
	}
	r.messages = 0
	m, source := r.measure()
	r.useSource(source)
	r.sized = false
	if m.known {
		r.updateSize(m.video.Width, m.video.Height)
		if r.keepPhase(m.came) {
			r.st.sess.send(wcs.VideoRate{MediaSessionID: r.st.id, Published: r.st.published, Figures: m.video}.Frame())
			r.st.sess.table.Metrics.Rates.WithLabelValues(r.st.kind()).Inc()
		}
	}
	r.checkSilence(m)
}

// measure asks the present source: the client until its patience ends, then a probe.
func (r *rateMeter) measure() (m measurement, source string) {
	if time.Now().Before(r.patience) {
		if r.client == nil {
			return m, fromNobody
		}
		m.video, m.known = r.client.Figures()
		m.known = m.known && r.st.kinds.Video
		m.came = r.came
		m.media, m.heard = r.client.MediaBytes(), r.client.Samples() > 0
		return m, fromClient
	}
	if !r.st.sess.app.Rates.UsesProbes() || !r.needsProbe() {
		return m, fromNobody
	}
	publisher := r.st.publisher
	if r.st.published {
		publisher = r.st.identity
	}
	f, came := r.st.sess.table.Probes.Figures(publisher, r.st.publisherPod, r.st.room)
	fresh := time.Since(came) <= probe.MaxAge
	m.video = wcs.VideoFigures{Rate: f.Rate, FPS: f.FPS, NACK: f.NACK, PLI: f.PLI, Lost: f.Lost, Width: f.Width, Height: f.Height}
	m.known, m.came = fresh && r.st.kinds.Video, came
	m.media, m.heard = f.MediaBytes, fresh
	return m, fromProbe
}

// needsProbe reports whether a probe is needed: without video only to detect a silent publisher.
func (r *rateMeter) needsProbe() bool {
	return r.st.kinds.Video || r.st.published && r.st.sess.table.Config.Media.SilenceTimeout > 0
}

// useSource records the source in use.
func (r *rateMeter) useSource(source string) {
	t := r.st.sess.table
	if r.source == source {
		return
	}
	if r.source != fromNobody {
		t.Metrics.RateStreams.WithLabelValues(r.source).Dec()
	}
	if source != fromNobody {
		t.Metrics.RateStreams.WithLabelValues(source).Inc()
		r.st.sess.log(zerolog.InfoLevel).Str("media", r.st.id).Str("source", source).Msg("source of the video rate")
	}
	r.source, r.inPhase = source, false
}

// keepPhase keeps the ticks shortly after the arrival of figures, and reports whether the figures are sent
// now. The client compares them with its own count when it receives them: the older they are, the more a
// change of the bit rate looks like a bad connection. The first figures of a source wait for the right
// moment. Afterwards the ticks follow in small steps, since uneven intervals would distort the comparison as
// well.
func (r *rateMeter) keepPhase(came time.Time) bool {
	const step = RateInterval / wheel.Slots
	off := time.Since(came)%RateInterval - r.lag // too late by so much
	if off > RateInterval/2 {
		off -= RateInterval
	}
	first := !r.inPhase
	r.inPhase = true
	switch {
	case off.Abs() <= PhaseSlack:
		return true
	case first:
		r.moveTick((2*RateInterval - off) % RateInterval)
		return false
	case off > 0:
		r.moveTick(RateInterval - step)
	default:
		r.moveTick(RateInterval + step)
	}
	return true
}

func (r *rateMeter) moveTick(next time.Duration) {
	r.leave()
	r.leave = r.st.sess.table.RateWheel.AddIn(r, next)
}

// updateSize takes the picture size from the rate source. For players of WCS publishers it is ignored: the
// publisher's pod reports it earlier, and a player can have decoded an older picture.
func (r *rateMeter) updateSize(width, height int) {
	video, there := r.st.tracks[translate.Video]
	if !there || width == 0 || height == 0 || !r.st.published && !r.st.publisher.Native() {
		return
	}
	r.sized = true
	video.Width, video.Height = width, height
	r.st.updateTracks([]translate.Track{video})
}

// learnFromSFU is updateTracks for reports of LiveKit. Their sizes are late, and are ignored while the rate
// source reports them.
func (st *stream) learnFromSFU(tracks []translate.Track) {
	if st.rates != nil && st.rates.sized {
		tracks = slices.Clone(tracks)
		for i := range tracks {
			tracks[i].Width, tracks[i].Height = 0, 0
		}
	}
	st.updateTracks(tracks)
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
func (r *rateMeter) checkSilence(m measurement) {
	limit := r.st.sess.table.Config.Media.SilenceTimeout
	switch {
	case !r.st.published || limit == 0:
	case !m.heard, r.st.relay.mutedAtSFU():
		r.silence = silence{}
	case r.silence.lasts(m.media) >= limit:
		r.st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoFailedByRTPActivity, class: classClient})
	}
}

// WantRates handles another pod's request for the figures of a stream that is published here.
func (t *Table) WantRates(e state.Event) {
	st := t.streams.find(translate.Identity(e.Identity))
	if st == nil || !st.published {
		return // it has ended; its players are notified of that
	}
	st.sess.loop.Post(func() {
		if st.ending == nil && st.phase == phaseUp {
			t.Probes.RequestedBy(e.From, st.identity, st.room)
		}
	})
}

// StatsPerSecond bounds the descriptions and batches of one stream. An SDK sends one batch a second
// (docs/wcs-protocol.md#client-metrics).
const StatsPerSecond = 8

func handleMetricsDescription(s *Session, c wcs.Command) error {
	var d wcs.MetricsDescription
	err := c.Bind(&d)
	s.takeStats(d.MediaSessionID, err, func(r *rateMeter) error { return r.describe(d) })
	return nil
}

func handleMetricsBatch(s *Session, c wcs.Command) error {
	var b wcs.MetricsBatch
	err := c.Bind(&b)
	s.takeStats(b.MediaSessionID, err, func(r *rateMeter) error { return r.batch(b) })
	return nil
}

// takeStats never answers: the SDK sends statistics without the app's knowledge.
func (s *Session) takeStats(mediaID string, err error, take func(*rateMeter) error) {
	st := s.streams[mediaID]
	result := statsTaken
	switch {
	case err != nil:
		result = statsInvalid
	case st == nil || st.rates == nil || st.ending != nil || !s.app.Rates.UsesClients():
		result = statsUnknown
	case st.rates.messages >= StatsPerSecond:
		result = statsExcess
	default:
		st.rates.messages++
		if err = take(st.rates); err != nil {
			result = statsInvalid
		}
	}
	if err != nil {
		s.log(zerolog.DebugLevel).Err(err).Str("media", translate.Abridge(mediaID, 128)).Msg("client statistics not usable")
	}
	s.table.Metrics.ClientStats.WithLabelValues(result).Inc()
}

func (r *rateMeter) describe(d wcs.MetricsDescription) error {
	if r.client == nil {
		r.client = wcs.NewClientStats(r.st.published)
		r.patience = time.Now().Add(clientStart)
	}
	return r.client.Describe(d)
}

// batch takes a batch. A new sample with the needed figures keeps the client as the source.
func (r *rateMeter) batch(b wcs.MetricsBatch) error {
	if r.client == nil {
		return wcs.ErrMetricsUndescribed
	}
	before := r.client.Samples()
	if err := r.client.Batch(b); err != nil {
		return err
	}
	video, known := r.client.Figures()
	if r.client.Samples() == before {
		return nil
	}
	r.came = time.Now()
	if !known && r.st.kinds.Video {
		return nil
	}
	if until := time.Now().Add(ClientWait); until.After(r.patience) {
		r.patience = until
	}
	if known {
		r.updateSize(video.Width, video.Height)
	}
	return nil
}
