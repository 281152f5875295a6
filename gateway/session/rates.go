package session

import (
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/rates"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// metered implements rates.Stream.
type metered struct{ st *stream }

// startRates starts to send the client its video rate. The client has just been notified that its stream is
// up.
func (st *stream) startRates() {
	st.subscribeNativeData()
	t := st.sess.table
	st.rates = rates.New(metered{st}, rates.Config{
		Published: st.published, Mode: st.sess.app.Rates, SilenceTimeout: t.Config.Media.SilenceTimeout,
		Wheel: t.RateWheel, Metrics: &t.Metrics.Rates,
	})
}

func (st *stream) stopRates() {
	st.unsubscribeNativeData()
	if st.published { // its probe can run for players of other applications
		st.sess.table.Probes.PublisherGone(st.identity)
	}
	st.rates.Stop()
}

func (m metered) Post(f func()) {
	m.st.sess.loop.Post(func() {
		if m.st.ending == nil {
			f()
		}
	})
}

func (m metered) HasVideo() bool { return m.st.kinds.Video }

func (m metered) Probe() (translate.VideoFigures, time.Time) {
	publisher := m.st.publisher
	if m.st.published {
		publisher = m.st.identity
	}
	return m.st.sess.table.Probes.Figures(publisher, m.st.publisherPod, m.st.room)
}

func (m metered) SendRate(f wcs.VideoFigures) {
	m.st.sess.send(wcs.VideoRate{MediaSessionID: m.st.id, Published: m.st.published, Figures: f}.Frame())
	m.st.sess.table.Metrics.RatesSent.WithLabelValues(m.st.kind).Inc()
	m.st.sess.table.Ends.Measured(ends.Stream{Session: m.st.sess.id, MediaID: m.st.id}, m.st.kind, f)
}

// UpdateSize ignores the size for players of WCS publishers: the publisher's pod reports it earlier, and a
// player can have decoded an older picture.
func (m metered) UpdateSize(width, height int) bool {
	video, there := m.st.tracks[translate.Video]
	if !there || width == 0 || height == 0 || !m.st.published && !m.st.publisher.Native() {
		return false
	}
	video.Width, video.Height = width, height
	m.st.updateTracks([]translate.Track{video}, false)
	return true
}

func (m metered) Muted() bool { return m.st.relay.mutedAtSFU() }

func (m metered) OnSource(source string) {
	m.st.sess.log(zerolog.InfoLevel).Str("media", m.st.id).Str("source", source).Msg("source of the video rate")
}

func (m metered) EndSilent() {
	m.st.end(endCause{status: wcs.StatusFailed, info: wcs.InfoFailedByRTPActivity, reason: ends.RTPActivity})
}

// learnFromSFU is updateTracks for reports of LiveKit. Their sizes are late, and are ignored while the rate
// source reports them.
func (st *stream) learnFromSFU(tracks []translate.Track) { st.updateTracks(tracks, st.rates.Sized()) }

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

// onStats returns a row for statistics of a stream. They are never answered: the SDK sends them without the
// app's knowledge.
func onStats[T any](mediaID func(T) string, take func(*rates.Meter, T) (string, error)) spec {
	return spec{run: func(s *Session, c wcs.Command) error {
		var arg T
		result, err := rates.Unknown, c.Bind(&arg)
		if err != nil {
			result = rates.Invalid
		} else if st := s.streams[mediaID(arg)]; st != nil && st.ending == nil {
			result, err = take(st.rates, arg)
		}
		if err != nil {
			s.log(zerolog.DebugLevel).Err(err).Str("media", translate.Abridge(mediaID(arg), 128)).Msg("client statistics not usable")
		}
		s.table.Metrics.Rates.ClientStats.WithLabelValues(result).Inc()
		return nil
	}}
}
