package config

import (
	"errors"
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with the configuration.
type Fault struct {
	Key  string // path of the setting, or name of the variable or file
	Text string // what is wrong with it; never shows a secret
}

func (f *Fault) Error() string { return f.Key + ": " + f.Text }

// faults collects them.
type faults []*Fault

// add notes a fault.
func (f *faults) add(key, format string, args ...any) {
	*f = append(*f, &Fault{Key: key, Text: fmt.Sprintf(format, args...)})
}

// check notes a fault unless ok.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

func join(all []*Fault) error {
	errs := make([]error, len(all))
	for i, f := range all {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// suggest is a hint at the one of the known names that looks most like name, if any does.
func suggest(name string, known []string) string {
	const far = 3 // as many typing mistakes are another word
	best, least := "", far
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	switch best {
	case "":
		return ""
	case name:
		return ": write a section of its own for what is before each dot"
	default:
		return ", did you mean " + best + "?"
	}
}

// distance is how many bytes must be changed, added or removed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
