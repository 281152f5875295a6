package translate

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var fileValues = FileValues{
	StreamName: "room/Камера 1", MediaID: "3095f600-e637", SessionID: "/10.0.0.1:4388/00ff", Login: "bob@example.com",
	AudioCodec: "opus", VideoCodec: "VP8", Start: time.UnixMilli(1700000000123),
}

func TestFileTemplateFillsElements(t *testing.T) {
	for template, want := range map[FileTemplate]string{
		DefaultFileTemplate:             "stream-3095f600-e637-bob@example.com.mp4",
		"{streamName}":                  "room_Камера_1.mp4",
		"{sessionId}":                   "LzEwLjAuMC4xOjQzODgvMDBmZg.mp4",
		"{startTime}_{startTimeMillis}": "20231114-221320_1700000000123.mp4",
		"{audioCodec}/{videoCodec}/x":   "opus/VP8/x.mp4",
		"no element":                    "no element.mp4",
	} {
		if err := template.Validate(); err != nil {
			t.Errorf("%s: %v", template, err)
		}
		if got := template.Name(fileValues); got != want {
			t.Errorf("%s: %s, want %s", template, got, want)
		}
	}
	for _, bad := range []FileTemplate{
		"", "{endTime}", "{nothing}", "a{streamName", "a}", "{{streamName}}", "/{streamName}", "../{streamName}", "a/../b", "a//b", "a/", ".", "..", "a\\b", "a\x00",
		FileTemplate(strings.Repeat("x", 300)), "{}", "\xff",
	} {
		if err := bad.Validate(); !errors.Is(err, ErrFileTemplate) {
			t.Errorf("Validate(%q) = %v", bad, err)
		}
	}
}

func TestHostileFileNamesAreEscaped(t *testing.T) {
	for value, want := range map[string]string{
		"..":                      "__.mp4",
		"...":                     "__..mp4",
		"/etc/passwd":             "_etc_passwd.mp4",
		`..\..\x`:                 "______x.mp4",
		"{room_name}":             "_room_name_.mp4",
		"a\x00\r\n\u202eb":        "a____b.mp4",
		"\xff\xfe":                "__.mp4",
		"":                        "_.mp4",
		".":                       "_.mp4",
		strings.Repeat("ж", 1000): strings.Repeat("ж", 64) + ".mp4",
	} {
		if got := FileTemplate("{login}").Name(FileValues{Login: value}); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// FuzzFileName checks that, whatever clients choose, a name stays in its directory, fits a file system, and
// contains nothing that the egress service would replace.
func FuzzFileName(f *testing.F) {
	f.Add("../../x", "{time}", "")
	f.Add(strings.Repeat("x", 300), "\xff", "..")
	f.Fuzz(func(t *testing.T, login, media, stream string) {
		for _, template := range []FileTemplate{DefaultFileTemplate, "{login}/{mediaSessionId}/{streamName}", "{login}{mediaSessionId}{streamName}", "{login}.{mediaSessionId}"} {
			name := template.Name(FileValues{Login: login, MediaID: media, StreamName: stream})
			if path.Clean(name) != name || path.IsAbs(name) || strings.HasPrefix(name, "../") || strings.Count(name, "/") != strings.Count(string(template), "/") {
				t.Errorf("%q is outside the directory", name)
			}
			for _, s := range strings.Split(name, "/") {
				if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsAny(s, "{}\\\"'`$&|;<>*?") || strings.ContainsFunc(s, unicode.IsControl) {
					t.Errorf("%q contains forbidden characters", s)
				}
			}
		}
	})
}

func TestRoomTemplateReturnsStreamName(t *testing.T) {
	for _, c := range []struct {
		template RoomTemplate
		room     RoomName
		name     string
		ok       bool
	}{
		{"wcs.{name}", "wcs.a.b", "a.b", true},
		{"{app}-{name}-x", "live-cam-x", "cam", true},
		{"{name}", "any", "any", true},
		{"wcs.{name}", "other", "", false},
		{"wcs.{name}", "wcs.", "", false},
		{"{name}-x", "cam", "", false},
	} {
		if name, ok := c.template.Name("live", c.room); ok != c.ok || ok && name != c.name {
			t.Errorf("%s of %s: %q, %v", c.room, c.template, name, ok)
		}
	}
}
