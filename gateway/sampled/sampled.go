// Package sampled limits log lines about events that clients and failing backends can cause in any number, so
// that they do not fill the log. Metrics count all of these events. Every package of the gateway may use it.
package sampled

import (
	"time"

	"github.com/rs/zerolog"
)

// LinesPerSecond is the usual limit of one cause.
const LinesPerSecond = 20

// Sampler returns a sampler that passes so many lines per second and drops the rest.
func Sampler(perSecond uint32) zerolog.Sampler {
	return &zerolog.BurstSampler{Burst: perSecond, Period: time.Second}
}

// Logger returns log limited to LinesPerSecond.
func Logger(log zerolog.Logger) zerolog.Logger { return log.Sample(Sampler(LinesPerSecond)) }

// Failures returns log with its warnings and errors sampled: each call of an unavailable backend causes one.
func Failures(log zerolog.Logger) zerolog.Logger {
	few := Sampler(LinesPerSecond)
	return log.Sample(zerolog.LevelSampler{WarnSampler: few, ErrorSampler: few})
}
