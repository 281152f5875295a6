package rest

import (
	"errors"
	"fmt"
	"net/http"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/pulls"
	"wcsgateway/state"
)

var (
	errPreflight   = errors.New("preflight request")
	errOrigin      = errors.New("origin not allowed to use the REST API: it is not in rest.origins")
	errForeign     = errors.New("cross-site request without Origin not allowed")
	errMethod      = errors.New("only GET and POST are supported")
	errNoLogin     = errors.New("user and password required")
	errTooOften    = errors.New("too many failed logins from this address: try again later")
	errNoEndpoint  = errors.New("no such endpoint")
	errUnsupported = errors.New("not supported")
	errTooBig      = errors.New("body is too big")
	errBadRequest  = errors.New("bad request")
	errNothing     = errors.New("nothing found")
	errNotAny      = errors.New("nothing found") // on any server
)

// badRequest returns the error of an invalid request.
func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBadRequest, fmt.Sprintf(format, args...))
}

// outcome returns the status and the text of an error response. Like WCS, bad parameters are answered with
// 500; the text distinguishes them from internal errors.
func outcome(err error) (status int, text string) {
	for _, v := range []struct {
		err    error
		status int
		text   string // "": the error's own, which contains no secrets
	}{
		{errOrigin, http.StatusForbidden, ""},
		{errForeign, http.StatusForbidden, ""},
		{errNotAllowed, http.StatusForbidden, ""},
		{errLoop, http.StatusLoopDetected, ""},
		{errOther, http.StatusBadGateway, errOther.Error()},
		{errMethod, http.StatusMethodNotAllowed, ""},
		{errNoLogin, http.StatusUnauthorized, ""},
		{errTooOften, http.StatusTooManyRequests, ""},
		{errNoEndpoint, http.StatusNotFound, ""},
		{errUnsupported, http.StatusNotImplemented, ""},
		{errTooBig, http.StatusRequestEntityTooLarge, ""},
		{errBadRequest, http.StatusInternalServerError, ""},
		{errNothing, http.StatusNotFound, ""},
		{errNotAny, http.StatusNotFound, ""},
		{admin.ErrPodUnreachable, http.StatusInternalServerError, "a pod of the deployment does not answer: it is dead (its streams end within 15 s) or disconnected from Redis"},
		{admin.ErrNoSuchStream, http.StatusNotFound, ""},
		{admin.ErrNotRecorded, http.StatusNotFound, ""},
		{admin.ErrSnapshot, http.StatusInternalServerError, ""},
		{admin.ErrBadData, http.StatusInternalServerError, ""},
		{admin.ErrRecordingForbidden, http.StatusInternalServerError, ""},
		{admin.ErrRecordingFailed, http.StatusInternalServerError, ""},
		{admin.ErrPushExists, http.StatusConflict, ""},
		{admin.ErrPushForbidden, http.StatusInternalServerError, ""},
		{admin.ErrPushFailed, http.StatusInternalServerError, ""},
		{admin.ErrEgresses, http.StatusInternalServerError, ""},
		{pulls.ErrExists, http.StatusConflict, ""},
		{pulls.ErrBadAddress, http.StatusInternalServerError, ""},
		{pulls.ErrNoWorker, http.StatusInternalServerError, ""},
		{pulls.ErrLimit, http.StatusInternalServerError, ""},
		{state.ErrNotFound, http.StatusNotFound, errNothing.Error()},
		{state.ErrUnavailable, http.StatusInternalServerError, "Redis does not answer"},
	} {
		if errors.Is(err, v.err) {
			if v.text == "" {
				v.text = err.Error()
			}
			return v.status, v.text
		}
	}
	return http.StatusInternalServerError, "internal error, see the gateway's log"
}
