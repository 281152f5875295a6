package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	Measure  string  `json:"measure"`
	Unit     string  `json:"unit"`
	Ours     float64 `json:"ours"`
	Baseline float64 `json:"baseline,omitempty"` // 0: no baseline
	Against  string  `json:"against,omitempty"`  // what the baseline is
	Goal     goal    `json:"goal"`
}

// goal is the upper limit of a row: of the ratio if Ratio is set, else of our figure. No limit if both are
// 0.
type goal struct {
	Ratio float64 `json:"ratio,omitempty"`
	Ours  float64 `json:"ours,omitempty"`
}

func (r row) ratio() float64 {
	if r.Baseline == 0 {
		return 0
	}
	return r.Ours / r.Baseline
}

func (r row) verdict() string {
	switch {
	case r.Goal.Ratio > 0:
		return met(r.ratio() <= r.Goal.Ratio, fmt.Sprintf("ratio ≤ %.2f", r.Goal.Ratio))
	case r.Goal.Ours > 0:
		return met(r.Ours <= r.Goal.Ours, fmt.Sprintf("≤ %g %s", r.Goal.Ours, r.Unit))
	}
	return ""
}

func met(ok bool, goal string) string {
	if ok {
		return goal + "  met"
	}
	return goal + "  MISSED"
}

// report collects the rows of a run.
type report struct {
	Machine    string `json:"machine"`
	LoadBefore string `json:"loadBefore"` // averages of 1 and 5 minutes
	LoadAfter  string `json:"loadAfter"`
	Rows       []row  `json:"rows"`
}

func (r *report) add(rows ...row) { r.Rows = append(r.Rows, rows...) }

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\nload %s before, %s after\n", r.Machine, r.LoadBefore, r.LoadAfter)
	fmt.Fprintf(t, "\nmeasure\tours\tbaseline\tratio\tgoal\tbaseline is\n")
	for _, row := range r.Rows {
		baseline, ratio := "-", "-"
		if row.Baseline != 0 {
			baseline, ratio = figure(row.Baseline, row.Unit), fmt.Sprintf("%.2f", row.ratio())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Measure, figure(row.Ours, row.Unit), baseline, ratio, row.verdict(), row.Against)
	}
	return t.Flush()
}

func figure(v float64, unit string) string { return fmt.Sprintf("%.2f %s", v, unit) }

func (r *report) write(name string) error {
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(out, '\n'), 0o644)
}

// samples are repeated measurements of the same thing.
type samples []time.Duration

func (s samples) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (s samples) mean() time.Duration {
	var sum time.Duration
	for _, d := range s {
		sum += d
	}
	return sum / time.Duration(len(s))
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
