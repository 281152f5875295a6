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
	RateInterval = time.Second // the client divides by nothing (protocol.md §3.10)
	ClientWait   = 3 * time.Second
	// clientStart is longer than clientWait because a player's first figures take two sender reports, and LiveKit
	// sends one every 3 s.
	clientStart = 10 * time.Second
)

// Figures are told so long after they have come (keepPhase), at different times to the players of a stream.
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
	patience time.Time        // until then the client's statistics are waited for, or relied on
	came     time.Time        // the client's last row
	messages int              // with the client's statistics, since the last tick
	lag      time.Duration    // age of the figures when they are sent
	inPhase  bool             // ticks follow the arrival of figures
	sized    bool             // the source reports the picture size
	silence  silence
}

// measurement is what a source says of a stream.
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
	if st.published { // whose probe may be there for players of other applications
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

// measure asks the source whose turn it is: the client as long as there is hope that it says something, then
// a probe.
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

// needsProbe: without video there is no rate to tell, but a publisher may fall silent.
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
// publisher's pod reports it earlier, and a player may have decoded an older picture.
func (r *rateMeter) updateSize(width, height int) {
	video, there := r.st.tracks[translate.Video]
	if !there || width == 0 || height == 0 || !r.st.published && !r.st.publisher.Native() {
		return
	}
	r.sized = true
	video.Width, video.Height = width, height
	r.st.updateTracks([]translate.Track{video})
}

// learnFromSFU is learn for reports of LiveKit. Their sizes are late, and are ignored while the rate source
// reports them.
func (st *stream) learnFromSFU(tracks []translate.Track) {
	if st.rates != nil && st.rates.sized {
		tracks = slices.Clone(tracks)
		for i := range tracks {
			tracks[i].Width, tracks[i].Height = 0, 0
		}
	}
	st.updateTracks(tracks)
}

// silence detects that nothing is sent any more.
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

// newProbes returns the pool of the probes that measure streams.

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
