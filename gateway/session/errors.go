package session

import (
	"context"
	"errors"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Faults that the gateway itself finds. Each one's outcome is in the table below.
var (
	errSessionNotReady = errors.New("session not ready")
	errMediaIDNull     = errors.New("mediaSessionId is empty or not 1 to 128 printable ASCII characters")
	errMediaIDInUse    = errors.New("mediaSessionId is in use in this session")
	errTooManyStreams  = errors.New("session has too many streams")
	errNotWebRTC       = errors.New("only WebRTC streams are served")
	errRTMP            = errors.New("rtmpUrl is not allowed")
	errStreamNotReady  = errors.New("stream is not publishing yet")
	errNoStream        = errors.New("no such stream")
	errRestricted      = errors.New("application is not allowed to play that application's streams")
	errTooManyLookups  = errors.New("client asks too much at a time")
	errTooManyRequests = errors.New("client, or its address, requests too much over time")
	errTooManyEvents   = errors.New("publisher says more than can be sent")
	errAnswered        = errors.New("stream refused") // wraps a fault that the client got as a status or as another answer
	errPanic           = errors.New("a panic was recovered")
	errLoopPanic       = errors.New("panic on the session's loop")
	errBadRoom         = errors.New("room name is empty, too long, or has control characters or a .. segment")
	errNoLogin         = errors.New("connection has no valid custom.login")
	errTooManyRooms    = errors.New("session is in too many rooms")
)

// outcome is the consequence of an error: the text for the client, why its stream ended, and the value of
// wcs_refusals_total's label if the error is a rejection by a limit.
type outcome struct {
	info       string // of status FAILED (docs/wcs-protocol.md#texts)
	reason     ends.Reason
	rejectedBy socket.Rejection // "": not a rejection
	snapshot   string           // result of a snapshot, for the metric
}

func client(info string) outcome {
	return outcome{info: info, reason: ends.BadRequest, snapshot: "failed"}
}

func rejected(by socket.Rejection, info string) outcome {
	return outcome{info: info, reason: ends.Limit, rejectedBy: by, snapshot: "failed"}
}

func upstream(reason ends.Reason, info string) outcome {
	return outcome{info: info, reason: reason, snapshot: "failed"}
}

// as returns the outcome with another reason.
func (o outcome) as(reason ends.Reason) outcome {
	o.reason = reason
	return o
}

// of returns the outcome with another result of a snapshot.
func (o outcome) of(snapshot string) outcome {
	o.snapshot = snapshot
	return o
}

// outcomes of errors that are distinguished by identity. The first that matches counts.
var outcomes = []struct {
	err error
	outcome
}{
	{hooks.ErrUnavailable, upstream(ends.BackendFailed, "Application server is not available")},
	{hooks.ErrBusy, upstream(ends.BackendFailed, "Application server is busy")},
	{hooks.ErrBadResponse, upstream(ends.BackendFailed, "Application server has given a bad answer")},
	{errSessionNotReady, client(wcs.InfoSessionNotReady)},
	{errMediaIDNull, rejected(rejectID, wcs.InfoMediaSessionIDNull)},
	{errMediaIDInUse, client(wcs.InfoMediaSessionIDAlreadyInUse)},
	{state.ErrMediaIDTaken, client(wcs.InfoMediaSessionIDAlreadyInUse)},
	{state.ErrNameTaken, client(wcs.InfoStreamNameAlreadyInUse).as(ends.NameTaken)},
	{apps.ErrBadName, rejected(rejectName, "Bad stream name: it is empty, too long, or has control characters or a .. segment").of("refused")},
	{apps.ErrTooDeep, rejected(rejectDepth, "Bad request: nested too deeply")},
	{apps.ErrBadID, rejected(rejectID, "Bad request: an id is too long or has control characters")},
	{apps.ErrLoginSize, rejected(rejectMember, "Bad request: login is too long")},
	{apps.ErrCustomSize, rejected(rejectMember, "Bad request: custom is too big")},
	{apps.ErrDataSize, rejected(rejectMember, "Bad request: payload is too big")},
	{errTooManyStreams, rejected(rejectStreams, "Too many streams in this session")},
	{errTooManyLookups, rejected(rejectLookups, "Too many requests at a time").of("busy")},
	{errTooManyRequests, rejected(rejectRequests, "Too many requests at a time").of("busy")},
	{roomapi.ErrTooManyMessages, rejected(rejectLookups, "Too many requests at a time")},
	{errTooManyEvents, rejected(rejectEvents, "Too many stream events at a time")},
	{errNotWebRTC, client(wcs.InfoNoCommonCodecs).as(ends.NoCodec)},
	{translate.ErrNoCommonCodecs, client(wcs.InfoNoCommonCodecs).as(ends.NoCodec)},
	{translate.ErrPlayAgain, upstream(ends.LiveKitFailed, wcs.InfoFailedToAddStreamToProxy)},
	{errRTMP, client(wcs.InfoFailedByRTMPWriterError).as(ends.Forbidden)},
	{errStreamNotReady, client(wcs.InfoPublishStreamIsNotReady).of("no_stream").as(ends.NotFound)},
	{errNoStream, client(wcs.InfoStreamNotFound).of("no_stream").as(ends.NotFound)},
	{snapshot.ErrNoPublisher, client(wcs.InfoStreamNotFound).of("no_stream").as(ends.NotFound)},
	{errBadRoom, client("Bad room name: it is empty, too long, or has control characters or a .. segment")},
	{errNoLogin, client("No login: rooms need custom.login of the connection")},
	{roomapi.ErrLoginTaken, client("Login is in the room already")},
	{roomapi.ErrFull, client("Room is full")},
	{errTooManyRooms, client("Too many rooms in this session")},
	{roomapi.ErrNotMember, client("Not in this room")},
	{roomapi.ErrNoParticipant, client("No such participant in the room")},
	{roomapi.ErrUnavailable, upstream(ends.RedisFailed, "Rooms are not available")},
	{state.ErrNotFound, client(wcs.InfoStreamNotFound).as(ends.NotFound)},
	{errRestricted, client(wcs.InfoRestrictedAccess).of("refused").as(ends.Forbidden)},
	{snapshot.ErrLate, upstream(ends.LiveKitFailed, "No picture of the stream in time").of("late")},
	{snapshot.ErrBusy, client("Too many snapshots at a time").of("busy")},
	{snapshot.ErrTooBig, client("Picture is too big for a snapshot").of("too_big")},
	{snapshot.ErrDecode, upstream(ends.LiveKitFailed, "Picture of the stream cannot be decoded").of("bad_frame")},
	{translate.ErrNoVideo, client("Stream has no video").of("no_video")},
	{translate.ErrNoMedia, client("Bad SDP: it has no media").as(ends.BadOffer)},
	{translate.ErrRejected, client("Bad SDP: the media server rejects all media of it").as(ends.BadOffer)},
	{cleanup.ErrBacklogFull, upstream(ends.Overloaded, "Server is recovering from an outage, try again later")},
	{state.ErrUnavailable, upstream(ends.RedisFailed, wcs.InfoFailedToAddStreamToProxy)},
	{state.ErrLeaseStale, upstream(ends.RedisFailed, wcs.InfoFailedToAddStreamToProxy)},
	{state.ErrLostOwnership, upstream(ends.RedisFailed, wcs.InfoFailedToAddStreamToProxy)},
}

// classify returns the outcome of any error. An unknown error counts as internal.
func classify(err error) outcome {
	if err == nil {
		return outcome{snapshot: "ok"}
	}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.outcome
		}
	}
	var sfu *translate.Error
	var refusal *hooks.Refusal
	var decoder *snapshot.NoDecoderError
	switch {
	case errors.As(err, &refusal):
		return client(refusal.Reason).as(ends.BackendRejected).of("refused")
	case errors.Is(err, translate.ErrMalformedSDP), errors.Is(err, translate.ErrDirection):
		return client("Bad SDP: " + err.Error()).as(ends.BadOffer)
	case errors.Is(err, wcs.ErrMalformed):
		return client("Bad request: " + err.Error())
	case errors.As(err, &decoder):
		return client("No snapshots of " + decoder.Codec + " streams: this server has no decoder for it (snapshot.ffmpeg)").of("no_decoder")
	case errors.Is(err, snapshot.ErrCodec), errors.Is(err, translate.ErrPictureCodec):
		return client("No snapshots of streams with this codec").of("no_decoder")
	case errors.As(err, &sfu) && sfu.Kind == translate.ErrKindRefused:
		return client("Bad SDP: refused by the media server").as(ends.BadOffer)
	case errors.As(err, &sfu), errors.Is(err, context.DeadlineExceeded):
		return upstream(ends.LiveKitFailed, wcs.InfoFailedToAddStreamToProxy)
	}
	return outcome{info: wcs.InfoFailedByError, reason: ends.Fault, snapshot: "failed"}
}

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
	rejectExcess      socket.Rejection = "excess"        // a burst did not end while others waited
	rejectMessageSize socket.Rejection = "message_size"  // one message
	rejectSlow        socket.Rejection = "slow"          // the client does not read
	rejectUnanswered  socket.Rejection = "ping_timeout"  // also a frame that never ends
	rejectDepth       socket.Rejection = "json_depth"    // a command is rejected, as for the following
	rejectName        socket.Rejection = "name"          // of a stream
	rejectID          socket.Rejection = "id"            // mediaSessionId, operationId, callId
	rejectMember      socket.Rejection = "member_size"   // login, custom, payload
	rejectStreams     socket.Rejection = "streams"       // of one session
	rejectLookups     socket.Rejection = "questions"     // availableStream at a time
	rejectRequests    socket.Rejection = "requests"      // starts, joins, data: too many over time
	rejectEvents      socket.Rejection = "stream_events" // of one publisher at a time
	rejectClientLogs  socket.Rejection = "client_logs"   // a pushed line is dropped
	rejectDetached    socket.Rejection = "detached"      // a session without a socket ends in spite of keepAlive
)

var rejections = []socket.Rejection{
	RejectOrigin, rejectAppOrigin, rejectUnknownApp, rejectAppSessions, RejectDraining,
	socket.RejectConnections, socket.RejectAddress, socket.RejectPending, socket.RejectHandshakes,
	rejectHello, rejectMessages, rejectBytes, rejectExcess, rejectMessageSize, rejectSlow, rejectUnanswered,
	rejectDepth, rejectName, rejectID, rejectMember, rejectStreams, rejectLookups, rejectRequests, rejectEvents, rejectClientLogs, rejectDetached,
}

// closeRejections are the ends of sockets that count as rejections.
var closeRejections = map[socket.Reason]socket.Rejection{
	socket.ClosedHello:           rejectHello,
	socket.ClosedTooManyMessages: rejectMessages,
	socket.ClosedTooManyBytes:    rejectBytes,
	socket.ClosedExcess:          rejectExcess,
	socket.ClosedTooBig:          rejectMessageSize,
	socket.ClosedSlow:            rejectSlow,
	socket.ClosedPingTimeout:     rejectUnanswered,
}
