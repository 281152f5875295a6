package translate

import "testing"

func TestCutKeepsWholeRunes(t *testing.T) {
	for _, c := range []struct {
		text          string
		most          int
		cut, abridged string
	}{
		{"", 0, "", ""},
		{"abc", 3, "abc", "abc"},
		{"abcd", 3, "abc", "abc…"},
		{"aé", 2, "a", "a…"},
		{"aé", 3, "aé", "aé"},
		{"日本", 5, "日", "日…"},
		{"日本", 2, "", "…"},
		{"\x80\x80\x80", 2, "", "…"}, // not UTF-8
	} {
		if got := Cut(c.text, c.most); got != c.cut {
			t.Errorf("%q cut to %d is %q, want %q", c.text, c.most, got, c.cut)
		}
		if got := Abridge(c.text, c.most); got != c.abridged {
			t.Errorf("%q abridged to %d is %q, want %q", c.text, c.most, got, c.abridged)
		}
	}
}
