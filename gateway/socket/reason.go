package socket

import "github.com/gorilla/websocket"

// Reason is why a client's socket ends. Clients do not evaluate it; it is for logs, metrics and operators.
type Reason struct {
	Name      string    // label value of wcs_closes_total
	Code      int       // RFC 6455 close code
	Rejection Rejection // by a limit; "" if it is not a rejection
}

// byGateway reports whether the gateway closed the socket because of the client's input, so that a close
// frame can still reach the client.
func (r Reason) byGateway() bool { return r != ClosedByClient && r != ClosedLost }

// lingers reports whether the client is sent what waits for it, and a close frame.
func (r Reason) lingers() bool { return r.byGateway() && r != ClosedSlow }

// The catalogue of reasons.
var (
	ClosedByClient        = Reason{"client", websocket.CloseNormalClosure, ""}
	ClosedLost            = Reason{"lost", websocket.CloseAbnormalClosure, ""}
	ClosedPingTimeout     = Reason{"ping_timeout", websocket.ClosePolicyViolation, RejectUnanswered}
	ClosedHello           = Reason{"hello_timeout", websocket.ClosePolicyViolation, RejectHello}
	ClosedSlow            = Reason{"slow", websocket.ClosePolicyViolation, RejectSlow}
	ClosedTooBig          = Reason{"message_too_big", websocket.CloseMessageTooBig, RejectMessageSize}
	ClosedTooManyMessages = Reason{"too_many_messages", websocket.ClosePolicyViolation, RejectMessages}
	ClosedTooManyBytes    = Reason{"too_many_bytes", websocket.ClosePolicyViolation, RejectBytes}
	ClosedExcess          = Reason{"excess", websocket.ClosePolicyViolation, RejectExcess} // its burst did not end while others waited
	ClosedBinary          = Reason{"binary", websocket.CloseUnsupportedData, ""}
	ClosedRefused         = Reason{"refused", websocket.ClosePolicyViolation, ""}   // the session was rejected
	ClosedDisplaced       = Reason{"displaced", websocket.ClosePolicyViolation, ""} // unresponsive, and another session requests its name
	ClosedResumed         = Reason{"resumed", websocket.CloseNormalClosure, ""}     // the client resumed the session on another socket
	ClosedTakenOver       = Reason{"taken_over", websocket.CloseGoingAway, ""}
	ClosedTerminated      = Reason{"terminated", websocket.ClosePolicyViolation, ""} // by an operator
	ClosedShutdown        = Reason{"shutdown", websocket.CloseGoingAway, ""}
	ClosedUpstream        = Reason{"upstream", websocket.CloseInternalServerErr, ""} // the other server of a spliced session, or its failure
)
