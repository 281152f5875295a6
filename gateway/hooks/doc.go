// Package hooks calls an application's REST backend as WCS does (integration.md §1): one POST of JSON for each method,
// to `{URL}/{method}`. A Backend is the client of one application, Policies are what the backend has asked for in its
// answer to connect, and a Line keeps a session's calls in order. What a call's failure means for the client is for
// the package gateway to say. This package imports nothing of ours.
//
// The address, the host and the headers of a call come from the Config alone: no word of a client or of an answer gets
// into them. So redirects are answers like any other that is not 200, the environment's proxies are not asked, and no
// cookies are kept. The method stands at the end of the path of Config.URL. A URL with a query is refused: WCS puts
// the method behind whatever it is given, which no backend can have meant, and integration.md §1.1 knows of none.
//
// Where the documents are silent or backends are careless:
//   - A 200 without a body is an empty object: nothing to overwrite. Any other body must be one JSON object, also under
//     NOTIFY, where WCS uses nothing of it: bad JSON counts as a failed call (integration.md §1.5). Its Content-Type is
//     not looked at, a byte order mark is skipped, and what is not UTF-8 becomes U+FFFD, as in WCS, since a client's
//     WebSocket would break over it.
//   - A member that is null is one that the backend has no word on. Typed backends write null for all they do not know.
//   - A call is repeated when no connection could be had, when writing it failed, or when a connection that was kept
//     idle turned out closed before a byte of an answer came. In the last case a backend that died over the call gets it
//     twice; WCS repeats even what went out on a new connection (rest_client_request_sent_retry_enabled), we do not.
package hooks
