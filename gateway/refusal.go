package gateway

import "wcsgateway/gateway/socket"

// refusal is what a client was refused by: a value of wcs_refusals_total's label.
type refusal string

// The catalogue of refusals.
const (
	refusedOrigin      refusal = "origin"                          // by listen.origins, before the upgrade: 403
	refusedAppOrigin   refusal = "app_origin"                      // by the application's origins, at connection
	refusedUnknownApp  refusal = "unknown_app"                     // at connection
	refusedAppSessions refusal = "app_sessions"                    // at connection
	refusedDraining    refusal = "draining"                        // before the upgrade: 503
	refusedConnections         = refusal(socket.RejectConnections) // before the upgrade: 503
	refusedAddress             = refusal(socket.RejectAddress)     // before the upgrade: 429
	refusedPending             = refusal(socket.RejectPending)     // before the upgrade: 503
	refusedHandshakes          = refusal(socket.RejectHandshakes)  // TCP connections without a request: closed
	refusedHello       refusal = "hello_timeout"                   // the socket is closed, and so for the next ones
	refusedMessages    refusal = "messages"                        // too many at a time
	refusedBytes       refusal = "bytes"                           // too many at a time
	refusedMessageSize refusal = "message_size"                    // one message
	refusedSlow        refusal = "slow"                            // it does not read
	refusedUnanswered  refusal = "ping_timeout"                    // also a frame that never ends
	refusedDepth       refusal = "json_depth"                      // a command, and so for the next ones
	refusedName        refusal = "name"                            // of a stream
	refusedID          refusal = "id"                              // mediaSessionId, operationId, callId
	refusedMember      refusal = "member_size"                     // login, custom, payload
	refusedStreams     refusal = "streams"                         // of one session
	refusedQuestions   refusal = "questions"                       // availableStream at a time
	refusedSaid        refusal = "stream_events"                   // of one publisher at a time
	refusedClientLogs  refusal = "client_logs"                     // a line that a client has pushed: it is dropped
	refusedDetached    refusal = "detached"                        // keepAlive: the session ends with its socket
)

var refusals = []refusal{
	refusedOrigin, refusedAppOrigin, refusedUnknownApp, refusedAppSessions, refusedDraining, refusedConnections, refusedAddress,
	refusedPending, refusedHandshakes, refusedHello, refusedMessages, refusedBytes, refusedMessageSize, refusedSlow,
	refusedUnanswered, refusedDepth, refusedName, refusedID, refusedMember, refusedStreams, refusedQuestions, refusedSaid, refusedClientLogs, refusedDetached,
}

// closeRefusals are the ends of sockets that are refusals.
var closeRefusals = map[socket.Reason]refusal{
	socket.ClosedHello:           refusedHello,
	socket.ClosedTooManyMessages: refusedMessages,
	socket.ClosedTooManyBytes:    refusedBytes,
	socket.ClosedTooBig:          refusedMessageSize,
	socket.ClosedSlow:            refusedSlow,
	socket.ClosedPingTimeout:     refusedUnanswered,
}

// refused counts a refusal.
func (m *Metrics) refused(r refusal) { m.refusals.WithLabelValues(string(r)).Inc() }

// refusedClose counts the end of a socket if it is a refusal.
func (m *Metrics) refusedClose(reason socket.Reason) {
	if r, ok := closeRefusals[reason]; ok {
		m.refused(r)
	}
}

// refusedCommand counts a command's fault if it is a refusal.
func (m *Metrics) refusedCommand(err error) {
	if err == nil {
		return
	}
	if o := classify(err); o.rejected != "" {
		m.refused(o.rejected)
	}
}
