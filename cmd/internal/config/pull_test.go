package config

import (
	"strings"
	"testing"
)

func TestFaultsOfPullsNameWhatIsWrong(t *testing.T) {
	const secret = "  secret: 0123456789abcdef0123456789abcdef\n"
	for text, want := range map[string]string{
		"pull:\n  secret: hunter2\n":                                                                      "pull.secret: must have at least 32 characters",
		"applications:\n  a:\n    pull:\n      allow: ['rtsp://cam']\n":                                   "applications[a].pull.allow: needs pull.secret",
		"pull:\n" + secret + "applications:\n  a:\n    pull:\n      allow: ['rtsp://cam', 'ftp://cam']\n": "applications[a].pull.allow[1]: must be",
		"pull:\n" + secret + "  linger: 1s\n":                                                             "pull.linger: must be at least 5s",
		"pull:\n" + secret + "  max: 0\n":                                                                 "pull.max: must be at least 1",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
