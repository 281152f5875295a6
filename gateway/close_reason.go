package gateway

import "github.com/gorilla/websocket"

// closeReason is why a client's socket ends. Clients do not read it (protocol.md §1.5): it is for logs, metrics and operators.
type closeReason struct {
	name string // label value of wcs_closes_total
	code int    // RFC 6455 close code
}

// ours tells whether the gateway has found fault with what the client sent, so that a close frame can still reach it.
func (r closeReason) ours() bool { return r != closedByClient && r != closedLost }

// The catalogue of ends.
var (
	closedByClient        = closeReason{"client", websocket.CloseNormalClosure}
	closedLost            = closeReason{"lost", websocket.CloseAbnormalClosure}
	closedPingTimeout     = closeReason{"ping_timeout", websocket.ClosePolicyViolation}
	closedHello           = closeReason{"hello_timeout", websocket.ClosePolicyViolation}
	closedSlow            = closeReason{"slow", websocket.ClosePolicyViolation}
	closedTooBig          = closeReason{"message_too_big", websocket.CloseMessageTooBig}
	closedTooManyMessages = closeReason{"too_many_messages", websocket.ClosePolicyViolation}
	closedTooManyBytes    = closeReason{"too_many_bytes", websocket.ClosePolicyViolation}
	closedBinary          = closeReason{"binary", websocket.CloseUnsupportedData}
	closedRefused         = closeReason{"refused", websocket.ClosePolicyViolation}
	closedDisplaced       = closeReason{"displaced", websocket.ClosePolicyViolation} // somebody wants a name of it, and it does not answer
	closedResumed         = closeReason{"resumed", websocket.CloseNormalClosure}     // its client has come back on another socket
	closedTakenOver       = closeReason{"taken_over", websocket.CloseServiceRestart}
	closedTerminated      = closeReason{"terminated", websocket.ClosePolicyViolation} // by an operator
	closedShutdown        = closeReason{"shutdown", websocket.CloseServiceRestart}
)
