package livekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/twitchtv/twirp"

	"wcsgateway/translate"
)

// failed classifies a call without a usable response from LiveKit.
func failed(ctx context.Context, op string, err error) error {
	return &translate.Error{Kind: lostKind(ctx), Op: op, Err: err}
}

// lostKind returns the kind of a failed call whose own error has no kind. If the caller canceled, the call is
// canceled; if its deadline passed, LiveKit was too slow.
func lostKind(ctx context.Context) translate.ErrorKind {
	if errors.Is(ctx.Err(), context.Canceled) {
		return translate.ErrKindCanceled
	}
	return translate.ErrKindUnavailable
}

// statusError is the status of a WHIP response other than 201.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// nodeFaults are in a 503 if a call between LiveKit's own processes failed, whatever the offer (errors.go of
// psrpc). The first one also ends the wait for a track, after 15 s.
var nodeFaults = []string{"request timed out", "request canceled", "no response from servers", "client is closed", "server is closed", "stream closed", "stream message discarded by slow consumer"}

// refused returns the error for a WHIP response other than 201. It wraps a statusError.
func refused(op string, status int, body []byte) error {
	kind := statusKind(status)
	var err error = statusError(status)
	// The text of a 401 contains the token.
	if text := faultText(body); text != "" && kind != translate.ErrKindDenied {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return &translate.Error{Kind: kind, Op: op, Err: err}
}

func statusKind(status int) translate.ErrorKind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return translate.ErrKindDenied
	case status == http.StatusNotFound:
		return translate.ErrKindNotFound
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return translate.ErrKindUnavailable
	case status >= 400 && status < 500:
		return translate.ErrKindRefused
	}
	return translate.ErrKindUnavailable
}

// faultText returns the text in {"error": …}, or the whole body, truncated.
func faultText(body []byte) string {
	var fault struct {
		Error string `json:"error"`
	}
	text := string(body)
	if json.Unmarshal(body, &fault) == nil && fault.Error != "" {
		text = fault.Error
	}
	return cut(text)
}

func cut(text string) string {
	return strings.TrimSpace(strings.ToValidUTF8(translate.Cut(text, maxFault), ""))
}

// rpcFailed classifies the error of a RoomService call.
func rpcFailed(ctx context.Context, op string, err error) error {
	var te twirp.Error
	if !errors.As(err, &te) {
		return failed(ctx, op, err)
	}
	kind := twirpKind(te.Code())
	if kind == translate.ErrKindUnavailable {
		kind = lostKind(ctx)
	}
	if kind == translate.ErrKindDenied {
		// A response of LiveKit's token check contains the token in the error's details.
		return &translate.Error{Kind: kind, Op: op, Err: fmt.Errorf("twirp %s", te.Code())}
	}
	return &translate.Error{Kind: kind, Op: op, Err: fmt.Errorf("twirp %s: %s", te.Code(), cut(te.Msg()))}
}

func twirpKind(code twirp.ErrorCode) translate.ErrorKind {
	switch code {
	case twirp.Unauthenticated, twirp.PermissionDenied:
		return translate.ErrKindDenied
	case twirp.NotFound:
		return translate.ErrKindNotFound
	case twirp.InvalidArgument, twirp.Malformed, twirp.OutOfRange, twirp.FailedPrecondition, twirp.AlreadyExists:
		return translate.ErrKindRefused
	default:
		return translate.ErrKindUnavailable
	}
}
