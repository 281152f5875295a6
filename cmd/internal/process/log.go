// Package process has what the servers of cmd have in common as processes: their log, signals and health
// checks.
package process

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
)

// Logger returns the logger of the process, at the level that SetLogLevel sets. Only its console format
// has colours.
func Logger(cfg config.Log, w io.Writer, colours bool) zerolog.Logger {
	if cfg.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !colours, TimeFormat: time.TimeOnly}
	}
	SetLogLevel(cfg.Level)
	return zerolog.New(w).With().Timestamp().Logger()
}

// SetLogLevel sets zerolog's level for the whole process, which can change while it runs.
func SetLogLevel(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil { // validation accepts only zerolog's levels
		level = zerolog.InfoLevel
	}
	zerolog.SetGlobalLevel(level)
}
