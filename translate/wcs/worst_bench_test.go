package wcs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/worst"
)

// largest is the size of the largest message in bytes.
const largest = 1 << 20

// named returns a message of 1 MB, or of as many names as a message may have, whose members have a format.
func named(begin, format, end string) []byte {
	var text bytes.Buffer
	text.WriteString(begin)
	for i := 0; text.Len() < largest && i < maxNames-8; i++ {
		fmt.Fprintf(&text, format, i)
	}
	text.WriteString(end)
	return text.Bytes()
}

// filled returns a sendData of 1 MB, or of as many values as a message may have, whose payload is an array of
// the given elements.
func filled(element string) []byte {
	n := min(largest/(len(element)+1), maxElements)
	return []byte(`{"message":"sendData","data":[{"payload":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}]}`)
}

// BenchmarkWorstMessage measures the decoding of the messages that cost most.
func BenchmarkWorstMessage(b *testing.B) {
	payload := func() any { return new(SendData) }
	for name, m := range map[string]struct {
		frame []byte
		arg   func() any
	}{
		"names":         {named(`{"message":"sendData","data":[{"payload":{"":0`, `,"%x":0`, `}}]}`), payload},
		"escaped names": {named(`{"message":"sendData","data":[{"payload":{"":0`, `,"\u0061%x":0`, `}}]}`), payload},
		"objects":       {filled(`{}`), payload},
		"strings":       {filled(`""`), payload},
		"escapes":       {filled(`"` + strings.Repeat(`\u0061`, 1000) + `"`), payload},
		"half pairs":    {filled(`"` + strings.Repeat(`\ud800`, 1000) + `"`), payload},
		"members of connection": {
			named(`{"message":"connection","data":[{"appKey":"a"`, `,"%x":"`+strings.Repeat("x", 1100)+`"`, `}]}`), func() any { return new(Connection) },
		},
		"names in custom": {
			named(`{"message":"publishStream","data":[{"custom":{"":0`, `,"%x":0`, `}}]}`), func() any { return new(StreamRequest) },
		},
	} {
		b.Run(name, func(b *testing.B) {
			worst.Measure(b, m.frame, func() error {
				c, err := Decode(m.frame)
				if err == nil {
					err = c.Bind(m.arg())
				}
				return err
			})
		})
	}
}

// BenchmarkWorstStatistics measures descriptions and batches as large as they may be.
func BenchmarkWorstStatistics(b *testing.B) {
	described := func(columns int) MetricsDescription {
		var headers []string
		for i := range columns {
			headers = append(headers, fmt.Sprintf("%s.V%d.bytesSent", outboundRTP, i%maxMetricsReports))
		}
		return MetricsDescription{Compression: compressionNone, Headers: strings.Join(headers, ",")}
	}
	batch := func(columns int, value string) (rows []string) {
		row := func(value string) string { return strings.Repeat(value+";", columns-1) + value }
		rows = []string{row("1")} // the first one has all values
		for len(rows) < maxMetricsRows && len(mustMarshal(append(rows, row(value)))) <= maxMetricsBatchBytes {
			rows = append(rows, row(value))
		}
		return rows
	}
	frame := func(metrics any) []byte {
		return mustMarshal(map[string]any{"message": CmdMetricsBatch, "data": []any{map[string]any{"metrics": metrics}}})
	}
	for name, m := range map[string]struct {
		columns int
		message []byte
	}{
		"description":           {1, mustMarshal(map[string]any{"message": CmdMetricsDesc, "data": []any{map[string]any{"headers": described(maxMetricsHeaders).Headers}}})},
		"batch of most rows":    {60, frame(batch(60, "1"))},
		"batch of most columns": {maxMetricsHeaders, frame(batch(maxMetricsHeaders, "1"))},
		"batch of long numbers": {maxMetricsHeaders, frame(batch(maxMetricsHeaders, "0.9007199254740991"))},
		"batch of empty values": {maxMetricsHeaders, frame(batch(maxMetricsHeaders, ""))},
		"batch as text":         {maxMetricsHeaders, frame(string(mustMarshal(batch(maxMetricsHeaders, "1"))))},
	} {
		b.Run(name, func(b *testing.B) {
			c := NewClientStats(true)
			if err := c.Describe(described(m.columns)); err != nil {
				b.Fatal(err)
			}
			worst.Measure(b, m.message, func() error {
				cmd, err := Decode(m.message)
				if err != nil {
					return err
				}
				return feed(c, cmd)
			})
		})
	}
}
