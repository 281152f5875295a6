package app

import (
	stdlog "log"
	"strings"

	"github.com/rs/zerolog"
)

// TakeStandardLog sends what the process says through the standard library's logger to log, at debug level. http.Transport does, of
// servers that speak out of turn, and cannot be told otherwise. It is called once, before Run.
func TakeStandardLog(log zerolog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(plainLines{log})
}

// plainLines takes lines that have no level: they are of clients that break off, and TLS that does not come about.
type plainLines struct{ log zerolog.Logger }

// panicLine begins what http.Server says of a handler that has panicked.
const panicLine = "http: panic serving"

// Write takes one line, or several of a panic's stack.
func (p plainLines) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	level := zerolog.DebugLevel
	if strings.HasPrefix(text, panicLine) {
		level = zerolog.ErrorLevel
	}
	p.log.WithLevel(level).Msg(text)
	return len(b), nil
}
