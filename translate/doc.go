// Package translate maps between the WCS client protocol and LiveKit. It owns names (rooms, identities,
// recording files), session descriptions, and the terms in which the other packages talk about rooms,
// participants and tracks. Every package may use it.
//
// It is pure: no I/O, no goroutine, no clock, no logger. It imports neither LiveKit's packages (only
// translate/livekit does) nor gateway nor state.
package translate
