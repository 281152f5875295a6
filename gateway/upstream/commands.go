package upstream

import (
	"bytes"
	"slices"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// otherCommand is the metric label of all names that are not in the list, and of messages that do not begin
// with their name.
const otherCommand = "other"

var commands = []wcs.Name{
	wcs.CmdConnection, wcs.CmdPublishStream, wcs.CmdUnPublishStream, wcs.CmdPlayStream, wcs.CmdStopStream, wcs.CmdAvailableStream,
	wcs.CmdSnapshot, wcs.CmdSendStreamEvent, wcs.CmdSendData, wcs.CmdPing, wcs.CmdPong, wcs.CmdPushLogs, wcs.CmdSessionDebug,
	wcs.CmdSubmitBugReport, wcs.CmdMetricsDesc, wcs.CmdMetricsBatch, wcs.CmdMediaTransport, wcs.CmdCall, wcs.CmdAnswer,
	wcs.CmdHangup, wcs.CmdHold, wcs.CmdUnhold, wcs.CmdSendDTMF, wcs.CmdTransfer,
	"pauseStream", "changeQuality", "getStreamInfo", // the gateway has no counterpart
}

// maxStart is how much of a message is looked at for its name.
const maxStart = 56

// nameIn returns the command of a message by its first bytes, as SDKs write them: {"message":"name".
func nameIn(start []byte) string {
	rest, ok := bytes.CutPrefix(start, []byte(`{"message":"`))
	if name, _, found := bytes.Cut(rest, []byte(`"`)); ok && found && slices.Contains(commands, wcs.Name(name)) {
		return string(name)
	}
	return otherCommand
}

// counter returns what counts the messages of one link by their first bytes. Pongs are not counted.
func (ls *Links) counter(app, upstream string) func(start []byte) {
	return func(start []byte) {
		if name := nameIn(start); name != string(wcs.CmdPong) {
			ls.count(app, upstream, name)
		}
	}
}

// count counts a command.
func (ls *Links) count(app, upstream, name string) {
	ls.Metrics.Commands.WithLabelValues(app, upstream, name).Inc()
	ls.usage.add(state.UpstreamUse{App: app, Upstream: upstream, Command: name})
}
