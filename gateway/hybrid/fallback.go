package hybrid

import (
	"math/rand/v2"
	"time"

	"wcsgateway/gateway/quota"
	"wcsgateway/translate/wcs"
)

const (
	maxCalls    = 64 // of one client
	reopenAfter = 10 * time.Second
)

// takeOther is Take for a command that is neither about a stream nor data, in an application with Fallback.
func (c *Client) takeOther(cmd wcs.Command, frame []byte) bool {
	switch cmd.Name {
	case wcs.CmdCall, wcs.CmdAnswer, wcs.CmdHangup, wcs.CmdHold, wcs.CmdUnhold, wcs.CmdSendDTMF, wcs.CmdTransfer:
		return c.takeCall(cmd, frame)
	case wcs.CmdConnection, wcs.CmdPing, wcs.CmdPong, wcs.CmdPushLogs, wcs.CmdSessionDebug, wcs.CmdSubmitBugReport,
		wcs.CmdMetricsDesc, wcs.CmdMetricsBatch, wcs.CmdMediaTransport, wcs.CmdSendData:
		return false
	}
	var ref wcs.StreamRef
	if cmd.Bind(&ref) == nil && ref.MediaSessionID != "" { // such as pauseStream
		if _, there := c.streams[ref.MediaSessionID]; !there {
			return false
		}
	}
	if c.session.Charge(quota.Data) {
		c.send(cmd.Name, frame)
	}
	return true
}

func (c *Client) takeCall(cmd wcs.Command, frame []byte) bool {
	var call wcs.Call
	if cmd.Bind(&call) != nil || !isID(call.CallID) {
		return false
	}
	if cmd.Name == wcs.CmdCall && !c.calls[call.CallID] && (!c.session.Charge(quota.Starts) || !c.beginCall(call.CallID)) {
		c.session.Send(wcs.CallFinished(call.CallID, wcs.StatusFailed))
		return true
	}
	if !c.calls[call.CallID] {
		return false
	}
	c.send(cmd.Name, frame)
	return true
}

// beginCall records a call of the upstream, unless the client has too many. Calls count as streams, so that a
// pod that shuts down waits for them.
func (c *Client) beginCall(id string) bool {
	if c.calls[id] {
		return true
	}
	if len(c.calls) >= maxCalls || !isID(id) {
		return false
	}
	c.calls[id] = true
	c.session.CountStreams(1)
	return true
}

func (c *Client) endCall(id string) {
	delete(c.calls, id)
	c.session.CountStreams(-1)
}

// onCall reports whether the client gets a message with a callId, and records what begins and ends with it.
func (c *Client) onCall(m message) bool {
	id := m.arg.CallID
	if m.name == wcs.NoteIncomingCall {
		return c.sip && c.beginCall(id)
	}
	known := c.calls[id]
	if known && m.name == wcs.NoteFinish {
		c.endCall(id)
	}
	return known
}

// onAnswer reports whether the client gets a setRemoteSDP that is not of a stream. That of an incoming call
// precedes the call (docs/wcs-protocol.md#messages-of-calls).
func (c *Client) onAnswer(id string) bool {
	return c.calls[id] || c.sip && !c.session.HasStream(id) && c.beginCall(id)
}

// Established is called when the client was let in, with the id and authToken of its session. A SIP client
// gets its link at once, for incoming calls.
func (c *Client) Established(id, token string) {
	if c != nil {
		c.id, c.token = id, token
		c.register()
	}
}

// register opens the link of a SIP client.
func (c *Client) register() {
	if c.sip && !c.ended && c.link == nil {
		c.link = c.open()
	}
}

// reopenLater opens the link of a SIP client again.
func (c *Client) reopenLater() {
	if c.sip {
		time.AfterFunc(c.all.reopen+rand.N(c.all.reopen), func() { c.session.Post(c.register) }) //nolint:gosec // spreads the links
	}
}
