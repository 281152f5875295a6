package main

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
)

// newLogger returns the logger of the process, at the level that setLogLevel sets. Only its console format
// has colours.
func newLogger(cfg config.Log, w io.Writer, colours bool) zerolog.Logger {
	if cfg.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !colours, TimeFormat: time.TimeOnly}
	}
	setLogLevel(cfg.Level)
	return zerolog.New(w).With().Timestamp().Logger()
}

// setLogLevel sets zerolog's level for the whole process, which can change while it runs.
func setLogLevel(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil { // validation accepts only zerolog's levels
		level = zerolog.InfoLevel
	}
	zerolog.SetGlobalLevel(level)
}
