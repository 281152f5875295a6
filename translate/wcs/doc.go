// Package wcs is the client wire of a Web Call Server: the envelope, what clients send
// (commands) and what they are sent (notifications), as protocol.md describes them. It decodes
// leniently, because the SDK hands application values through untouched, and encodes strictly,
// because clients throw on what they do not expect. It does no I/O.
package wcs
