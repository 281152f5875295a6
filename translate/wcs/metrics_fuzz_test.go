package wcs

import (
	"errors"
	"slices"
	"testing"
)

var metricsErrors = []error{ErrMetricsDescription, ErrMetricsUndescribed, ErrMetricsEncoding, ErrMetricsRow, ErrMetricsTooLarge, ErrMetricsIgnored}

// FuzzClientStats checks that no client data panics, yields figures that do not fit the wire, or corrupts
// later data.
func FuzzClientStats(f *testing.F) {
	for _, published := range []bool{true, false} {
		f.Add(published, "none", outbound("V")+","+remoteInbound("R"), []byte(`["1000;100000;30;640;480;0;1;900;4;0","200000;;;;;;;;"]`), "gzip", exampleHeaders, []byte(quoted(exampleRows)))
		f.Add(published, "", inbound("V")+","+remoteOutbound("R"), []byte(quoted(`["1000;0;30;640;480;2;1;700.5;100000"]`)), "none", "a.b.c,..,inbound-rtp.V.framesDecoded", []byte(`["1;5","2"]`))
		f.Add(published, "none", exampleHeaders, []byte(exampleRows), "none", manyReports(40), []byte(`null`))
	}
	f.Fuzz(func(t *testing.T, published bool, compression1, headers1 string, metrics1 []byte, compression2, headers2 string, metrics2 []byte) {
		c := NewClientStats(published)
		var media, samples uint64
		check := func(err error) {
			if err != nil && !slices.ContainsFunc(metricsErrors, func(e error) bool { return errors.Is(err, e) }) {
				t.Fatalf("error without a kind: %v", err)
			}
			v, known := c.Figures()
			if v.Rate < 0 || v.Rate > maxVideoRate*8*maxMetricsReports || !known && v.Rate != 0 {
				t.Fatalf("%d bit/s, %v", v.Rate, known)
			}
			for _, n := range []int{v.FPS, v.NACK, v.PLI, v.Lost, v.Width, v.Height} {
				if n < 0 || n > maxInt {
					t.Fatalf("%+v", v)
				}
			}
			if v.FPS > maxFrameRate || c.MediaBytes() < media || c.Samples() < samples || len(c.reports) > maxMetricsReports {
				t.Fatalf("%+v, %d bytes after %d, %d samples after %d, %d reports", v, c.MediaBytes(), media, c.Samples(), samples, len(c.reports))
			}
			media, samples = c.MediaBytes(), c.Samples()
		}
		for range 2 {
			check(c.Describe(MetricsDescription{Compression: compression1, Headers: headers1}))
			check(c.Batch(MetricsBatch{Metrics: metrics1}))
			check(c.Batch(MetricsBatch{Metrics: metrics2}))
			check(c.Describe(MetricsDescription{Compression: compression2, Headers: headers2}))
			check(c.Batch(MetricsBatch{Metrics: metrics2}))
		}
		c.faults = 0
		if published {
			describe(t, c, outbound("good"), remoteInbound("good"))
			rows(t, c, "1e12 1e9 0 0 0 0 0 1 0 0", "1e14 1e9 0 0 0 0 0 2 0 0", "100000000001000 1000100000 0 0 0 0 0 3 0 0")
		} else {
			describe(t, c, remoteOutbound("good"))
			rows(t, c, "1e12 1e9", "1e14 1e9", "100000000001000 1000100000")
		}
		want(t, c, "good ones after that", 800_000)
	})
}
