package session

import "wcsgateway/gateway/socket"

// The limits and lists that reject clients: values of wcs_refusals_total's label.
const (
	RejectOrigin      socket.Rejection = "origin"        // by listen.origins, before the upgrade: 403
	RejectDraining    socket.Rejection = "draining"      // before the upgrade: 503
	rejectAppOrigin   socket.Rejection = "app_origin"    // by the application's origins, at connection
	rejectUnknownApp  socket.Rejection = "unknown_app"   // at connection
	rejectAppSessions socket.Rejection = "app_sessions"  // at connection
	rejectHello       socket.Rejection = "hello_timeout" // no connection in time: the socket is closed, as for the following
	rejectMessages    socket.Rejection = "messages"      // too many at a time
	rejectBytes       socket.Rejection = "bytes"         // too many at a time
	rejectMessageSize socket.Rejection = "message_size"  // one message
	rejectSlow        socket.Rejection = "slow"          // the client does not read
	rejectUnanswered  socket.Rejection = "ping_timeout"  // also a frame that never ends
	rejectDepth       socket.Rejection = "json_depth"    // a command is rejected, as for the following
	rejectName        socket.Rejection = "name"          // of a stream
	rejectID          socket.Rejection = "id"            // mediaSessionId, operationId, callId
	rejectMember      socket.Rejection = "member_size"   // login, custom, payload
	rejectStreams     socket.Rejection = "streams"       // of one session
	rejectLookups     socket.Rejection = "questions"     // availableStream at a time
	rejectEvents      socket.Rejection = "stream_events" // of one publisher at a time
	rejectClientLogs  socket.Rejection = "client_logs"   // a pushed line is dropped
	rejectDetached    socket.Rejection = "detached"      // the session ends with its socket in spite of keepAlive
)

var rejections = []socket.Rejection{
	RejectOrigin, rejectAppOrigin, rejectUnknownApp, rejectAppSessions, RejectDraining,
	socket.RejectConnections, socket.RejectAddress, socket.RejectPending, socket.RejectHandshakes,
	rejectHello, rejectMessages, rejectBytes, rejectMessageSize, rejectSlow, rejectUnanswered,
	rejectDepth, rejectName, rejectID, rejectMember, rejectStreams, rejectLookups, rejectEvents, rejectClientLogs, rejectDetached,
}

// closeRejections are the ends of sockets that count as rejections.
var closeRejections = map[socket.Reason]socket.Rejection{
	socket.ClosedHello:           rejectHello,
	socket.ClosedTooManyMessages: rejectMessages,
	socket.ClosedTooManyBytes:    rejectBytes,
	socket.ClosedTooBig:          rejectMessageSize,
	socket.ClosedSlow:            rejectSlow,
	socket.ClosedPingTimeout:     rejectUnanswered,
}

// Rejected counts a rejection.
func (m *Metrics) Rejected(r socket.Rejection) { m.Rejections.WithLabelValues(string(r)).Inc() }

// rejectedClose counts the end of a socket if it is a rejection.
func (m *Metrics) rejectedClose(reason socket.Reason) {
	if r, ok := closeRejections[reason]; ok {
		m.Rejected(r)
	}
}

// rejectedCommand counts the error of a command if it is a rejection.
func (m *Metrics) rejectedCommand(err error) {
	if err == nil {
		return
	}
	if o := classify(err); o.rejectedBy != "" {
		m.Rejected(o.rejectedBy)
	}
}
