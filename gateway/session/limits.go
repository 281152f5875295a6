package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"wcsgateway/gateway/socket"
	"wcsgateway/translate/wcs"
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

	ClientLogsPerSecond int // lines that a client pushes for the log; 0: none
}

// Faults of a command that a limit refuses.
var (
	errTooDeep    = errors.New("message is nested too deeply")
	errBadID      = errors.New("id is too long or has control characters")
	errLoginSize  = errors.New("login is too long")
	errCustomSize = errors.New("custom is too big")
	errDataSize   = errors.New("payload is too big")
)

// checkID checks an id of the client's that is only handed back to it.
func (l *Limits) checkID(id string) error {
	if over(len(id), l.IDBytes) || hasControls(id) {
		return errBadID
	}
	return nil
}

func (l *Limits) checkConnection(c wcs.Connection) error {
	switch {
	case over(c.LoginBytes(), l.LoginBytes):
		return errLoginSize
	case over(len(c.Sent["custom"]), l.CustomBytes):
		return errCustomSize
	}
	return nil
}

func (l *Limits) checkCustom(custom wcs.Size) error {
	if over(int(custom), l.CustomBytes) {
		return errCustomSize
	}
	return nil
}

func (l *Limits) checkPayload(payload json.RawMessage) error {
	switch {
	case over(len(payload), l.PayloadBytes):
		return errDataSize
	case !utf8.Valid(payload): // it goes to others' sockets, which would break
		return fmt.Errorf("%w: payload is not UTF-8", wcs.ErrMalformed)
	}
	return nil
}

// checkName: a name goes into logs, Redis keys, LiveKit's rooms and, in other systems, file names. WCS names
// may be URLs, so slashes are fine; what is refused can only mislead: control and bidirectional override
// characters, and `..` segments.
func (l *Limits) checkName(name string) error {
	if name == "" || over(len(name), l.NameBytes) || !utf8.ValidString(name) || hasControls(name) {
		return ErrBadName
	}
	for segment := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == ".." {
			return ErrBadName
		}
	}
	return nil
}

// hasControls finds what changes how the text around it is shown: control characters, line and paragraph
// separators, bidirectional embeddings, overrides and isolates.
func hasControls(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	})
}

func over(n, limit int) bool { return limit > 0 && n > limit }

// CheckPayload validates the data message of a native participant like that of a client.
func (t *Table) CheckPayload(payload json.RawMessage) error {
	return t.Settings().Limits.checkPayload(payload)
}
