// Package translate maps between the WCS client protocol and LiveKit: names,
// participants, session descriptions and reasons for an end. It is pure: no I/O,
// no goroutine, no clock, no logger, and it imports neither LiveKit's packages
// (translate/livekit is the one place that does) nor gateway nor state.
package translate
