// Package media parses RTP packets as far as measuring a stream requires: payload, frames, gaps, and the
// picture size in key frames. It decodes nothing. Like package translate it is pure: no I/O, no goroutine, no
// clock, no logger. translate/livekit uses it; other packages can.
package media
