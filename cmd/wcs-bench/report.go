package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// report holds the measurements of a run; the table and the JSON have the same content.
type report struct {
	Scenario    string    `json:"scenario"`
	URL         string    `json:"url"`
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"`
	Interrupted bool      `json:"interrupted"` // by a signal
	Steps       []step    `json:"steps"`
	Latencies   []latency `json:"latencies"`
	Failures    []failure `json:"failures"`
	RTPSent     int64     `json:"rtpSent"` // packets
	RTPReceived int64     `json:"rtpReceived"`
}

// step counts how often a step was taken. A step that was neither done nor failed was cut off by the end of
// the run.
type step struct {
	Name    string `json:"name"`
	Started int    `json:"started"`
	Done    int    `json:"done"`
	Failed  int    `json:"failed"`
}

// latency is the distribution of a waiting time. Percentiles are measured values (nearest rank).
type latency struct {
	Name  string       `json:"name"`
	Count int          `json:"count"`
	P50   milliseconds `json:"p50ms"`
	P90   milliseconds `json:"p90ms"`
	P99   milliseconds `json:"p99ms"`
	Max   milliseconds `json:"maxms"`
}

// failure counts the failures of a step with the same text.
type failure struct {
	Step  string `json:"step"`
	Info  string `json:"info"`
	Count int    `json:"count"`
}

// milliseconds are rounded to tenths, in the table and in JSON.
type milliseconds float64

func inMilliseconds(d time.Duration) milliseconds {
	return milliseconds(d.Round(100*time.Microsecond)) / milliseconds(time.Millisecond)
}

func (m milliseconds) String() string { return fmt.Sprintf("%.1f", float64(m)) }

// newLatency sorts values, of which there must be at least one.
func newLatency(name string, values []time.Duration) latency {
	slices.Sort(values)
	at := func(percent float64) milliseconds {
		rank := int(math.Ceil(percent / 100 * float64(len(values))))
		return inMilliseconds(values[rank-1])
	}
	return latency{Name: name, Count: len(values), P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

// byCount orders failures by descending frequency.
func byCount(a, b failure) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Info, b.Info))
}

// write writes the table and, if name is not empty, the file with the JSON.
func (r report) write(w io.Writer, name string) error {
	if err := r.table(w); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s at %s, %.1f s", r.Scenario, r.URL, r.Seconds)
	if r.Interrupted {
		fmt.Fprint(t, ", interrupted")
	}
	fmt.Fprint(t, "\n\nstarted\tdone\tfailed\t  step\n")
	for _, s := range r.Steps {
		fmt.Fprintf(t, "%d\t%d\t%d\t  %s\n", s.Started, s.Done, s.Failed, s.Name)
	}
	if len(r.Latencies) > 0 {
		fmt.Fprint(t, "\ncount\tp50\tp90\tp99\tmax\t  latency in ms\n")
	}
	for _, l := range r.Latencies {
		fmt.Fprintf(t, "%d\t%v\t%v\t%v\t%v\t  %s\n", l.Count, l.P50, l.P90, l.P99, l.Max, l.Name)
	}
	if len(r.Failures) > 0 {
		fmt.Fprint(t, "\ncount\t  failure\n")
	}
	for _, f := range r.Failures {
		fmt.Fprintf(t, "%d\t  %s: %s\n", f.Count, f.Step, f.Info)
	}
	fmt.Fprintf(t, "\nRTP packets: %d sent, %d received\n", r.RTPSent, r.RTPReceived)
	return t.Flush()
}
