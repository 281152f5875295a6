package wcs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// processorTime returns what this process has used, with the garbage collector and without other processes.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkWorstMessage reports the cost of 1 MB of the messages that cost most to decode, also in relation
// to the validation of the same bytes (÷json).
func BenchmarkWorstMessage(b *testing.B) {
	const size = 1 << 20
	names := func(format string) []byte {
		var text bytes.Buffer
		text.WriteString(`{"message":"sendData","data":[{"payload":{"":0`)
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, format, i)
		}
		text.WriteString(`}}]}`)
		return text.Bytes()
	}
	payload := func(text string) []byte {
		return []byte(`{"message":"sendData","data":[{"payload":[` + strings.TrimSuffix(strings.Repeat(text, size/len(text)), ",") + `]}]}`)
	}
	for name, frame := range map[string][]byte{
		"names": names(`,"%x":0`), "escaped names": names(`,"\u0061%x":0`), "objects": payload(`{},`), "strings": payload(`"",`),
		"escapes": payload(`"` + strings.Repeat(`\u0061`, 1000) + `",`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			begun := processorTime(b)
			for b.Loop() {
				var data SendData
				c, err := Decode(frame)
				if err == nil {
					err = c.Bind(&data)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			own := float64(processorTime(b) - begun)
			begun = processorTime(b)
			for range b.N {
				json.Valid(frame)
			}
			b.ReportMetric(own/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(own/float64(processorTime(b)-begun), "÷json")
		})
	}
}
