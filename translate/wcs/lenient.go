package wcs

import (
	"bytes"
	"math"
	"strconv"
)

// Int is a whole number in any form that applications send: a number, a numeric string, or an object such as
// {"exact":640}. A value without a number is 0.
type Int int

// maxInt is the largest value that every client can read back (Java's int).
const maxInt = math.MaxInt32

// UnmarshalJSON never fails.
func (i *Int) UnmarshalJSON(b []byte) error {
	*i = 0
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil
	}
	text := string(b)
	if b[0] == '"' {
		if err := unmarshal(b, &text); err != nil {
			return nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) {
		return nil
	}
	*i = Int(min(max(f, -maxInt), maxInt))
	return nil
}

// Bool is a flag that also accepts the strings "true" and "false". Any other non-boolean is false.
type Bool bool

// UnmarshalJSON never fails.
func (v *Bool) UnmarshalJSON(b []byte) error {
	var text string
	*v = Bool(unmarshal(b, &text) == nil && text == "true")
	return nil
}
