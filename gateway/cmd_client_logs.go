package gateway

import (
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/translate/wcs"
)

// What clients tell of themselves is for whoever looks into a fault at log level debug. It is never answered: the SDK logs, and
// pushes, a line for every message that it gets (protocol.md §2.11).

// clientLogBurst is how many lines of one client are logged at once: SDKs push all that they have logged so far.
const clientLogBurst = 200

// maxClientLog bounds a logged line, in bytes.
const maxClientLog = 2000

// handlePushLogs logs what it can read; about what it cannot it says nothing, either.
func handlePushLogs(s *session, c wcs.Command) error {
	var l wcs.PushLogs
	_ = c.Bind(&l)
	s.logFor("client log", l.Logs)
	return nil
}

// handleBugReport takes anything that the app gives.
func handleBugReport(s *session, c wcs.Command) error {
	s.logFor("bug report", string(c.Arg))
	return nil
}

// handleSessionDebug answers, because apps show what they are told; the server writes no file of its own.
func handleSessionDebug(s *session, d wcs.SessionDebug) error {
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

// logFor writes a client's text to the log, unless the client is over its limit: that is counted.
func (s *session) logFor(what, text string) {
	perSecond := s.g.live().limits.ClientLogsPerSecond
	if s.clientLogs == nil {
		s.clientLogs = rate.NewLimiter(rate.Limit(perSecond), clientLogBurst)
	}
	if perSecond == 0 || !s.clientLogs.Allow() {
		s.g.metrics.refused(refusedClientLogs)
		return
	}
	e := s.log(zerolog.DebugLevel).Int("bytes", len(text))
	if e.Enabled() && !maySecret(text) {
		e = e.Str("text", cut(text, maxClientLog))
	}
	e.Msg(what)
}

// secretMarks are found in lines with session descriptions, credentials and tokens.
var secretMarks = []string{"v=0", "a=ice-", "a=fingerprint", "a=candidate", "a=crypto", "ufrag", "token", "password", "passwd", "secret", "credential", "authorization"}

// maySecret tells whether a text may hold what must not be in a log. Of such a one only the length is logged.
func maySecret(text string) bool {
	text = strings.ToLower(text)
	for _, mark := range secretMarks {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}
