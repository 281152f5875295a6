// Package wcs encodes and decodes the WCS client protocol (docs/wcs-protocol.md): the envelope, the commands
// that clients send, and the notifications that they receive. It owns the JSON of the wire and nothing else;
// it does no I/O. Every package may use it.
//
// Decoding is lenient, because the SDK passes application values through unchanged. Encoding is strict,
// because clients throw on unexpected members.
package wcs
