// Package upstream splices clients to other WCS servers (docs/migrate-from-wcs.md#both-servers-at-a-time). It
// owns the choice of a client's server (Route), the connections to the servers (Server), the pod's links
// between clients and servers (Links), which copy all bytes unchanged, and the counts and transcripts of what
// the servers are used for. It knows nothing of sessions. The edge reads a client's first message and opens
// the link; package apps holds the routes.
package upstream
