package apps

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate/wcs"
)

// Errors of the checks.
var (
	ErrBadName    = errors.New("stream name is empty, too long, or has control characters or a .. segment")
	ErrTooDeep    = errors.New("message is nested too deeply")
	ErrBadID      = errors.New("id is too long or has control characters")
	ErrLoginSize  = errors.New("login is too long")
	ErrCustomSize = errors.New("custom is too big")
	ErrDataSize   = errors.New("payload is too big")
)

// Limits bound what clients can cost. 0 is no limit where a limit is optional (docs/configuration.md). They
// can change while the gateway runs: the rates of a socket are taken when it opens, all other limits apply at
// once.
type Limits struct {
	socket.Limits

	Detached int // sessions with keepAlive without a socket

	JSONDepth    int // nesting of a message
	NameBytes    int // of a stream
	IDBytes      int // of mediaSessionId (of a stream at most 128), operationId, callId
	LoginBytes   int
	CustomBytes  int
	PayloadBytes int

	Quota quota.Limits // of requests over time; taken at the first request of a session, StartsUnderWay at the start of the pod

	ClientLogsPerSecond int // lines that a client pushes for the log; 0: none
}

// CheckID checks a client's id that is only returned to the client.
func (l *Limits) CheckID(id string) error {
	if over(len(id), l.IDBytes) || HasControls(id) {
		return ErrBadID
	}
	return nil
}

// CheckConnection checks the sizes of login and custom.
func (l *Limits) CheckConnection(c *wcs.Connection) error {
	switch {
	case over(c.LoginBytes(), l.LoginBytes):
		return ErrLoginSize
	case over(len(c.Sent["custom"]), l.CustomBytes):
		return ErrCustomSize
	}
	return nil
}

// CheckCustom checks the size of custom.
func (l *Limits) CheckCustom(custom wcs.Size) error {
	if over(int(custom), l.CustomBytes) {
		return ErrCustomSize
	}
	return nil
}

// CheckPayload checks the size of a payload.
func (l *Limits) CheckPayload(payload json.RawMessage) error {
	if over(len(payload), l.PayloadBytes) {
		return ErrDataSize
	}
	return nil
}

// CheckName checks a stream's name. It becomes part of logs, Redis keys, LiveKit's rooms and, in other
// systems, file names. WCS names can be URLs, so slashes are allowed. Control and bidirectional override
// characters and `..` segments are not: they can only mislead.
func (l *Limits) CheckName(name string) error {
	if name == "" || over(len(name), l.NameBytes) || !utf8.ValidString(name) || HasControls(name) {
		return ErrBadName
	}
	for segment := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == ".." {
			return ErrBadName
		}
	}
	return nil
}

// HasControls reports whether text has characters that change how the text around them is shown: control
// characters, line and paragraph separators, bidirectional embeddings, overrides and isolates.
func HasControls(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	})
}

func over(n, limit int) bool { return limit > 0 && n > limit }
