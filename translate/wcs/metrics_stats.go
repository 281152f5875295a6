package wcs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ClientStats collects a client's own WebRTC statistics of one of its streams (docs/rates-and-snapshots.md).
// It accepts any client data within fixed limits: faulty data is dropped with an error, and later data counts
// again, until ten descriptions or batches in a row were faulty. It is not safe for concurrent use.
type ClientStats struct {
	published bool

	faults    int // in a row
	described bool
	columns   []*float64 // storage for the values of a row; nil = unused column
	row       []float64  // the values of the last row, for values that the next one omits
	reports   []*report

	samples    uint64
	mediaBytes float64
}

// NewClientStats returns the statistics of a publisher or of a player.
func NewClientStats(published bool) *ClientStats { return &ClientStats{published: published} }

// Describe sets the columns of the batches that follow. After an error, which wraps ErrMetricsDescription,
// ErrMetricsTooLarge or ErrMetricsIgnored, batches are rejected until the next description; the figures so
// far stay.
func (c *ClientStats) Describe(d MetricsDescription) error {
	if c.faults >= maxMetricsFaults {
		return ErrMetricsIgnored
	}
	err := c.describe(d)
	if err != nil {
		c.faults++
	}
	return err
}

func (c *ClientStats) describe(d MetricsDescription) error {
	c.described = false
	for _, r := range c.reports {
		r.listed = false
	}
	if err := d.check(); err != nil {
		return err
	}
	columns, listed, err := c.places(d.Headers)
	if err != nil {
		return err
	}
	for _, r := range listed {
		r.listed = true
	}
	past := slices.DeleteFunc(c.reports, func(r *report) bool { return r.listed })
	c.reports = append(listed, past...)
	c.reports = c.reports[:min(len(c.reports), maxMetricsReports)] // drops the oldest
	c.described, c.columns, c.row = true, columns, make([]float64, len(columns))
	return nil
}

func (d MetricsDescription) check() error {
	if len(d.Headers) > maxMetricsHeaderBytes {
		return fmt.Errorf("%w: headers of %d bytes, at most %d", ErrMetricsTooLarge, len(d.Headers), maxMetricsHeaderBytes)
	}
	if n := strings.Count(d.Headers, ",") + 1; n > maxMetricsHeaders {
		return fmt.Errorf("%w: %d headers, at most %d", ErrMetricsTooLarge, n, maxMetricsHeaders)
	}
	if d.Compression != compressionNone && d.Compression != "" {
		return fmt.Errorf("%w: compression must be none", ErrMetricsDescription)
	}
	return nil
}

// places returns the storage for each column, nil for unused columns, and the reports that the columns belong
// to.
func (c *ClientStats) places(headers string) (columns []*float64, listed []*report, err error) {
	local, remote := c.types()
	for header := range strings.SplitSeq(headers, ",") {
		part := strings.Split(header, ".")
		if len(part) != 3 {
			continue // the SDKs describe it but send no value for it
		}
		typ, id, metric := part[0], part[1], part[2]
		if typ != local && typ != remote {
			columns = append(columns, nil)
			continue
		}
		same := func(r *report) bool { return r.typ == typ && r.id == id }
		i := slices.IndexFunc(listed, same)
		if i < 0 {
			i = len(listed)
			if i == maxMetricsReports {
				return nil, nil, fmt.Errorf("%w: more than %d reports", ErrMetricsTooLarge, maxMetricsReports)
			}
			if known := slices.IndexFunc(c.reports, same); known >= 0 {
				listed = append(listed, c.reports[known])
			} else {
				listed = append(listed, newReport(strings.Clone(typ), strings.Clone(id)))
			}
		}
		columns = append(columns, listed[i].column(metric))
	}
	return columns, listed, nil
}

// types returns the report types that count: the client's own, and the server's about it.
func (c *ClientStats) types() (local, remote string) {
	if c.published {
		return outboundRTP, remoteInboundRTP
	}
	return inboundRTP, remoteOutboundRTP
}

// Batch takes the rows of a batch, up to the first faulty one. Its error wraps ErrMetricsUndescribed,
// ErrMetricsEncoding, ErrMetricsRow, ErrMetricsTooLarge or ErrMetricsIgnored.
func (c *ClientStats) Batch(b MetricsBatch) error {
	switch {
	case c.faults >= maxMetricsFaults:
		return ErrMetricsIgnored
	case !c.described:
		return ErrMetricsUndescribed
	}
	c.faults++
	err := c.batch(b)
	if err == nil {
		c.faults = 0
	}
	return err
}

func (c *ClientStats) batch(b MetricsBatch) error {
	rows, err := metricsRows(b.Metrics)
	if err != nil {
		return err
	}
	for i, row := range rows {
		if err := c.read(row, i == 0); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
		c.take()
	}
	return nil
}

// read parses a row. An empty value means "unchanged", except in the first row of a batch.
func (c *ClientStats) read(row string, first bool) error {
	values := strings.Count(row, ";") + 1
	if !first && values == len(c.columns)-1 {
		// 2.0.266 loses the first separator when the first value is unchanged and the second is not.
		row, values = ";"+row, values+1
	}
	if values != len(c.columns) {
		return fmt.Errorf("%w: %d values, described %d", ErrMetricsRow, values, len(c.columns))
	}
	for i, column := range c.columns {
		var value string
		value, row, _ = strings.Cut(row, ";")
		if column == nil || value == "" && !first {
			continue
		}
		// No counter of a browser exceeds 2^53: its numbers are exact up to there.
		number, err := strconv.ParseFloat(value, 64)
		if err != nil || !(math.Abs(number) <= 1<<53) {
			return fmt.Errorf("%w: value %d is not a number of getStats", ErrMetricsRow, i+1)
		}
		c.row[i] = number
	}
	return nil
}

// take applies the row that was read.
func (c *ClientStats) take() {
	c.samples++
	for i, column := range c.columns {
		if column != nil {
			*column = c.row[i]
		}
	}
	for _, r := range c.reports {
		if !r.listed {
			continue
		}
		r.take()
		if r.typ == outboundRTP {
			c.mediaBytes += r.growth()
		}
	}
}

// Samples returns the number of rows taken so far. While it does not grow, the client reports nothing, and
// the figures are old.
func (c *ClientStats) Samples() uint64 { return c.samples }

// MediaBytes returns the payload that a publisher sent so far, of video and audio; 0 for a player. It never
// falls. While Samples grows, it stands still only if nothing is sent: a muted track sends silence or black
// pictures.
func (c *ClientStats) MediaBytes() uint64 { return uint64(min(c.mediaBytes, 1<<63)) }

// Figures returns the video figures of the last row, and whether the rate is known. FPS counts the frames
// that a publisher encoded or a player decoded. NACK and PLI are the requests that a publisher received or a
// player sent. Lost counts the packets lost on the way to the server (publisher) or to the player.
func (c *ClientStats) Figures() (VideoFigures, bool) {
	var f VideoFigures
	var nack, pli, lost, fps float64
	for _, r := range c.reports {
		if !r.video {
			continue
		}
		// Past reports count as well: their RTP streams were part of this stream.
		nack, pli, lost = nack+r.nack, pli+r.pli, lost+r.lost
		if !r.present() {
			continue
		}
		if r.fps.known {
			fps = max(fps, r.fps.perSecond)
		}
		if r.width*r.height > float64(f.Width)*float64(f.Height) {
			f.Width, f.Height = whole(r.width), whole(r.height)
		}
	}
	f.NACK, f.PLI, f.Lost, f.FPS = whole(nack), whole(pli), whole(lost), whole(fps)
	rate, known := c.rate()
	f.Rate = int64(math.Round(rate))
	return f, known
}

// rate returns the video payload in bit/s. For a publisher it is the rate that it sent, less the share that
// the server reports lost. Retransmissions do not count: the server does not report a packet lost that
// arrived at the second attempt, but only one of the two arrived. For a player it is the rate between the
// server's last two sender reports. LiveKit's sender reports include the RTP headers, 12 bytes a packet,
// against RFC 3550 §6.4.1: 2 % of 500 kbit/s.
func (c *ClientStats) rate() (rate float64, known bool) {
	local, remote := c.types()
	source := remote
	if c.published {
		source = local
	}
	var missed, reports float64
	for _, r := range c.reports {
		if !r.video || !r.present() {
			continue
		}
		if r.typ == source && r.rate.known {
			rate, known = rate+r.rate.perSecond*8, true
		}
		if r.typ == remoteInboundRTP {
			missed, reports = missed+min(max(r.fractionLost, 0), 1), reports+1
		}
	}
	if !c.published || rate == 0 {
		return rate, known // nothing was sent, so nothing was lost
	}
	if reports == 0 {
		return 0, false // no receiver report: it is unknown what arrived
	}
	return rate * (1 - missed/reports), known
}
