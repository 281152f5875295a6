// Package hybrid lets sessions of this gateway use a second WCS server, their upstream
// (docs/migrate-from-wcs.md#one-session-both-servers). Each stream of the session is on one side. A Client
// belongs to one session: it decides for each command whether the upstream has it, owns the only link of the
// session to the upstream, and passes messages of the upstream on. It knows nothing of sessions but
// Session, and sessions call it on their loop.
package hybrid
