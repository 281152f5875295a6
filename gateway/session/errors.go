package session

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/pulls"
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
	err        error
	info       string // of status FAILED (docs/wcs-protocol.md#texts)
	reason     ends.Reason
	rejectedBy socket.Rejection // "": not a rejection
	snapshot   string           // result of a snapshot, for the metric; "" stands for "failed"
}

// outcomes of errors that are distinguished by identity. The first that matches counts.
var outcomes = []outcome{
	{hooks.ErrUnavailable, "Application server is not available", ends.BackendFailed, "", ""},
	{hooks.ErrBusy, "Application server is busy", ends.BackendFailed, "", ""},
	{hooks.ErrBadResponse, "Application server has given a bad answer", ends.BackendFailed, "", ""},
	{errSessionNotReady, wcs.InfoSessionNotReady, ends.BadRequest, "", ""},
	{errMediaIDNull, wcs.InfoMediaSessionIDNull, ends.Limit, rejectID, ""},
	{errMediaIDInUse, wcs.InfoMediaSessionIDAlreadyInUse, ends.BadRequest, "", ""},
	{state.ErrMediaIDTaken, wcs.InfoMediaSessionIDAlreadyInUse, ends.BadRequest, "", ""},
	{state.ErrNameTaken, wcs.InfoStreamNameAlreadyInUse, ends.NameTaken, "", ""},
	{apps.ErrBadName, "Bad stream name: it is empty, too long, or has control characters or a .. segment", ends.Limit, rejectName, "refused"},
	{apps.ErrTooDeep, "Bad request: nested too deeply", ends.Limit, rejectDepth, ""},
	{apps.ErrBadID, "Bad request: an id is too long or has control characters", ends.Limit, rejectID, ""},
	{apps.ErrLoginSize, "Bad request: login is too long", ends.Limit, rejectMember, ""},
	{apps.ErrCustomSize, "Bad request: custom is too big", ends.Limit, rejectMember, ""},
	{apps.ErrDataSize, "Bad request: payload is too big", ends.Limit, rejectMember, ""},
	{errTooManyStreams, "Too many streams in this session", ends.Limit, rejectStreams, ""},
	{errTooManyLookups, "Too many requests at a time", ends.Limit, rejectLookups, "busy"},
	{errTooManyRequests, "Too many requests at a time", ends.Limit, rejectRequests, "busy"},
	{roomapi.ErrTooManyMessages, "Too many requests at a time", ends.Limit, rejectLookups, ""},
	{errTooManyEvents, "Too many stream events at a time", ends.Limit, rejectEvents, ""},
	{errNotWebRTC, wcs.InfoNoCommonCodecs, ends.NoCodec, "", ""},
	{translate.ErrNoCommonCodecs, wcs.InfoNoCommonCodecs, ends.NoCodec, "", ""},
	{translate.ErrPlayAgain, wcs.InfoFailedToAddStreamToProxy, ends.LiveKitFailed, "", ""},
	{errRTMP, wcs.InfoFailedByRTMPWriterError, ends.Forbidden, "", ""},
	{errStreamNotReady, wcs.InfoPublishStreamIsNotReady, ends.NotFound, "", "no_stream"},
	{errNoStream, wcs.InfoStreamNotFound, ends.NotFound, "", "no_stream"},
	{snapshot.ErrNoPublisher, wcs.InfoStreamNotFound, ends.NotFound, "", "no_stream"},
	{errBadRoom, "Bad room name: it is empty, too long, or has control characters or a .. segment", ends.BadRequest, "", ""},
	{errNoLogin, "No login: rooms need custom.login of the connection", ends.BadRequest, "", ""},
	{roomapi.ErrLoginTaken, "Login is in the room already", ends.BadRequest, "", ""},
	{roomapi.ErrFull, "Room is full", ends.BadRequest, "", ""},
	{errTooManyRooms, "Too many rooms in this session", ends.BadRequest, "", ""},
	{roomapi.ErrNotMember, "Not in this room", ends.BadRequest, "", ""},
	{roomapi.ErrNoParticipant, "No such participant in the room", ends.BadRequest, "", ""},
	{roomapi.ErrUnavailable, "Rooms are not available", ends.RedisFailed, "", ""},
	{state.ErrNotFound, wcs.InfoStreamNotFound, ends.NotFound, "", ""},
	{errRestricted, wcs.InfoRestrictedAccess, ends.Forbidden, "", "refused"},
	{snapshot.ErrLate, "No picture of the stream in time", ends.LiveKitFailed, "", "late"},
	{snapshot.ErrBusy, "Too many snapshots at a time", ends.BadRequest, "", "busy"},
	{snapshot.ErrTooBig, "Picture is too big for a snapshot", ends.BadRequest, "", "too_big"},
	{snapshot.ErrDecode, "Picture of the stream cannot be decoded", ends.LiveKitFailed, "", "bad_frame"},
	{translate.ErrNoVideo, "Stream has no video", ends.BadRequest, "", "no_video"},
	{translate.ErrNoMedia, "Bad SDP: it has no media", ends.BadOffer, "", ""},
	{translate.ErrRejected, "Bad SDP: the media server rejects all media of it", ends.BadOffer, "", ""},
	{cleanup.ErrBacklogFull, "Server is recovering from an outage, try again later", ends.Overloaded, "", ""},
	{state.ErrUnavailable, wcs.InfoFailedToAddStreamToProxy, ends.RedisFailed, "", ""},
	{state.ErrLeaseStale, wcs.InfoFailedToAddStreamToProxy, ends.RedisFailed, "", ""},
	{state.ErrLostOwnership, wcs.InfoFailedToAddStreamToProxy, ends.RedisFailed, "", ""},
}

// classify returns the outcome of any error. An unknown error counts as internal.
func classify(err error) outcome {
	if err == nil {
		return outcome{snapshot: "ok"}
	}
	o := find(err)
	o.snapshot = cmp.Or(o.snapshot, "failed")
	return o
}

func find(err error) outcome {
	if i := slices.IndexFunc(outcomes, func(o outcome) bool { return errors.Is(err, o.err) }); i >= 0 {
		return outcomes[i]
	}
	var sfu *translate.Error
	var refusal *hooks.Refusal
	var decoder *snapshot.NoDecoderError
	var pulled *pulls.Failure
	switch {
	case errors.As(err, &pulled):
		return outcome{err, pulled.Info, pulled.Reason, "", ""}
	case errors.As(err, &refusal):
		return outcome{err, refusal.Reason, ends.BackendRejected, "", "refused"}
	case isAny(err, translate.ErrMalformedSDP, translate.ErrDirection):
		return outcome{err, "Bad SDP: " + err.Error(), ends.BadOffer, "", ""}
	case errors.Is(err, wcs.ErrMalformed):
		return outcome{err, "Bad request: " + err.Error(), ends.BadRequest, "", ""}
	case errors.As(err, &decoder):
		info := "No snapshots of " + decoder.Codec + " streams: this server has no decoder for it (snapshot.ffmpeg)"
		return outcome{err, info, ends.BadRequest, "", "no_decoder"}
	case isAny(err, snapshot.ErrCodec, translate.ErrPictureCodec):
		return outcome{err, "No snapshots of streams with this codec", ends.BadRequest, "", "no_decoder"}
	case errors.As(err, &sfu) && sfu.Kind == translate.ErrKindRefused:
		return outcome{err, "Bad SDP: refused by the media server", ends.BadOffer, "", ""}
	case errors.As(err, &sfu), errors.Is(err, context.DeadlineExceeded):
		return outcome{err, wcs.InfoFailedToAddStreamToProxy, ends.LiveKitFailed, "", ""}
	}
	return outcome{err, wcs.InfoFailedByError, ends.Fault, "", ""}
}

// isAny reports whether err is one of some errors.
func isAny(err error, some ...error) bool {
	return slices.ContainsFunc(some, func(e error) bool { return errors.Is(err, e) })
}

// unlessGone returns err, or nil if it reports that a record is no longer there, or is another owner's.
func unlessGone(err error) error {
	if isAny(err, state.ErrNotFound, state.ErrLostOwnership) {
		return nil
	}
	return err
}

// The limits and lists that reject clients: values of wcs_refusals_total's label.
const (
	RejectOrigin      socket.Rejection = "origin"        // by listen.origins, before the upgrade: 403
	RejectDraining    socket.Rejection = "draining"      // before the upgrade: 503
	rejectAppOrigin   socket.Rejection = "app_origin"    // by the application's origins, at connection
	rejectUnknownApp  socket.Rejection = "unknown_app"   // at connection
	rejectAppSessions socket.Rejection = "app_sessions"  // at connection
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
	socket.RejectHello, socket.RejectMessages, socket.RejectBytes, socket.RejectExcess, socket.RejectMessageSize, socket.RejectSlow, socket.RejectUnanswered,
	rejectDepth, rejectName, rejectID, rejectMember, rejectStreams, rejectLookups, rejectRequests, rejectEvents, rejectClientLogs, rejectDetached,
}
