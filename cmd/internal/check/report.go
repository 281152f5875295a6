// Package check examines a configuration and what it names, and reports the results one a line. It owns the
// subcommand check of cmd/wcs-gateway, and what a running gateway examines. Only cmd/wcs-gateway
// uses it.
package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"wcsgateway/gateway/admin"
)

// Level is the result of one examination.
type Level int

// Levels, in the order of severity. They are the exit codes of the subcommand.
const (
	OK Level = iota
	Warning
	Fault
)

// String returns the word in reports.
func (l Level) String() string { return [...]string{"ok", "warning", "fault"}[l] }

// MarshalText returns the word in reports.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Result is one line of a report.
type Result struct {
	Level Level  `json:"result"`
	Check string `json:"check"` // what was examined, such as redis.lease
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"` // what to do
	At    string `json:"at,omitempty"`   // file and line, or variable
}

// Findings returns the results that are not in order, for operators of a running gateway. It is never nil.
func Findings(results []Result) []admin.Finding {
	found := []admin.Finding{}
	for _, r := range results {
		if r.Level != OK {
			found = append(found, admin.Finding{Level: r.Level.String(), Check: r.Check, Text: r.Text, Hint: r.Hint})
		}
	}
	return found
}

// Report collects results.
type Report struct {
	Results []Result
}

// Add adds a result.
func (r *Report) Add(results ...Result) { r.Results = append(r.Results, results...) }

// Worst returns the highest level, OK without results.
func (r *Report) Worst() Level {
	worst := OK
	for _, one := range r.Results {
		worst = max(worst, one.Level)
	}
	return worst
}

// colours are the terminal's codes for the levels.
var colours = [...]string{OK: "\x1b[32m", Warning: "\x1b[33m", Fault: "\x1b[31m"}

// Write writes one line for each result, with colours if the reader is a terminal.
func (r *Report) Write(w io.Writer, colour bool) error {
	var b strings.Builder
	for _, one := range r.Results {
		word := fmt.Sprintf("%-7s", one.Level)
		if colour {
			word = colours[one.Level] + word + "\x1b[0m"
		}
		b.WriteString(word + "  ")
		if one.At != "" {
			b.WriteString(one.At + ": ")
		}
		if one.At == "" || !strings.HasPrefix(one.At, one.Check) { // else a fault of the file itself
			b.WriteString(one.Check + ": ")
		}
		b.WriteString(one.Text)
		if one.Hint != "" {
			b.WriteString(": " + one.Hint)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as one JSON object: the worst level and the results.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Worst   Level    `json:"result"`
		Results []Result `json:"checks"`
	}{r.Worst(), r.Results})
}
