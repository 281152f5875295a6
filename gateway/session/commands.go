package session

import (
	"cmp"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// spec is one row of the command table.
type spec struct {
	early bool // allowed before the session is established
	run   func(*Session, wcs.Command) error
}

// on returns a row whose handler gets the decoded argument. handle runs on the loop and must not wait.
func on[T any](handle func(*Session, T) error) spec {
	return spec{run: func(s *Session, c wcs.Command) error {
		var arg T
		if err := c.Bind(&arg); err != nil {
			return err
		}
		return handle(s, arg)
	}}
}

// commands is the command table. Other names are counted and otherwise ignored
// (docs/wcs-protocol.md#commands).
var commands = map[wcs.Name]spec{
	wcs.CmdConnection:      {early: true, run: on(handleConnection).run},
	wcs.CmdPublishStream:   {run: func(s *Session, c wcs.Command) error { return s.startStream(published, c) }},
	wcs.CmdPlayStream:      {run: func(s *Session, c wcs.Command) error { return s.startStream(played, c) }},
	wcs.CmdUnPublishStream: on(handleStop),
	wcs.CmdStopStream:      on(handleStop),
	wcs.CmdAvailableStream: {run: handleAvailableStream},
	wcs.CmdPong:            {early: true, run: handlePong},
	wcs.CmdPing:            {run: func(*Session, wcs.Command) error { return nil }}, // no client reads an answer
	wcs.CmdPushLogs:        {run: handlePushLogs},
	wcs.CmdSendStreamEvent: on(handleStreamEvent),
	wcs.CmdSessionDebug:    on(handleSessionDebug),
	wcs.CmdSubmitBugReport: {run: handleBugReport},
	wcs.CmdMetricsDesc:     onStats(func(d wcs.MetricsDescription) string { return d.MediaSessionID }, (*rates.Meter).Describe),
	wcs.CmdMetricsBatch:    onStats(func(b wcs.MetricsBatch) string { return b.MediaSessionID }, (*rates.Meter).Batch),
	wcs.CmdSendData:        on(handleSendData),
	wcs.CmdSnapshot:        on(handleSnapshot),
	wcs.CmdCall:            endCall(wcs.StatusFailed),
	wcs.CmdAnswer:          endCall(wcs.StatusFailed),
	wcs.CmdHangup:          endCall(wcs.StatusFinish), // the client's own request
	wcs.CmdHold:            endCall(wcs.StatusFailed),
	wcs.CmdUnhold:          endCall(wcs.StatusFailed),
	wcs.CmdSendDTMF:        endCall(wcs.StatusFailed),
	wcs.CmdTransfer:        endCall(wcs.StatusFailed),
	wcs.CmdMediaTransport:  {early: true, run: handleMediaTransport},
}

// unknownCommand is the metric label of all names that are not in the table.
const unknownCommand = "unknown"

// dispatch runs one message of the client on the loop.
func (s *Session) dispatch(frame []byte) {
	if s.closed || s.conn.Ended() {
		return
	}
	cmd, err := s.decode(frame)
	label := unknownCommand
	row, known := commands[cmd.Name]
	if known {
		label = string(cmd.Name)
	}
	s.log(zerolog.DebugLevel).Str("cmd", label).Int("bytes", len(frame)).Msg("command")
	s.messages.Received(label, len(frame))
	if err == nil {
		switch {
		case s.id == "" && !row.early:
			s.reject(wcs.InfoSessionNotReady)
			err = errSessionNotReady
		case s.other.Take(cmd, frame):
			return
		case known:
			err = row.run(s, cmd)
		}
	}
	s.account(label, err)
}

// decode decodes a message within the limit of nesting.
func (s *Session) decode(frame []byte) (wcs.Command, error) {
	if depth := s.table.Settings().Limits.JSONDepth; depth > 0 && wcs.Deeper(frame, depth) {
		return wcs.Command{}, apps.ErrTooDeep
	}
	return wcs.Decode(frame)
}

// account counts a command, and sends the client a fault that no status event can carry.
func (s *Session) account(label string, err error) {
	app := "" // not named yet, or not configured
	if s.admittedTo != nil {
		app = s.admittedTo.Key
	}
	s.table.Metrics.Commands.WithLabelValues(app, label, string(classify(err).reason.Class())).Inc()
	if err == nil {
		return
	}
	s.table.Metrics.rejectedCommand(err)
	s.sampled().Err(err).Str("cmd", label).Msg("command rejected")
	if isAny(err, errAnswered, errSessionNotReady) {
		return // the client got an answer
	}
	if s.id == "" {
		s.reject(classify(err).info)
		return
	}
	s.send(wcs.ErrorEvent(classify(err).info))
}

// endCall answers a message about a SIP call with the end of that call, since this server has no calls
// (docs/wcs-protocol.md#call). The answer is always finish: the SDK accepts it for calls that it has
// forgotten, and throws on notifyTransferEvent.
func endCall(status wcs.Status) spec {
	return on(func(s *Session, c wcs.Call) error {
		if err := s.table.Settings().Limits.CheckID(c.CallID); err != nil {
			return err
		}
		s.send(wcs.CallFinished(c.CallID, status))
		return nil
	})
}

// DefaultAppKey is the key that the SDK sends when the app names none. Raw clients can omit it.
const DefaultAppKey = "defaultApp"

func handleConnection(s *Session, c wcs.Connection) error {
	if s.id != "" || s.opening {
		return nil // a repeat changes nothing
	}
	if err := s.table.Settings().Limits.CheckConnection(&c); err != nil {
		return err
	}
	s.conn.Established()
	s.opening = true
	if app, ok := s.admit(cmp.Or(c.AppKey, DefaultAppKey)); ok {
		s.other = s.table.Hybrid.Open(app.Key, app.Hybrid, &c, s.Hybrid, hybridSession{s})
		s.connect(app, &c)
	}
	return nil
}

func handlePong(s *Session, _ wcs.Command) error {
	s.conn.Pong()
	return nil
}

// handleMediaTransport closes the second socket of MSE and WSPlayer clients: media never passes through the
// gateway.
func handleMediaTransport(s *Session, _ wcs.Command) error {
	s.conn.Close(socket.ClosedRefused)
	return nil
}

// Info texts of rejected sessions. The text of WCS for an origin is not known.
const (
	infoNoApplication   = "Application not found"
	infoWrongOrigin     = "Origin not allowed"
	infoTooManySessions = "Too many sessions of this application"
)

// admit returns the requested application and counts the session in it, or rejects the client.
func (s *Session) admit(key string) (*apps.App, bool) {
	live := s.table.Settings()
	app, ok := live.Apps[key]
	switch {
	case !ok:
		s.rejectFor(rejectUnknownApp, key, infoNoApplication)
	case !s.OwnOrigin && !app.Origins.Allows(s.Origin):
		s.rejectFor(rejectAppOrigin, key, infoWrongOrigin)
	case !s.table.takeSlot(app):
		s.rejectFor(rejectAppSessions, key, infoTooManySessions)
	default:
		s.admittedTo = app
		return app, true
	}
	return nil, false
}

func (s *Session) rejectFor(r socket.Rejection, appKey, info string) {
	s.table.Metrics.Rejected(r)
	s.sampled().Str("app", translate.Abridge(appKey, 64)).Str("origin", s.Origin).Str("rejection", string(r)).Msg("session rejected: " + info)
	s.reject(info)
}

// takeSlot counts a session of an application on this pod and reports whether it is within the limit.
func (t *Table) takeSlot(app *apps.App) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if app.MaxSessions > 0 && t.sessionsOf[app.Key] >= app.MaxSessions {
		return false
	}
	t.sessionsOf[app.Key]++
	return true
}

// releaseSlot undoes takeSlot. It can be repeated.
func (s *Session) releaseSlot() {
	if s.admittedTo == nil {
		return
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.table.sessionsOf[s.admittedTo.Key]--
	s.admittedTo = nil
}
