// Package hooks calls an application's REST backend as WCS does (docs/backend-hooks.md): one JSON POST per
// call, to `{URL}/{method}`. A Backend is the HTTP client of one application, Policies are the settings that
// the backend returned in its answer to connect, and a Queue keeps a session's calls in order and within
// limits. The caller decides what a failed call means for the client. The package knows nothing of sessions
// and streams.
//
// The address, the host and the headers of a call come from the Config alone, never from a client or an
// answer. Redirects are therefore treated like any other status that is not 200, the environment's proxies
// are not used, and cookies are not kept. The method is appended to the path of Config.URL. A URL with a
// query is rejected: WCS would append the method to the query.
//
// Rules where the vendor's documents are silent or backends are careless:
//   - A 200 without a body is an empty object: nothing is overwritten. Any other body must be one JSON
//     object, also under NOTIFY, where the body is not used: bad JSON counts as a failed call. The
//     Content-Type is ignored, a byte order mark is skipped, and invalid UTF-8 becomes U+FFFD, as in WCS,
//     because a browser closes a WebSocket that receives invalid UTF-8.
//   - A null member is treated as absent. Typed backends write null for every member that they do not know.
//   - A call is repeated if no connection could be opened, if writing it failed, or if an idle connection
//     turned out to be closed before the first byte of an answer. In the last case a backend that crashed
//     during the call receives it twice. WCS also repeats calls sent on a new connection
//     (rest_client_request_sent_retry_enabled); this package does not.
package hooks
