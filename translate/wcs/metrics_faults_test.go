package wcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// manyReports returns the headers of n reports with one column each.
func manyReports(n int) string {
	headers := make([]string, n)
	for i := range headers {
		headers[i] = columns(outboundRTP, fmt.Sprint(i), "bytesSent")
	}
	return strings.Join(headers, ",")
}

func TestInvalidDescriptionsAreRejected(t *testing.T) {
	for _, c := range []struct {
		d     MetricsDescription
		err   error
		fault string
	}{
		{MetricsDescription{Compression: "s3cr3t"}, ErrMetricsDescription, "compression must be none"},
		{MetricsDescription{Compression: "gzip"}, ErrMetricsDescription, "compression must be none"},
		{MetricsDescription{Headers: strings.Repeat("a", maxMetricsHeaderBytes+1)}, ErrMetricsTooLarge, "headers of 16385 bytes, at most 16384"},
		{MetricsDescription{Headers: strings.Repeat(",", maxMetricsHeaders)}, ErrMetricsTooLarge, "257 headers, at most 256"},
		{MetricsDescription{Headers: manyReports(maxMetricsReports + 1)}, ErrMetricsTooLarge, "more than 32 reports"},
	} {
		stats := described(t, true, outbound("V"), remoteInbound("R"))
		rows(t, stats, "1000 100000 30 640 480 3 1 900 4 0", "2000 200000 60 640 480 3 1 1900 4 0")
		if err := stats.Describe(c.d); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("got %v, want %v: %s", err, c.err, c.fault)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("error contains client data: %v", err)
		}
		// Neither the meaning of the next rows nor the validity of the old figures is known.
		want(t, stats, "without a description", -1)
		if err := stats.Batch(batch("3000;300000;90;640;480;3;1;2900;4;0")); !errors.Is(err, ErrMetricsUndescribed) {
			t.Errorf("a batch after it: %v", err)
		}
		describe(t, stats, outbound("V"), remoteInbound("R"))
		rows(t, stats, "4000 400000 120 640 480 3 1 3900 4 0")
		if f := want(t, stats, "described again", 800_000); f.NACK != 3 || stats.MediaBytes() != 400_000 || stats.Samples() != 3 {
			t.Errorf("got %+v, %d bytes, %d samples", f, stats.MediaBytes(), stats.Samples())
		}
	}
}

func TestInvalidBatchesAreRejected(t *testing.T) {
	const good = "1500;150000;45;640;480;3;1;1400;4;0"
	for _, c := range []struct {
		metrics string
		err     error
		fault   string
	}{
		{``, ErrMetricsEncoding, "not JSON"},
		{`null`, ErrMetricsEncoding, "no metrics"},
		{`5`, ErrMetricsEncoding, "metrics: must not be a JSON number"},
		{`{"s3cr3t":1}`, ErrMetricsEncoding, "metrics: must not be a JSON object"},
		{`[1]`, ErrMetricsEncoding, "rows: must not be a JSON number"},
		{quoted(`s3cr3t`), ErrMetricsEncoding, "rows: not JSON (at byte 1)"},
		{quoted(`{"s3cr3t":1}`), ErrMetricsEncoding, "rows: must not be a JSON object"},
		{quoted(strings.Repeat(" ", maxMetricsBatchBytes)), ErrMetricsTooLarge, "a batch of 16386 bytes, at most 16384"},
		{`[` + strings.Repeat(`"",`, maxMetricsRows) + `""]`, ErrMetricsTooLarge, "a batch of more than 120 rows"},
		{`[""]`, ErrMetricsRow, "row 1: metrics do not fit their description: 1 values, described 10"},
		{`["` + good + `;5"]`, ErrMetricsRow, "11 values, described 10"},
		{`["` + good[5:] + `"]`, ErrMetricsRow, "9 values, described 10"}, // the first row of a batch is complete
		{`["` + good[4:] + `"]`, ErrMetricsRow, "value 1 is not a number of getStats"},
		{`["` + strings.Replace(good, "640", "s3cr3t", 1) + `"]`, ErrMetricsRow, "value 4 is not a number of getStats"},
		{`["` + strings.Replace(good, "640", "NaN", 1) + `"]`, ErrMetricsRow, "value 4"},
		{`["` + strings.Replace(good, "640", "-Infinity", 1) + `"]`, ErrMetricsRow, "value 4"},
		{`["` + strings.Replace(good, "640", "1e300", 1) + `"]`, ErrMetricsRow, "value 4"},
		{`["` + strings.Replace(good, "640", `{\"a\":1}`, 1) + `"]`, ErrMetricsRow, "value 4"},
		{`["` + strings.Replace(good, "640", `\"64;0\"`, 1) + `"]`, ErrMetricsRow, "11 values"}, // as 2.0.266 quotes them
	} {
		stats := NewClientStats(true)
		d := MetricsDescription{Headers: outbound("V") + "," + remoteInbound("R")}
		if err := stats.Describe(d); err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprintf("%+v", summary(stats))
		err := stats.Batch(MetricsBatch{Metrics: json.RawMessage(c.metrics)})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%.80s: got %v, want %v: %s", c.metrics, err, c.err, c.fault)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("error contains client data: %v", err)
		}
		if after := fmt.Sprintf("%+v", summary(stats)); after != before {
			t.Errorf("%.80s: the figures changed: %s", c.metrics, after)
		}
		rows(t, stats, "1000 100000 30 640 480 3 1 900 4 0", "2000 200000 60 640 480 3 1 1900 4 0")
		want(t, stats, "a good batch after it", 800_000)
	}
}

// summary returns all figures of the statistics.
func summary(c *ClientStats) any {
	f, known := c.Figures()
	return []any{f, known, c.Samples(), c.MediaBytes()}
}

func TestRowsBeforeFaultyRowCount(t *testing.T) {
	c := described(t, true, outbound("V"), remoteInbound("R"))
	err := c.Batch(batch("1000;100000;30;640;480;3;1;900;4;0", "2000;200000;60;;;;;1900;;", "x;;;;;;;;;", "4000;900000;120;;;;;;;"))
	if !errors.Is(err, ErrMetricsRow) || !strings.HasPrefix(err.Error(), "row 3: ") {
		t.Errorf("got %v", err)
	}
	want(t, c, "two rows", 800_000)
	if c.Samples() != 2 || c.MediaBytes() != 200_000 {
		t.Errorf("%d samples, %d bytes", c.Samples(), c.MediaBytes())
	}
}

// Past reports make room for new ones; their number is bounded.
func TestReportsAreBounded(t *testing.T) {
	c := NewClientStats(true)
	for i := range 1000 {
		id := fmt.Sprint(i)
		describe(t, c, outbound(id), remoteInbound(id))
		rows(t, c, "1000 100000 30 640 480 3 1 900 4 0", "2000 200000 60 640 480 3 1 1900 4 0")
		want(t, c, "a new source", 800_000)
		if len(c.reports) > maxMetricsReports {
			t.Fatalf("%d reports kept", len(c.reports))
		}
	}
	if c.MediaBytes() != 200_000_000 {
		t.Errorf("%d bytes", c.MediaBytes())
	}
}

// After ten faults in a row nothing of a stream is decoded any more: a good batch does not count either.
func TestStreamWithManyFaultsIsIgnored(t *testing.T) {
	good, bad := batch("1000;100000;30;640;480;3;1;900;4;0"), batch("x")
	for name, fault := range map[string]func(*ClientStats) error{
		"batches":      func(c *ClientStats) error { return c.Batch(bad) },
		"descriptions": func(c *ClientStats) error { return c.Describe(MetricsDescription{Compression: "gzip"}) },
	} {
		c := described(t, true, outbound("V"), remoteInbound("R"))
		faults := func(n int) {
			for range n {
				if err := fault(c); err == nil || errors.Is(err, ErrMetricsIgnored) {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		faults(maxMetricsFaults - 1)
		describe(t, c, outbound("V"), remoteInbound("R"))
		if err := c.Batch(good); err != nil {
			t.Fatal(err)
		}
		faults(maxMetricsFaults)
		if err := c.Batch(good); !errors.Is(err, ErrMetricsIgnored) {
			t.Errorf("%s: a batch: %v", name, err)
		}
		if err := c.Describe(MetricsDescription{}); !errors.Is(err, ErrMetricsIgnored) {
			t.Errorf("%s: a description: %v", name, err)
		}
		if c.Samples() != 1 {
			t.Errorf("%s: %d samples", name, c.Samples())
		}
	}
}
