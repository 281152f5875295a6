package translate

import "unicode/utf8"

// Cut truncates a text to a number of bytes, between two characters.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// Abridge truncates like Cut and marks the omission with an ellipsis, for log lines and operators.
func Abridge(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return Cut(text, most) + "…"
}
