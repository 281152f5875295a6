package wcs

import "bytes"

// Deeper reports whether a text, valid JSON or not, nests arrays and objects deeper than limit. It looks at
// brackets and strings only, and stops at the first bracket that is too deep: a message of a million brackets
// costs no more than its first ones.
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

// stringEnd returns the index of the quote that ends the string which starts at s[0], or the end of s.
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
