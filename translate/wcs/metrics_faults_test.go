package wcs

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// packed returns a batch as a compressed string.
func packed(pack func(io.Writer) io.WriteCloser, text string) string {
	var b bytes.Buffer
	w := pack(&b)
	_, _ = io.WriteString(w, text) // a Buffer does not fail
	_ = w.Close()
	return quoted(base64.StdEncoding.EncodeToString(b.Bytes()))
}

func gzipped(text string) string {
	return packed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, text)
}

func deflated(text string) string {
	return packed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, text)
}

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
		{MetricsDescription{Compression: "s3cr3t"}, ErrMetricsDescription, "compression must be none, gzip or deflate"},
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
	bomb := strings.Repeat(" ", maxMetricsTextBytes+1)
	for _, c := range []struct {
		compression, metrics string
		err                  error
		fault                string
	}{
		{"none", ``, ErrMetricsEncoding, "not JSON"},
		{"none", `null`, ErrMetricsEncoding, "no metrics"},
		{"none", `5`, ErrMetricsEncoding, "metrics: must not be a JSON number"},
		{"none", `{"s3cr3t":1}`, ErrMetricsEncoding, "metrics: must not be a JSON object"},
		{"none", `[1]`, ErrMetricsEncoding, "rows: must not be a JSON number"},
		{"none", quoted(`s3cr3t`), ErrMetricsEncoding, "rows: not JSON (at byte 1)"},
		{"none", quoted(`{"s3cr3t":1}`), ErrMetricsEncoding, "rows: must not be a JSON object"},
		{"none", exampleGzip, ErrMetricsEncoding, "metrics: not JSON"},
		{"none", quoted(exampleGzip), ErrMetricsEncoding, "rows: not JSON"},
		{"gzip", quoted(`[]`), ErrMetricsEncoding, "gzip"},
		{"gzip", quoted(`s3cr3t`), ErrMetricsEncoding, "gzip"},
		{"gzip", quoted(``), ErrMetricsEncoding, "gzip"},
		{"gzip", deflated(`["` + good + `"]`), ErrMetricsEncoding, "gzip: gzip: invalid header"},
		{"deflate", gzipped(`["` + good + `"]`), ErrMetricsEncoding, "deflate: zlib: invalid header"},
		{"gzip", gzipped(`["` + good + `"]`)[:40] + `"`, ErrMetricsEncoding, "gzip: unexpected EOF"},
		{"gzip", gzipped(`s3cr3t`), ErrMetricsEncoding, "rows: not JSON"},
		{"none", quoted(strings.Repeat(" ", maxMetricsBatchBytes)), ErrMetricsTooLarge, "a batch of 65538 bytes, at most 65536"},
		{"gzip", gzipped(bomb), ErrMetricsTooLarge, "a batch of more than 262144 bytes when unpacked"},
		{"deflate", deflated(bomb), ErrMetricsTooLarge, "a batch of more than 262144 bytes when unpacked"},
		{"none", `[` + strings.Repeat(`"",`, maxMetricsRows) + `""]`, ErrMetricsTooLarge, "a batch of 121 rows, at most 120"},
		{"none", `[""]`, ErrMetricsRow, "row 1: metrics do not fit their description: 1 values, described 10"},
		{"none", `["` + good + `;5"]`, ErrMetricsRow, "11 values, described 10"},
		{"none", `["` + good[5:] + `"]`, ErrMetricsRow, "9 values, described 10"}, // the first row of a batch is complete
		{"none", `["` + good[4:] + `"]`, ErrMetricsRow, "value 1 is not a number of getStats"},
		{"none", `["` + strings.Replace(good, "640", "s3cr3t", 1) + `"]`, ErrMetricsRow, "value 4 is not a number of getStats"},
		{"none", `["` + strings.Replace(good, "640", "NaN", 1) + `"]`, ErrMetricsRow, "value 4"},
		{"none", `["` + strings.Replace(good, "640", "-Infinity", 1) + `"]`, ErrMetricsRow, "value 4"},
		{"none", `["` + strings.Replace(good, "640", "1e300", 1) + `"]`, ErrMetricsRow, "value 4"},
		{"none", `["` + strings.Replace(good, "640", `{\"a\":1}`, 1) + `"]`, ErrMetricsRow, "value 4"},
		{"none", `["` + strings.Replace(good, "640", `\"64;0\"`, 1) + `"]`, ErrMetricsRow, "11 values"}, // as 2.0.266 quotes them
	} {
		stats := NewClientStats(true)
		d := MetricsDescription{Compression: c.compression, Headers: outbound("V") + "," + remoteInbound("R")}
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
		d.Compression = "none"
		if err := stats.Describe(d); err != nil {
			t.Fatal(err)
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

// TestBombsAreNotUnpacked checks that a batch costs little more than its limits, whatever it unpacks to.
func TestBombsAreNotUnpacked(t *testing.T) {
	c := NewClientStats(true)
	if err := c.Describe(MetricsDescription{Compression: "gzip", Headers: exampleHeaders}); err != nil {
		t.Fatal(err)
	}
	bomb := MetricsBatch{Metrics: json.RawMessage(gzipped(strings.Repeat(" ", 16<<20)))}
	if len(bomb.Metrics) > maxMetricsBatchBytes {
		t.Fatalf("the bomb has %d bytes", len(bomb.Metrics))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := c.Batch(bomb); !errors.Is(err, ErrMetricsTooLarge) {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 8*maxMetricsTextBytes {
		t.Errorf("it took %d bytes of memory", spent)
	}
}
