package wcs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

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
			own := b.Elapsed() / time.Duration(b.N)
			begun := time.Now()
			for range b.N {
				json.Valid(frame)
			}
			b.ReportMetric(float64(own)/float64(time.Since(begun)/time.Duration(b.N)), "÷json")
		})
	}
}
