// Package media reads RTP packets as far as somebody who counts them must: payload, frames, gaps, and the picture
// size in key frames. It decodes nothing. Like package translate it is pure: no I/O, no goroutine, no clock, no logger.
package media
