package upstream

import (
	"bytes"
	"slices"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// otherCommand is the metric label of all names that are not in the list, and of messages that neither begin
// nor end with their name.
const otherCommand = "other"

var commands = []wcs.Name{
	wcs.CmdConnection, wcs.CmdPublishStream, wcs.CmdUnPublishStream, wcs.CmdPlayStream, wcs.CmdStopStream, wcs.CmdAvailableStream,
	wcs.CmdSnapshot, wcs.CmdSendStreamEvent, wcs.CmdSendData, wcs.CmdPing, wcs.CmdPong, wcs.CmdPushLogs, wcs.CmdSessionDebug,
	wcs.CmdSubmitBugReport, wcs.CmdMetricsDesc, wcs.CmdMetricsBatch, wcs.CmdMediaTransport, wcs.CmdCall, wcs.CmdAnswer,
	wcs.CmdHangup, wcs.CmdHold, wcs.CmdUnhold, wcs.CmdSendDTMF, wcs.CmdTransfer,
	"pauseStream", "changeQuality", "getStreamInfo", // the gateway has no counterpart
}

// maxEdge is how much of a message's beginning and of its end is looked at for its name.
const maxEdge = 56

// nameIn returns the command of a message by its first and last bytes. Web SDKs begin it with
// {"message":"name"; other clients can end it with ,"message":"name"}.
func nameIn(start, end []byte) string {
	rest, first := bytes.CutPrefix(start, []byte(`{"message":"`))
	name, _, found := bytes.Cut(rest, []byte(`"`))
	if at := bytes.LastIndex(end, []byte(lastMember)); !first && at >= 0 {
		name, found = bytes.CutSuffix(end[at+len(lastMember):], []byte(`"}`))
	}
	if found && slices.Contains(commands, wcs.Name(name)) {
		return string(name)
	}
	return otherCommand
}

const lastMember = `,"message":"`

// counter returns what counts the messages of one link by their edges. Pongs are not counted.
func (ls *Links) counter(app, upstream string) func(start, end []byte) {
	return func(start, end []byte) {
		if name := nameIn(start, end); name != string(wcs.CmdPong) {
			ls.count(app, upstream, name)
		}
	}
}

// count counts a command.
func (ls *Links) count(app, upstream, name string) {
	ls.Metrics.Commands.WithLabelValues(app, upstream, name).Inc()
	ls.usage.add(state.UpstreamUse{App: app, Upstream: upstream, Command: name})
}
