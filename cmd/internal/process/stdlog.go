package process

import (
	stdlog "log"
	"strings"

	"github.com/rs/zerolog"
)

// TakeStandardLog redirects the standard library's logger to log, at debug level. http.Transport uses it for
// servers that send unsolicited responses, and has no option to change that. Call it once.
func TakeStandardLog(log zerolog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(PlainLines{log})
}

// PlainLines takes lines of http.Server, which have no level: aborted connections and failed TLS handshakes
// of clients.
type PlainLines struct{ Log zerolog.Logger }

// panicLine is the beginning of http.Server's line about a handler that panicked.
const panicLine = "http: panic serving"

// Write takes one line, or several for the stack of a panic.
func (p PlainLines) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	level := zerolog.DebugLevel
	if strings.HasPrefix(text, panicLine) {
		level = zerolog.ErrorLevel
	}
	p.Log.WithLevel(level).Msg(text)
	return len(b), nil
}
