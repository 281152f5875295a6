package rest

import (
	"errors"
	"fmt"
	"net/http"

	"wcsgateway/gateway"
	"wcsgateway/state"
)

var (
	errPreflight  = errors.New("preflight request of a page")
	errOrigin     = errors.New("this page may not use the REST API: rest.origins lacks it")
	errForeign    = errors.New("another site's page may not use the REST API, unless rest.origins has it and it sends its Origin")
	errMethod     = errors.New("only GET and POST are served")
	errNoLogin    = errors.New("user and password are needed")
	errTooOften   = errors.New("too many failed logins from this address: try again later")
	errNoEndpoint = errors.New("no such endpoint")
	errNotBuilt   = errors.New("not served")
	errTooBig     = errors.New("body is too big")
	errBadRequest = errors.New("bad request")
	errNothing    = errors.New("nothing found")
)

// bad is a request that cannot be understood.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBadRequest, fmt.Sprintf(format, args...))
}

// verdict is what a client is told of an error. WCS says 500 to bad parameters, too (integration.md §2.1); the text tells which it is.
func verdict(err error) (status int, text string) {
	for _, v := range []struct {
		err    error
		status int
		text   string // "": the error's own, which names nothing secret
	}{
		{errOrigin, http.StatusForbidden, ""},
		{errForeign, http.StatusForbidden, ""},
		{errMethod, http.StatusMethodNotAllowed, ""},
		{errNoLogin, http.StatusUnauthorized, ""},
		{errTooOften, http.StatusTooManyRequests, ""},
		{errNoEndpoint, http.StatusNotFound, ""},
		{errNotBuilt, http.StatusNotImplemented, ""},
		{errTooBig, http.StatusRequestEntityTooLarge, ""},
		{errBadRequest, http.StatusInternalServerError, ""},
		{errNothing, http.StatusNotFound, ""},
		{gateway.ErrPodSilent, http.StatusInternalServerError, "a pod of the deployment does not answer: it is dead, and what it had ends within 15 s, or it is cut off"},
		{gateway.ErrNoSuchStream, http.StatusNotFound, ""},
		{gateway.ErrNotRecorded, http.StatusNotFound, ""},
		{gateway.ErrSnapshot, http.StatusInternalServerError, ""},
		{gateway.ErrBadData, http.StatusInternalServerError, ""},
		{gateway.ErrRecordingForbidden, http.StatusInternalServerError, ""},
		{gateway.ErrRecordingFailed, http.StatusInternalServerError, ""},
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
	return http.StatusInternalServerError, "internal error: the log says more"
}
