package session

import (
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// StatsPerSecond bounds the descriptions and batches of one stream. An SDK sends one batch a second, and a
// description now and then (protocol.md §6.2).
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

// takeStats never answers: the app behind the client knows nothing of what its SDK sends here.
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
		s.log(zerolog.DebugLevel).Err(err).Str("media", translate.Abridge(mediaID, 128)).Msg("statistics of a client are no good")
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

// batch takes a batch. What it says renews the trust in the client, if it is what is needed.
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
