package wcs

import "bytes"

// Deeper tells whether a text that may be JSON nests arrays and objects deeper than limit. It looks at brackets and strings only and
// stops at the first that is too deep, so that a message of a million brackets costs no more than its first ones.
func Deeper(frame []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(frame); i++ {
		switch frame[i] {
		case '"':
			i += stringEnd(frame[i+1:]) + 1
		case '[', '{':
			if depth++; depth > limit {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}

// stringEnd is where the string ends whose first byte s begins with: at its quote, or at the end of s.
func stringEnd(s []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(s[at:], '"')
		if i < 0 {
			return len(s)
		}
		at += i
		escapes := 0
		for at-1-escapes >= 0 && s[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
		at++
	}
}
