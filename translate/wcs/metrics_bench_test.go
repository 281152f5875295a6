package wcs

import (
	"fmt"
	"testing"
)

// BenchmarkClientStats measures one second of a stream: a message of one row, as clients are requested to
// send it, from its text to the outgoing message. batch30 is a row of the batches that the vendor's server
// requests.
func BenchmarkClientStats(b *testing.B) {
	stats := func(b *testing.B) *ClientStats {
		c := NewClientStats(true)
		d := MetricsDescription{Compression: compressionNone, Headers: "transport.T01.timestamp," + outboundAudio("A") + "," + outbound("V") + "," + remoteInbound("R")}
		if err := c.Describe(d); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		return c
	}
	row := func(i int) string {
		at := 1795374285570.152 + float64(i)*1000
		return fmt.Sprintf("%f;%f;%d;0;%f;%d;%d;640;480;0;1;%f;0;0.0078125", at, at, 4000*i, at, 122_000*i, 30*i, at-400)
	}
	take := func(b *testing.B, c *ClientStats, metrics []byte) {
		if err := c.Batch(MetricsBatch{Metrics: metrics}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("array", func(b *testing.B) {
		c, metrics := stats(b), mustMarshal([]string{row(1)})
		for b.Loop() {
			take(b, c, metrics)
		}
	})
	b.Run("string", func(b *testing.B) {
		c, metrics := stats(b), []byte(quoted(string(mustMarshal([]string{row(1)}))))
		for b.Loop() {
			take(b, c, metrics)
		}
	})
	b.Run("frame", func(b *testing.B) {
		c := stats(b)
		frame := mustMarshal(map[string]any{"message": CmdMetricsBatch, "data": []any{map[string]any{
			"mediaSessionId": "88e08b20-e6a7-11f1-ad2d-ddc703b31ef5", "metrics": string(mustMarshal([]string{row(1)})),
		}}})
		for b.Loop() {
			cmd, err := Decode(frame)
			if err == nil {
				err = feed(c, cmd)
			}
			if err != nil {
				b.Fatal(err)
			}
			figures, _ := c.Figures()
			_ = VideoRate{MediaSessionID: "88e08b20-e6a7-11f1-ad2d-ddc703b31ef5", Published: true, Figures: figures}.Frame()
		}
	})
	b.Run("batch30", func(b *testing.B) {
		c, all := stats(b), make([]string, 30)
		for i := range all {
			all[i] = row(i)
		}
		metrics := mustMarshal(all)
		for b.Loop() {
			take(b, c, metrics)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/30, "ns/row")
	})
}
