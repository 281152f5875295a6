package wcs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// described returns statistics with this description.
func described(t *testing.T, published bool, headers ...string) *ClientStats {
	t.Helper()
	c := NewClientStats(published)
	describe(t, c, headers...)
	return c
}

func describe(t *testing.T, c *ClientStats, headers ...string) {
	t.Helper()
	if err := c.Describe(MetricsDescription{Headers: strings.Join(headers, ",")}); err != nil {
		t.Fatal(err)
	}
}

// rows takes each row as a batch of one row, as clients are requested to send them. Values are separated by
// blanks.
func rows(t *testing.T, c *ClientStats, rows ...string) {
	t.Helper()
	for _, row := range rows {
		if err := c.Batch(batch(strings.ReplaceAll(row, " ", ";"))); err != nil {
			t.Fatalf("%s: %v", row, err)
		}
	}
}

func batch(rows ...string) MetricsBatch {
	return MetricsBatch{Metrics: json.RawMessage(mustMarshal(rows))}
}

// want checks the rate; -1 means unknown.
func want(t *testing.T, c *ClientStats, when string, rate int64) VideoFigures {
	t.Helper()
	f, known := c.Figures()
	if got := f.Rate; known && got != rate || known != (rate >= 0) {
		t.Errorf("%s: %d bit/s, known: %v, want %d", when, got, known, rate)
	}
	return f
}

// Columns of a report, as clientMetrics requests them.
func outbound(id string) string {
	return columns(outboundRTP, id, "timestamp", "bytesSent", "framesEncoded", "frameWidth", "frameHeight", "nackCount", "pliCount")
}

func outboundAudio(id string) string {
	return columns(outboundRTP, id, "timestamp", "bytesSent", "nackCount")
}

func remoteInbound(id string) string {
	return columns(remoteInboundRTP, id, "timestamp", "packetsLost", "fractionLost")
}

func inbound(id string) string {
	return columns(inboundRTP, id, "timestamp", "packetsLost", "framesDecoded", "frameWidth", "frameHeight", "nackCount", "pliCount")
}

func remoteOutbound(id string) string {
	return columns(remoteOutboundRTP, id, "remoteTimestamp", "bytesSent")
}

func columns(typ, id string, metrics ...string) string {
	for i, metric := range metrics {
		metrics[i] = typ + "." + id + "." + metric
	}
	return strings.Join(metrics, ",")
}

func TestPublisherRateIsReceivedRate(t *testing.T) {
	c := described(t, true, outbound("V"))
	rows(t, c, "1000 100000 30 640 480 0 1")
	want(t, c, "one sample", -1)
	rows(t, c, "2000 200000 60 640 480 0 1")
	want(t, c, "no word from the server", -1)
	describe(t, c, outbound("V"), remoteInbound("R"))
	rows(t, c, "3000 300000 90 640 480 0 1 2900 0 0")
	want(t, c, "nothing lost", 800_000)
	rows(t, c, "4250 400000 120 640 480 5 2 3900 12 0.25")
	f := want(t, c, "a quarter lost, in 1.25 s", 480_000)
	if f.FPS != 24 || f.NACK != 5 || f.PLI != 2 || f.Lost != 12 {
		t.Errorf("got %+v", f)
	}
	rows(t, c, "5250 400000 120 640 480 5 2 3900 12 0.25")
	want(t, c, "nothing sent", 0)
}

func TestPublisherRateWhenServerReportsStop(t *testing.T) {
	c := described(t, true, outbound("V"), remoteInbound("R"))
	for i := range maxRepeats {
		rows(t, c, fmt.Sprintf("%d %d 0 0 0 0 0 500 0 0", 1000*(i+1), 100_000*(i+1)))
	}
	want(t, c, "a report that is old", 800_000)
	rows(t, c, "90000 9000000 0 0 0 0 0 500 0 0")
	want(t, c, "a report that is too old", -1)
	rows(t, c, "91000 9100000 0 0 0 0 0 90500 0 0.5")
	want(t, c, "a new report", 400_000)
	rows(t, c, "92000 9200000 0 0 0 0 0 91500 0 2")
	want(t, c, "more lost than there is", 0)
	rows(t, c, "93000 9300000 0 0 0 0 0 92500 0 -1")
	want(t, c, "less lost than nothing", 800_000)
}

// Retransmissions (half of the packets were lost) are part of bytesSent, and of no loss that the server
// reports.
func TestRetransmissionsCountOnce(t *testing.T) {
	c := described(t, true, columns(outboundRTP, "V", "timestamp", "bytesSent", "retransmittedBytesSent", "framesEncoded"), remoteInbound("R"))
	rows(t, c, "1000 100000 0 30 900 0 0", "2000 300000 100000 60 1900 0 0")
	want(t, c, "all has come in the end", 800_000)
	rows(t, c, "3000 450000 150000 90 2900 20 0.25")
	want(t, c, "a quarter has not", 600_000)
	if c.MediaBytes() != 450_000 {
		t.Errorf("%d bytes", c.MediaBytes())
	}
}

func TestFiguresSumSeveralVideoStreams(t *testing.T) {
	c := described(t, true, outbound("V1"), outbound("V2"), outboundAudio("A"), remoteInbound("R1"), remoteInbound("R2"))
	rows(t, c,
		"1000 100000 30 320 240 1 1 1000 50000 15 640 480 2 1 1000 9000 7 900 1 0 900 2 0",
		"2000 110000 60 320 240 1 1 2000 90000 30 640 480 4 1 2000 9500 8 1900 1 0 1900 4 0.5")
	f := want(t, c, "two streams, without the audio", 300_000)
	if f.FPS != 30 || f.NACK != 5 || f.PLI != 2 || f.Lost != 5 || f.Width != 640 || f.Height != 480 {
		t.Errorf("got %+v", f)
	}
	if c.MediaBytes() != 110_000+90_000+9_500 {
		t.Errorf("%d bytes", c.MediaBytes())
	}
}

// The sums cover the whole stream. A new source has no rate until it has two samples.
func TestNewSourceHasNoRateUntilSecondSample(t *testing.T) {
	c := described(t, true, outbound("V1"), remoteInbound("R1"))
	rows(t, c, "1000 100000 30 640 480 3 1 900 4 0", "2000 200000 60 640 480 3 1 1900 4 0")
	describe(t, c, outbound("V2"), remoteInbound("R2"))
	rows(t, c, "3000 5000 5 320 240 1 1 2900 2 0")
	f := want(t, c, "one sample", -1)
	if f.NACK != 4 || f.PLI != 2 || f.Lost != 6 || f.Width != 320 || f.FPS != 0 || c.MediaBytes() != 205_000 {
		t.Errorf("got %+v, %d bytes", f, c.MediaBytes())
	}
	rows(t, c, "4000 105000 35 320 240 1 1 3900 2 0")
	want(t, c, "two samples", 800_000)
}

// A counter that appears later than its report did not grow from 0.
func TestCounterOfNewColumnDoesNotGrowFromZero(t *testing.T) {
	c := described(t, true, columns(outboundRTP, "V", "timestamp", "frameWidth"), remoteInbound("R"))
	rows(t, c, "1000 640 900 0 0", "2000 640 1900 0 0")
	describe(t, c, columns(outboundRTP, "V", "timestamp", "bytesSent", "framesEncoded"), remoteInbound("R"))
	rows(t, c, "3000 300000 90 2900 0 0")
	if f := want(t, c, "one sample with them", -1); f.FPS != 0 || c.MediaBytes() != 300_000 {
		t.Errorf("got %+v, %d bytes", f, c.MediaBytes())
	}
	rows(t, c, "4000 400000 120 3900 0 0")
	if f := want(t, c, "two samples with them", 800_000); f.FPS != 30 {
		t.Errorf("got %+v", f)
	}
}

func TestFallingCountersHaveNoRate(t *testing.T) {
	c := described(t, true, outbound("V"), remoteInbound("R"))
	rows(t, c, "1000 5000000 3000 0 0 0 0 900 9 0", "2000 5100000 3030 0 0 0 0 1900 9 0", "3000 50000 15 0 0 0 0 2900 9 0")
	if f := want(t, c, "begun anew", -1); f.FPS != 0 {
		t.Errorf("%d frames a second", f.FPS)
	}
	rows(t, c, "4000 150000 45 0 0 0 0 3900 7 0")
	if f := want(t, c, "after that", 800_000); f.FPS != 30 || f.Lost != 7 {
		t.Errorf("got %+v", f)
	}
	if c.MediaBytes() != 5_250_000 {
		t.Errorf("%d bytes, which must not fall", c.MediaBytes())
	}
	rows(t, c, "5000 9000000000000 9000000000 0 0 0 0 4900 -3 0")
	if f := want(t, c, "a jump", -1); f.FPS != 0 || f.Lost != 0 {
		t.Errorf("got %+v", f)
	}
	rows(t, c, "4500 9000000100000 9000000030 0 0 0 0 4400 0 0")
	want(t, c, "the clock set back", -1)
	rows(t, c, "5500 9000000200000 9000000060 0 0 0 0 5400 0 0", "5510 9000000290000 9000000061 0 0 0 0 5410 0 0", "5510 9000000290000 9000000061 0 0 0 0 5410 0 0")
	want(t, c, "too soon for a rate of its own", 800_000)
	rows(t, c, "6500 9000000300000 9000000090 0 0 0 0 6400 0 0")
	want(t, c, "the time that was too short is in the next", 800_000)
}

func TestPlayerRateIsSentRate(t *testing.T) {
	c := described(t, false, "transport.T01.timestamp")
	rows(t, c, "0")
	want(t, c, "no media yet", -1)
	// bytesReceived is a column that another server requests.
	describe(t, c, "transport.T01.timestamp", inbound("V"), "inbound-rtp.V.bytesReceived", remoteOutbound("R"))
	const received = " 640 480 2 1 999999999 "
	rows(t, c, "1 1000 0 30"+received+"700.5 100000")
	want(t, c, "one sender report", -1)
	rows(t, c, "2 2000 0 60"+received+"700.5 100000", "3 3000 0 90"+received+"700.5 100000")
	want(t, c, "the same again", -1)
	rows(t, c, "4 4000 6 115"+received+"3700.5 400000")
	f := want(t, c, "the second", 800_000)
	if (f != VideoFigures{Rate: 800_000, FPS: 25, NACK: 2, PLI: 1, Lost: 6, Width: 640, Height: 480}) {
		t.Errorf("got %+v", f)
	}
	rows(t, c, "5 5000 6 140"+received+"3700.5 400000")
	want(t, c, "until the third", 800_000)
	rows(t, c, "6 6000 6 170"+received+"6700.5 550000")
	want(t, c, "the third", 400_000)
	for i := range maxRepeats {
		want(t, c, fmt.Sprintf("%d rows after the last", i), 400_000)
		rows(t, c, fmt.Sprintf("%d %d 6 170", 7+i, 7000+1000*i)+received+"6700.5 550000")
	}
	want(t, c, "no sender report any more", -1)
	if c.MediaBytes() != 0 {
		t.Errorf("MediaBytes of a player = %d", c.MediaBytes())
	}
}

func TestSenderReportCounterWrapsAround(t *testing.T) {
	c := described(t, false, remoteOutbound("R"))
	rows(t, c, "1000 4294900000", "4000 82704")
	want(t, c, "150000 bytes in 3 s", 400_000)
	rows(t, c, "7000 10")
	want(t, c, "begun anew", -1)
}

// 2.0.266 loses the first separator of a row when the first value is unchanged and the second is not.
func TestLostSeparatorIsRestored(t *testing.T) {
	c := described(t, true, "outbound-rtp.V.frameWidth", "outbound-rtp.V.bytesSent", "outbound-rtp.V.timestamp", "outbound-rtp.V.frameHeight", "remote-inbound-rtp.R.fractionLost")
	if err := c.Batch(batch("640;100000;1000;360;0", ";200000;2000;;", "300000;3000;;", ";;4000;;0.5", "320;;5000;180;", ";;;;")); err != nil {
		t.Fatal(err)
	}
	if f := want(t, c, "the last but one sent nothing", 0); f.Width != 320 || f.Height != 180 || c.Samples() != 6 || c.MediaBytes() != 300_000 {
		t.Errorf("got %+v, %d samples, %d bytes", f, c.Samples(), c.MediaBytes())
	}
	if err := c.Batch(batch("320;400000;6000;180;0.5", "500000;7000;;")); err != nil {
		t.Fatal(err)
	}
	want(t, c, "the next batch", 400_000)
}

// The SDKs list headers whose report id has a dot, and send no value for them. Unused columns can hold
// anything.
func TestUnusedColumnsAreIgnored(t *testing.T) {
	c := described(t, true, "codec.C.mimeType", "outbound-rtp.V.kind", "outbound-rtp.a.b.bytesSent", outbound("V"), "x", "inbound-rtp.I.packetsLost", remoteInbound("R"), "..")
	rows(t, c, "video/VP8 video 1000 100000 30 640 480 0 1 {} 900 0 0 x", "video/VP8 video 2000 200000 60 640 480 0 1 [] 1900 0 0 ")
	want(t, c, "two samples", 800_000)
}

func TestFiguresFitTheWire(t *testing.T) {
	c := described(t, true, outbound("V1"), outbound("V2"), remoteInbound("R"))
	const most = " 9007199254740992 9007199254740992 9007199254740992 9007199254740992 9007199254740992 9007199254740992 "
	for at := 1; at < 6000; at += 2 {
		rows(t, c, fmt.Sprintf("%d%[2]s%[1]d%[2]s1 9007199254740992 0", at, most), fmt.Sprintf("%d 0 0 0 0 0 0 %[1]d 0 0 0 0 0 0 1 0 0", at))
	}
	rows(t, c, "6001"+most+"6001"+most+"1 9007199254740992 0")
	if f, _ := c.Figures(); f != (VideoFigures{NACK: maxInt, PLI: maxInt, Lost: maxInt, Width: maxInt, Height: maxInt}) {
		t.Errorf("got %+v", f)
	}
	if c.MediaBytes() < 1<<62 {
		t.Errorf("%d bytes", c.MediaBytes())
	}
}
