package session

import (
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Log lines that clients push appear at log level debug. They are never answered: the SDK logs, and pushes, a
// line for every message that it receives (docs/wcs-protocol.md#commands).

// ClientLogBurst is the number of lines of one client that are logged at once: SDKs push their whole log so
// far.
const ClientLogBurst = 200

// PodClientLogs is the number of lines of all clients that a pod logs per second, and at once: a client has
// ClientLogBurst again with each new socket.
const PodClientLogs = 1000

// MaxClientLog bounds a logged line, in bytes.
const MaxClientLog = 2000

// handlePushLogs logs the lines that it can read. Unreadable ones are dropped without an answer.
func handlePushLogs(s *Session, c wcs.Command) error {
	var l wcs.PushLogs
	_ = c.Bind(&l)
	s.logFor("client log", l.Logs)
	return nil
}

// handleBugReport logs the report, which can have any shape.
func handleBugReport(s *Session, c wcs.Command) error {
	s.logFor("bug report", string(c.Arg))
	return nil
}

// handleSessionDebug answers, because apps show the answer. The server writes no file of its own.
func handleSessionDebug(s *Session, d wcs.SessionDebug) error {
	switch d.Command {
	case wcs.DebugStart:
		s.send(wcs.SessionDebugStatus(wcs.DebugStarted))
	case wcs.DebugStop:
		s.send(wcs.SessionDebugStatus(wcs.DebugStopped))
	default:
		return nil // not a command of any SDK
	}
	s.logFor("session debug", d.Command)
	return nil
}

// logFor logs a client's text. A text over the limit of the client or of the pod is counted and dropped.
func (s *Session) logFor(what, text string) {
	perSecond := s.table.Settings().Limits.ClientLogsPerSecond
	if s.quota().clientLogs == nil {
		s.quota().clientLogs = rate.NewLimiter(rate.Limit(perSecond), ClientLogBurst)
	}
	if perSecond == 0 || !s.quota().clientLogs.Allow() {
		s.table.Metrics.Rejected(rejectClientLogs)
		return
	}
	e := s.log(zerolog.DebugLevel)
	switch {
	case !e.Enabled():
		return // costs the pod nothing
	case !s.table.ClientLogs.Allow():
		s.table.Metrics.Rejected(rejectClientLogs)
		return
	}
	e.Int("bytes", len(text))
	if !mayHoldSecret(text) {
		e.Str("text", translate.Abridge(text, MaxClientLog))
	}
	e.Msg(what)
}

// secretMarks are found in lines with session descriptions, credentials and tokens.
var secretMarks = []string{"v=0", "a=ice-", "a=fingerprint", "a=candidate", "a=crypto", "ufrag", "token", "password", "passwd", "secret", "credential", "authorization"}

// mayHoldSecret reports whether text might contain credentials or SDP. Then only its length is logged.
func mayHoldSecret(text string) bool {
	text = strings.ToLower(text)
	if _, address, ok := strings.Cut(text, "://"); ok && strings.ContainsRune(address, '@') {
		return true // a source's address with a password
	}
	return slices.ContainsFunc(secretMarks, func(mark string) bool { return strings.Contains(text, mark) })
}
