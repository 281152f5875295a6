package config

import (
	"errors"
	"fmt"
	"strings"
)

// Fault is one fault of the configuration.
type Fault struct {
	// Key is the path of the setting, or the name of the variable or file.
	Key string
	// Text is the fault. It never contains a secret.
	Text string
	// At is where the setting was set: the file and the line, such as gateway.yaml:12, or the variable. It is
	// empty for a setting that was not set.
	At string
}

// Error returns the fault after its place.
func (f *Fault) Error() string {
	switch {
	case f.At == "":
		return f.Key + ": " + f.Text
	case strings.HasPrefix(f.At, f.Key): // a fault of the file or variable itself
		return f.At + ": " + f.Text
	default:
		return f.At + ": " + f.Key + ": " + f.Text
	}
}

// faults collects faults.
type faults []*Fault

// add adds a fault.
func (f *faults) add(key, format string, args ...any) {
	*f = append(*f, &Fault{Key: key, Text: fmt.Sprintf(format, args...)})
}

// check adds a fault unless ok.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

// failed adds a fault if err is one.
func (f *faults) failed(key string, err error) {
	if err != nil {
		f.add(key, "%v", err)
	}
}

// each adds a fault for each item of a list that fails a check.
func (f *faults) each(key string, items []string, check func(string) error) {
	for i, item := range items {
		f.failed(fmt.Sprintf("%s[%d]", key, i), check(item))
	}
}

// errorOf drops the result of a function that is called for its error.
func errorOf[T any](_ T, err error) error { return err }

// leaves returns the errors that err joins, or err itself.
func leaves(err error) (all []error) {
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &many):
		return []error{err}
	}
	for _, one := range many.Unwrap() {
		all = append(all, leaves(one)...)
	}
	return all
}

func join(all []*Fault) error {
	errs := make([]error, len(all))
	for i, f := range all {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// suggest returns a hint at the known name most similar to name, "" if none is similar.
func suggest(name string, known []string) string {
	const far = 3 // with so many edits it is another word
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
		return ": write each part before a dot as a separate section"
	default:
		return ", did you mean " + best + "?"
	}
}

// distance returns how many bytes must be changed, added or removed to turn a into b.
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
