package hooks

import (
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/worst"
)

// BenchmarkWorstAnswer measures answers of a backend of 1 MB, with everything that is taken from one.
func BenchmarkWorstAnswer(b *testing.B) {
	const size = 1 << 20
	many := func(begin, format, end string) []byte {
		var text strings.Builder
		text.WriteString(begin)
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, format, i)
		}
		text.WriteString(end)
		return []byte(text.String())
	}
	sent := object(b, connectSample)
	for name, answer := range map[string][]byte{
		"names in custom": many(`{"custom":{"":0`, `,"%x":0`, `}}`),
		"objects":         []byte(`{"custom":[{}` + strings.Repeat(`,{}`, size/3) + `]}`),
		"names in a list": many(`{"restClientConfig":{"publishStream":{"restExclude":"a`, `,%x`, `"}}}`),
		"nested settings": many(`{"restClientConfig":{"publishStream":{"x":{"":0`, `,"%x":0`, `}}}}`),
		"members":         many(`{"":0`, `,"%d":"`+strings.Repeat("x", 1100)+`"`, `}`),
		"escapes":         []byte(`{"custom":"` + strings.Repeat(`\u0061`, size/6) + `"}`),
	} {
		b.Run(name, func(b *testing.B) {
			worst.Measure(b, answer, func() error {
				o, err := decode(answer)
				if err != nil {
					return err
				}
				TakeConnect(sent, o)
				_, _ = ParsePolicies(o["restClientConfig"]) // the fault is logged
				return nil
			})
		})
	}
}
