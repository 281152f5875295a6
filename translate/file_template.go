package translate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FileTemplate is the template of a recording's name. Elements in braces stand for values known when the
// recording begins (docs/recording.md). Slashes create directories. The extension .mp4 is appended.
type FileTemplate string

// DefaultFileTemplate is the default of WCS 5.1 and later.
const DefaultFileTemplate FileTemplate = "stream-{mediaSessionId}-{login}"

// ErrFileTemplate is wrapped by the errors about a FileTemplate.
var ErrFileTemplate = errors.New("file template")

// FileValues are the values of the elements of a FileTemplate.
type FileValues struct {
	StreamName, MediaID, SessionID, Login, AudioCodec, VideoCodec string
	Start                                                         time.Time
}

const (
	fileExtension = ".mp4"
	maxFileName   = 250 // bytes; file systems allow 255; WCS allows 255 for the whole path
	maxFileValue  = 128 // bytes; the longest media id
)

var fileElement = regexp.MustCompile(`\{[^{}]*\}`)

// fileElements are the supported elements.
var fileElements = map[string]func(FileValues) string{
	"{streamName}":      func(v FileValues) string { return v.StreamName },
	"{mediaSessionId}":  func(v FileValues) string { return v.MediaID },
	"{sessionId}":       func(v FileValues) string { return base64.RawURLEncoding.EncodeToString([]byte(v.SessionID)) },
	"{login}":           func(v FileValues) string { return v.Login },
	"{audioCodec}":      func(v FileValues) string { return v.AudioCodec },
	"{videoCodec}":      func(v FileValues) string { return v.VideoCodec },
	"{startTime}":       func(v FileValues) string { return v.Start.UTC().Format("20060102-150405") },
	"{startTimeMillis}": func(v FileValues) string { return strconv.FormatInt(v.Start.UnixMilli(), 10) },
}

// Validate checks the template. WCS' {endTime} and {endTimeMillis} are rejected: they are not known when a
// recording begins.
func (t FileTemplate) Validate() error {
	text := string(t)
	for _, element := range fileElement.FindAllString(text, -1) {
		if fileElements[element] == nil {
			return fmt.Errorf("%w: unknown element %s", ErrFileTemplate, element)
		}
	}
	rest := fileElement.ReplaceAllString(text, "x")
	switch {
	case text == "":
		return fmt.Errorf("%w: empty", ErrFileTemplate)
	case len(text) > maxFileName:
		return fmt.Errorf("%w: longer than %d bytes", ErrFileTemplate, maxFileName)
	case strings.ContainsAny(rest, "{}\\") || strings.ContainsFunc(rest, unicode.IsControl) || !utf8.ValidString(rest):
		return fmt.Errorf("%w: contains braces, backslashes or control characters", ErrFileTemplate)
	case rest != path.Clean(rest) || path.IsAbs(rest) || rest == "." || strings.HasPrefix(rest, ".."):
		return fmt.Errorf("%w: contains an empty, . or .. segment", ErrFileTemplate)
	}
	return nil
}

// Name returns the name of a recording. It never leaves its directory, whatever the values are.
func (t FileTemplate) Name(v FileValues) string {
	name := fileElement.ReplaceAllStringFunc(string(t), func(element string) string {
		value := fileElements[element]
		if value == nil { // the template was not validated
			return ""
		}
		return FileNamePart(value(v))
	})
	segments := strings.Split(name, "/")
	for i, s := range segments {
		s = Cut(s, maxFileName-len(fileExtension))
		if s == "" || strings.Trim(s, ".") == "" {
			s = "_"
		}
		segments[i] = s
	}
	return strings.Join(segments, "/") + fileExtension
}

// FileNamePart converts any text to one that is safe as a part of a file name, an object key or a path in a
// URL. Letters and digits of any script, and -_.@+ stay. Everything else (separators, control characters,
// quotes, the braces that the egress service would replace) becomes _, and so do the dots of "..". The result
// has at most 128 bytes.
func FileNamePart(text string) string {
	safe := strings.Map(func(r rune) rune {
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.@+", r)) {
			return r
		}
		return '_'
	}, Cut(text, maxFileValue))
	for strings.Contains(safe, "..") {
		safe = strings.ReplaceAll(safe, "..", "__")
	}
	return safe
}
