package translate

import "unicode/utf8"

// Cut bounds a text to a number of bytes. It cuts between two characters.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// Abridge is Cut with an ellipsis where something is missing, for people: what others can put into a line of the log is bounded.
func Abridge(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return Cut(text, most) + "…"
}
