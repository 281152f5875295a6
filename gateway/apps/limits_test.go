package apps

import (
	"errors"
	"strings"
	"testing"
	"wcsgateway/translate/wcs"
)

func TestCheckNameRejectsUnsafeNames(t *testing.T) {
	l := Limits{NameBytes: 40}
	for name, ok := range map[string]bool{
		"test": true, "a/b/c": true, "rtsp://host:554/path?x=1": true, "..a/b..": true, "a...b": true, "потік-1": true, "名前 with blanks": true,
		"family👨‍👩‍👧": true, "עברית\u200f": true, strings.Repeat("x", 40): true,
		"": false, "..": false, "../etc/passwd": false, "a/../b": false, "a/..": false, `a\..\b`: false, "a\nb": false, "a\x00": false, "a\x7f": false,
		"a\u0085b": false, "a\u2028b": false, "gnp\u202e.exe": false, "a\u2067b": false, "\xff\xfe": false, strings.Repeat("x", 41): false,
	} {
		if err := l.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOversizedMembersAreRejected(t *testing.T) {
	l := Limits{IDBytes: 36, LoginBytes: 10, CustomBytes: 30, PayloadBytes: 20}
	connection := func(arg string) wcs.Connection {
		t.Helper()
		cmd, err := wcs.Decode([]byte(`{"message":"connection","data":[` + arg + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		var c wcs.Connection
		if err := cmd.Bind(&c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for arg, want := range map[string]error{
		`{}`:                               nil,
		`{"custom":"x"}`:                   nil,
		`{"custom":{"login":"12345678"}}`:  nil,
		`{"custom":{"login":"123456789"}}`: ErrLoginSize,
		`{"login":"123456789"}`:            ErrLoginSize,
		`{"sipLogin":"123456789"}`:         ErrLoginSize,
		`{"custom":{"token":"` + strings.Repeat("x", 30) + `"}}`: ErrCustomSize,
	} {
		c := connection(arg)
		if err := l.CheckConnection(&c); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", arg, err, want)
		}
	}
	for id, ok := range map[string]bool{"": true, strings.Repeat("i", 36): true, strings.Repeat("i", 37): false, "a\nb": false} {
		if err := l.CheckID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
	if l.CheckPayload(make([]byte, 20)) != nil || l.CheckPayload(make([]byte, 21)) == nil || l.CheckCustom(30) != nil || l.CheckCustom(31) == nil {
		t.Error("sizes of payload or custom are wrong")
	}
	if none := (Limits{}); none.CheckPayload(make([]byte, 1<<20)) != nil || none.CheckName(strings.Repeat("x", 1000)) != nil {
		t.Error("0 is a limit")
	}
}

// open tries to open a socket and returns the HTTP status.
