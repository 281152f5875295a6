package hybrid

import (
	"strings"

	"wcsgateway/translate/wcs"
)

// metricsPrefix begins the names of messages about the client's statistics, which break clients
// (docs/wcs-protocol.md#messages-that-break-clients).
const metricsPrefix = "webRTCMetrics"

// onMessage passes a message of the upstream to the client, if it is about the client's business with the
// upstream.
func (c *Client) onMessage(l *link, m message, frame []byte) {
	if c.link != l {
		return
	}
	if !c.concerns(m) {
		c.dropped()
		return
	}
	c.session.Send(frame)
}

func (c *Client) dropped() { c.all.Metrics.Dropped.WithLabelValues(c.key).Inc() }

// concerns reports whether a message is about the client's business with the upstream, and records what has
// ended with it.
func (c *Client) concerns(m message) bool {
	st, there := c.streams[m.arg.MediaSessionID]
	if strings.HasPrefix(string(m.name), metricsPrefix) {
		return false
	}
	if m.arg.CallID != "" {
		return c.onCall(m)
	}
	switch m.name {
	case wcs.NoteSetRemoteSDP:
		return there || c.onAnswer(m.arg.MediaSessionID)
	case wcs.NoteStreamStatus:
		if m.arg.Status == wcs.StatusSnapshotComplete {
			return c.onPicture(m)
		}
		if there {
			c.onStatus(m.arg, st)
		}
		return there
	case wcs.NoteStreamEvent:
		if m.arg.Type == wcs.EventSnapshotCompleted || m.arg.Type == wcs.EventSnapshotFailed {
			return c.onPicture(m)
		}
		return there
	case wcs.NoteAvailableStream:
		name, asked := c.answered(question{wcs.CmdAvailableStream, m.arg.ID})
		if asked && m.arg.Status != "true" && isAbsent(m.arg.info()) {
			c.remember(name)
		}
		return asked
	case wcs.NoteDataStatus:
		return c.onDataStatus(m.arg.OperationID)
	case wcs.NoteOnData:
		return c.app.SendData
	case wcs.NoteFail: // of a command that went upstream; the end of the link has its own answers
		return m.arg.APIMethod != wcs.APIMethodConnection
	case wcs.NoteGetUserData, wcs.NoteGetVersion:
		return false
	}
	return there || c.sip && m.arg.MediaSessionID == ""
}

// onDataStatus reports whether the client waits for the answer to a sendData.
func (c *Client) onDataStatus(id string) bool {
	if c.data[id] == 0 {
		return false
	}
	c.sent--
	if c.data[id]--; c.data[id] == 0 {
		delete(c.data, id)
	}
	return true
}

// onPicture reports whether the client has asked for a picture. The second message with it follows the first.
func (c *Client) onPicture(m message) bool {
	id := m.arg.MediaSessionID
	if c.pictured.id == id && id != "" && c.pictured.name != m.name {
		c.pictured = picture{}
		return true
	}
	_, asked := c.answered(question{wcs.CmdSnapshot, id})
	if asked && m.arg.Type != wcs.EventSnapshotFailed {
		c.pictured = picture{m.name, id}
	}
	return asked
}

// onStatus records the status of a stream.
func (c *Client) onStatus(a argument, st stream) {
	switch wcs.Status(a.Status) {
	case wcs.StatusPublishing:
		c.forget(st.name)
		c.all.published.confirm(c.at(st.name))
	case wcs.StatusFailed:
		if !st.published && a.info() != "" && isAbsent(a.info()) {
			c.remember(st.name)
		}
		c.remove(a.MediaSessionID)
	case wcs.StatusUnpublished, wcs.StatusStopped:
		c.remove(a.MediaSessionID)
	}
}

// isAbsent reports whether the info of an answer says that there is no such stream, and not that the client
// is not allowed to have it.
func isAbsent(info string) bool {
	return info == "" || info == wcs.InfoStreamNotFound || info == wcs.InfoSessionDoesNotExist
}
