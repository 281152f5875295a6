package wcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A batch of as many bytes as are accepted, but more rows, is refused before its rows are decoded: it costs
// no more than copies of its text.
func TestRefusedBatchAllocatesWithinBound(t *testing.T) {
	array := func(row string, n int) string { return "[" + strings.Repeat(row+",", n-1) + row + "]" }
	filled := func(row string) string { return array(row, (maxMetricsBatchBytes-2)/(len(row)+1)) }
	var different strings.Builder
	for i := range 1600 {
		fmt.Fprintf(&different, `"%d;5",`, 10000+i)
	}
	for name, batch := range map[string]json.RawMessage{
		"empty rows":           json.RawMessage(filled(`""`)),
		"different rows":       json.RawMessage("[" + different.String() + `""]`),
		"rows, one too many":   json.RawMessage(array(`"`+strings.Repeat("1;", 60)+`"`, maxMetricsRows+1)),
		"numbers":              json.RawMessage(filled(`1`)),
		"nested arrays":        json.RawMessage(filled(`[0,0]`)),
		"commas":               json.RawMessage("[" + strings.Repeat(",", maxMetricsBatchBytes-1)),
		"packed numbers":       json.RawMessage(`"` + filled(`1`)[2:] + `"`),
		"packed rows, escaped": json.RawMessage(`"` + strings.Repeat(`\"\",`, (maxMetricsBatchBytes-2)/5) + `"`),
	} {
		if len(batch) > maxMetricsBatchBytes {
			t.Fatalf("%s: %d bytes, more than are accepted", name, len(batch))
		}
		const runs = 10
		refuse := func() {
			if _, err := metricsRows(batch); !errors.Is(err, ErrMetricsTooLarge) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		// The decoder keeps what it needs in pools, of which the race detector takes some away.
		if got := testing.AllocsPerRun(runs, refuse); got > 50 {
			t.Errorf("%s, %d bytes: %.0f allocations", name, len(batch), got)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			refuse()
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 8*maxMetricsBatchBytes {
			t.Errorf("%s, %d bytes: %d allocated", name, len(batch), got)
		}
	}
}
