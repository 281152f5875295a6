package gateway

import (
	"encoding/json"
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

// RateSource is where the video rates come from that an application's clients are told each second (design.md §6).
type RateSource string

// Sources of video rates. Any other value means RatesOff.
const (
	RatesAuto   RateSource = "auto"   // a client's own statistics if it sends them, else a probe
	RatesClient RateSource = "client" // a client's own statistics, or none
	RatesProbe  RateSource = "probe"  // a probe for everybody
	RatesOff    RateSource = "off"    // nobody is asked, nothing is measured, nobody is told
)

func (s RateSource) asksClients() bool { return s == RatesAuto || s == RatesClient }

func (s RateSource) probes() bool { return s == RatesAuto || s == RatesProbe }

// RatesConfig bounds what video rates may cost.
type RatesConfig struct {
	MaxProbes int // at a time
}

const (
	rateInterval = time.Second // the client divides by nothing (protocol.md §3.10)
	clientWait   = 3 * time.Second
	// clientStart is longer than clientWait because a player's first figures take two sender reports, and LiveKit
	// sends one every 3 s.
	clientStart = 10 * time.Second
)

// Figures are told so long after they have come (keepPhase), at different times to the players of a stream.
const (
	minLag     = 100 * time.Millisecond
	maxLag     = 250 * time.Millisecond
	phaseSlack = 60 * time.Millisecond
)

// Sources in use: labels of metrics and fields of the log.
const (
	fromNobody = ""
	fromClient = "client"
	fromProbe  = "probe"
)

// streamRates is what a stream that is up has to do with its video rate. It belongs to the loop.
type streamRates struct {
	leave    func()           // its place in the beat
	source   string           // in use
	client   *wcs.ClientStats // nil until the client has described its statistics
	patience time.Time        // until then the client's statistics are waited for, or relied on
	came     time.Time        // the client's last row
	messages int              // with the client's statistics, since the last beat
	lag      time.Duration    // how old figures shall be when they are told
	inPhase  bool             // the beat has been moved to where they are
	sized    bool             // the source tells the picture size
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

// startRates begins to tell the client its video rate. It has just been told that its stream is up.
func (st *stream) startRates() {
	st.subscribeNativeData()
	mode := st.sess.app.Rates
	if !mode.asksClients() && !mode.probes() {
		return
	}
	st.rates = &streamRates{lag: minLag + rand.N(maxLag-minLag)}
	if mode.asksClients() {
		st.rates.patience = time.Now().Add(clientWait)
	}
	st.rates.leave = st.sess.g.rateWheel.Add(st)
}

func (st *stream) stopRates() {
	st.unsubscribeNativeData()
	if st.published { // whose probe may be there for players of other applications
		st.sess.g.probes.PublisherGone(st.identity)
	}
	if st.rates != nil {
		st.rates.leave()
		st.useSource(fromNobody)
	}
}

// Tick implements probe.Ticker.
func (st *stream) Tick() { st.sess.loop.Post(st.onSecond) }

func (st *stream) onSecond() {
	if st.ending != nil {
		return
	}
	r := st.rates
	r.messages = 0
	m, source := st.measure()
	st.useSource(source)
	r.sized = false
	if m.known {
		st.learnSize(m.video.Width, m.video.Height)
		if st.keepPhase(m.came) {
			st.sess.send(wcs.VideoRate{MediaSessionID: st.id, Published: st.published, Figures: m.video}.Frame())
			st.sess.g.metrics.rates.WithLabelValues(st.kind()).Inc()
		}
	}
	st.checkSilence(m)
}

// measure asks the source whose turn it is: the client as long as there is hope that it says something, then a probe.
func (st *stream) measure() (m measurement, source string) {
	r := st.rates
	if time.Now().Before(r.patience) {
		if r.client == nil {
			return m, fromNobody
		}
		m.video, m.known = r.client.Figures()
		m.known = m.known && st.kinds.Video
		m.came = r.came
		m.media, m.heard = r.client.MediaBytes(), r.client.Samples() > 0
		return m, fromClient
	}
	if !st.sess.app.Rates.probes() || !st.needsProbe() {
		return m, fromNobody
	}
	publisher := st.publisher
	if st.published {
		publisher = st.identity
	}
	f, came := st.sess.g.probes.Figures(publisher, st.publisherPod, st.room)
	fresh := time.Since(came) <= probe.MaxAge
	m.video = wcs.VideoFigures{Rate: f.Rate, FPS: f.FPS, NACK: f.NACK, PLI: f.PLI, Lost: f.Lost, Width: f.Width, Height: f.Height}
	m.known, m.came = fresh && st.kinds.Video, came
	m.media, m.heard = f.MediaBytes, fresh
	return m, fromProbe
}

// needsProbe: without video there is no rate to tell, but a publisher may fall silent.
func (st *stream) needsProbe() bool {
	return st.kinds.Video || st.published && st.sess.g.cfg.Media.SilenceTimeout > 0
}

// useSource notes which source is in use.
func (st *stream) useSource(source string) {
	r, g := st.rates, st.sess.g
	if r.source == source {
		return
	}
	if r.source != fromNobody {
		g.metrics.rateStreams.WithLabelValues(r.source).Dec()
	}
	if source != fromNobody {
		g.metrics.rateStreams.WithLabelValues(source).Inc()
		st.sess.log(zerolog.InfoLevel).Str("media", st.id).Str("source", source).Msg("source of the video rate")
	}
	r.source, r.inPhase = source, false
}

// keepPhase keeps the beat a little behind the second that the figures are of, because the client compares them with what it
// has counted itself when it gets them: the later they are told, the more it takes a change of the bit rate for a bad connection.
// The first figures of a source wait for the right moment; afterwards the beat follows in steps that do not matter, for
// an uneven beat would be no better. It tells whether the figures shall be told now.
func (st *stream) keepPhase(came time.Time) bool {
	const step = rateInterval / wheel.Slots
	r := st.rates
	off := time.Since(came)%rateInterval - r.lag // too late by so much
	if off > rateInterval/2 {
		off -= rateInterval
	}
	first := !r.inPhase
	r.inPhase = true
	switch {
	case off.Abs() <= phaseSlack:
		return true
	case first:
		st.moveBeat((2*rateInterval - off) % rateInterval)
		return false
	case off > 0:
		st.moveBeat(rateInterval - step)
	default:
		st.moveBeat(rateInterval + step)
	}
	return true
}

func (st *stream) moveBeat(next time.Duration) {
	st.rates.leave()
	st.rates.leave = st.sess.g.rateWheel.AddIn(st, next)
}

// learnSize takes the picture size from the rate source. Of a player it counts only where nobody else tells: its publisher's
// pod knows sooner, and what a player has decoded may be what was sent before.
func (st *stream) learnSize(width, height int) {
	video, there := st.tracks[translate.Video]
	if !there || width == 0 || height == 0 || !st.published && !st.publisher.Native() {
		return
	}
	st.rates.sized = true
	video.Width, video.Height = width, height
	st.learn([]translate.Track{video})
}

// learnFromSFU is learn for what LiveKit says. Its sizes come late, and do not count while the rate source tells them.
func (st *stream) learnFromSFU(tracks []translate.Track) {
	if st.rates != nil && st.rates.sized {
		tracks = slices.Clone(tracks)
		for i := range tracks {
			tracks[i].Width, tracks[i].Height = 0, 0
		}
	}
	st.learn(tracks)
}

// silence notices that nothing is sent any more.
type silence struct {
	bytes uint64
	since time.Time // zero while nobody measures
}

// lasts tells how long the bytes have been what they are.
func (s *silence) lasts(bytes uint64) time.Duration {
	if now := time.Now(); s.since.IsZero() || bytes != s.bytes {
		s.bytes, s.since = bytes, now
	}
	return time.Since(s.since)
}

// checkSilence ends a publisher that has sent nothing for too long. Where nothing is measured nobody can tell, and the time
// begins anew.
func (st *stream) checkSilence(m measurement) {
	limit := st.sess.g.cfg.Media.SilenceTimeout
	switch {
	case !st.published || limit == 0:
	case !m.heard, st.mutedAtSFU():
		st.rates.silence = silence{}
	case st.rates.silence.lasts(m.media) >= limit:
		st.end(ending{status: wcs.StatusFailed, info: wcs.InfoFailedByRTPActivity, class: classClient})
	}
}

// newProbes returns the pool of the probes that measure streams.
func newProbes(g *Gateway) *probe.Pool {
	return probe.New(probe.Deps{
		Prober: g.deps.Prober, Schedule: g.rateWheel.Add, Go: g.work.Go, Recovered: g.recovered,
		Send: func(pods []string, e state.Event) {
			ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
			defer cancel()
			g.bus.Notify(ctx, pods, e)
		},
		CheckPayload: func(p json.RawMessage) error { return g.live().limits.checkPayload(p) },
		NewIdentity:  func() translate.Identity { return g.newIdentity(translate.RoleProbe) },
		Pod:          g.cfg.Pod, MaxProbes: g.cfg.Rates.MaxProbes, Context: g.ctx, Metrics: &g.metrics.probe, Log: g.log,
	})
}

// ratesWanted handles another pod's request for the figures of a stream that is published here.
func (g *Gateway) ratesWanted(e state.Event) {
	st := g.streams.find(translate.Identity(e.Identity))
	if st == nil || !st.published {
		return // it has ended; its players are notified of that
	}
	st.sess.loop.Post(func() {
		if st.ending == nil && st.phase == phaseUp {
			g.probes.RequestedBy(e.From, st.identity, st.room)
		}
	})
}
