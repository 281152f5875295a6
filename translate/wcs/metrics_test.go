package wcs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The transcripts in testdata/metrics are the metrics of real clients.
// chromium-*: the whole SDK in Chromium 156, which publishes to LiveKit 1.13.5 and plays from it, asked by
// clientMetrics.
// encoded-*: the collectors of the SDKs over one constructed sequence of statistics, in batches of four
// (single: of one) and with other types, whose first column seldom changes: 2.0.266 then loses separators.

// transcript feeds a file of messages to the statistics and calls each after every batch.
func transcript(t *testing.T, name string, c *ClientStats, each func()) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "metrics", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		cmd, err := Decode(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := feed(c, cmd); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if cmd.Name == CmdMetricsBatch {
			each()
		}
	}
}

func feed(c *ClientStats, cmd Command) error {
	switch cmd.Name {
	case CmdMetricsDesc:
		var d MetricsDescription
		if err := cmd.Bind(&d); err != nil {
			return err
		}
		return c.Describe(d)
	case CmdMetricsBatch:
		var b MetricsBatch
		if err := cmd.Bind(&b); err != nil {
			return err
		}
		return c.Batch(b)
	default:
		return ErrMalformed
	}
}

// The expected figures were computed from the transcripts without this package.
func TestFiguresMatchChromiumTranscripts(t *testing.T) {
	for _, c := range []struct {
		name       string
		published  bool
		firstRate  uint64 // the sample after which the rate is known
		rate       [2]int64
		last       VideoFigures
		mediaBytes uint64
	}{
		{"2.0.276-publish", true, 2, [2]int64{453_000, 521_000}, VideoFigures{Rate: 492_706, FPS: 19, PLI: 1, Width: 640, Height: 480}, 1_252_666},
		{"2.0.266-publish", true, 3, [2]int64{454_000, 503_000}, VideoFigures{Rate: 477_043, FPS: 20, PLI: 1, Width: 640, Height: 480}, 1_241_322},
		{"2.0.276-play", false, 6, [2]int64{464_000, 500_000}, VideoFigures{Rate: 464_499, FPS: 20, Width: 640, Height: 480}, 0},
		{"2.0.266-play", false, 6, [2]int64{465_000, 499_000}, VideoFigures{Rate: 465_369, FPS: 20, Width: 640, Height: 480}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats := NewClientStats(c.published)
			transcript(t, "chromium-"+c.name, stats, func() {
				f, known := stats.Figures()
				if known != (stats.Samples() >= c.firstRate) {
					t.Errorf("sample %d: rate known = %v", stats.Samples(), known)
				}
				if known && (f.Rate < c.rate[0] || f.Rate > c.rate[1]) {
					t.Errorf("sample %d: %d bit/s, want one of %v", stats.Samples(), f.Rate, c.rate)
				}
			})
			if f, _ := stats.Figures(); f != c.last {
				t.Errorf("at the end %+v, want %+v", f, c.last)
			}
			if stats.Samples() != 20 || stats.MediaBytes() != c.mediaBytes {
				t.Errorf("%d samples, %d bytes", stats.Samples(), stats.MediaBytes())
			}
		})
	}
}

// The figures do not depend on the encoding.
func TestFiguresDoNotDependOnEncoding(t *testing.T) {
	for name, last := range map[string]int{ // the second of the last row
		"2.0.276-single": 11, "2.0.276-none": 9, "2.0.266-none": 10,
	} {
		t.Run(name, func(t *testing.T) {
			stats := NewClientStats(true)
			transcript(t, "encoded-"+name, stats, func() {})
			f, known := stats.Figures()
			want := VideoFigures{Rate: 61000 * 8 * 3 / 4, FPS: 30, NACK: last / 2, PLI: 1, Lost: 7, Width: 640, Height: 360}
			if !known || f != want {
				t.Errorf("got %+v, %v, want %+v", f, known, want)
			}
			if got, want := stats.MediaBytes(), uint64(100_000+61_000*last+4_000*last); got != want {
				t.Errorf("%d bytes, want %d", got, want)
			}
			if got := stats.Samples(); got != uint64(last+1) {
				t.Errorf("%d samples, want %d", got, last+1)
			}
		})
	}
}

// An example that is output of the SDK's library.
const (
	exampleHeaders = "outbound-rtp.OT01V4281051911.timestamp,outbound-rtp.OT01V4281051911.bytesSent,outbound-rtp.OT01V4281051911.framesPerSecond," +
		"outbound-rtp.OT01V4281051911.frameWidth,outbound-rtp.OT01V4281051911.frameHeight,outbound-rtp.OT01V4281051911.nackCount," +
		"outbound-rtp.OT01V4281051911.pliCount,remote-inbound-rtp.RIV4281051911.packetsLost,remote-inbound-rtp.RIV4281051911.fractionLost"
	exampleRows = `["1795327153000;161000;30;640;360;0;1;0;0","1795327154000;222000;29;;;;;;","1795327155000;283000;30;;;2;;3;0.01171875"]`
)

func TestFiguresMatchWorkedExample(t *testing.T) {
	for compression, metrics := range map[string]string{
		"none": quoted(exampleRows), "": exampleRows,
	} {
		stats := NewClientStats(true)
		if err := stats.Describe(MetricsDescription{Compression: compression, Headers: exampleHeaders}); err != nil {
			t.Fatal(err)
		}
		if err := stats.Batch(MetricsBatch{Metrics: json.RawMessage(metrics)}); err != nil {
			t.Fatalf("%q: %v", compression, err)
		}
		// 488000 bit/s, of which the server missed 3 of 256 packets. The example has no frame counts.
		want := VideoFigures{Rate: 482_281, NACK: 2, PLI: 1, Lost: 3, Width: 640, Height: 360}
		if f, known := stats.Figures(); !known || f != want {
			t.Errorf("%q: got %+v, %v, want %+v", compression, f, known, want)
		}
	}
}

// quoted encodes a JSON string.
func quoted(s string) string { return string(mustMarshal(s)) }

func TestClientsAreAskedForMetrics(t *testing.T) {
	const name = "webRTCMetricsServerDescription"
	if frame := (UserData{}).Frame(); bytes.Contains(frame, []byte(name)) {
		t.Errorf("asks for metrics: %s", frame)
	}
	var e struct{ Data []map[string]json.RawMessage }
	if err := json.Unmarshal(UserData{CollectMetrics: true}.Frame(), &e); err != nil {
		t.Fatal(err)
	}
	asked := e.Data[0][name]
	// The SDKs take the types in the order of the text, and do not trim names.
	if !bytes.HasPrefix(asked, []byte(`{"collect":"on","sampling":1000,"batchSize":1,"compression":["none"],"types":{"transport":{"metrics":"timestamp"},`)) {
		t.Errorf("unexpected start: %s", asked)
	}
	for _, absent := range []string{" ", "ingestPoint", "authorization", "bytesReceived"} {
		if bytes.Contains(asked, []byte(absent)) {
			t.Errorf("%q is in %s", absent, asked)
		}
	}
	var d struct {
		Types map[string]struct {
			Metrics  string
			Contains map[string][]string
		}
	}
	if err := json.Unmarshal(asked, &d); err != nil {
		t.Fatal(err)
	}
	for typ, asked := range d.Types {
		if len(asked.Contains) == 0 != (typ == "transport" || typ == outboundRTP) {
			t.Errorf("%s: contains %v", typ, asked.Contains)
		}
		for metric := range strings.SplitSeq(asked.Metrics, ",") {
			if typ != "transport" && newReport(typ, "").column(metric) == nil {
				t.Errorf("%s: %s is requested but not read", typ, metric)
			}
		}
	}
}
