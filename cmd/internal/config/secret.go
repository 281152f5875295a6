package config

import (
	"fmt"
	"io"
)

// Secret is text that must not be shown: however it is printed, logged or encoded it is ***.
// Only Reveal gives it.
type Secret string

const masked = "***"

// Reveal is the text itself, for the library that needs it.
func (s Secret) Reveal() string { return string(s) }

// String tells whether there is a secret, and not which: *** or nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format makes every verb of package fmt print what String gives, those for other types too.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // package fmt's own buffer does not fail
}

// MarshalText is String for encoders: JSON, YAML and the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
