package wcs

import (
	"encoding/json"
	"testing"
)

func TestLoginIsFirstOfKnownMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                            "",
		`{"login":"a","sipLogin":"b"}`:  "a",
		`{"login":"","sipLogin":"b"}`:   "b",
		`{"login":7,"sipLogin":"b"}`:    "7",
		`{"custom":{"login":"c"}}`:      "c",
		`{"custom":{"login":{"x":1}}}`:  "",
		`{"custom":["login"]}`:          "",
		`{"custom":null,"login":null}`:  "",
		`{"sipLogin":"b","custom":"c"}`: "b",
	} {
		var c Connection
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if got := c.Login(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
