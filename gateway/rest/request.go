package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
	"wcsgateway/translate/wcs"

	"github.com/rs/zerolog"
)

// request is an HTTP request with its context in the API.
type request struct {
	*http.Request
	w    *response
	api  *API
	from string // the client's address
	user string // "" without authentication

	others []*other // the other servers when the request came

	target   string // for the audit log
	passedOn bool   // another server answers

	read   []byte // the body, once it was read
	isRead bool
}

// decode reads a JSON body and ignores unknown members. An empty body is an empty object, because clients
// omit it, with GET and with POST.
func (q *request) decode(v any) error { return q.decodeWith(v, false) }

// decodeFilter reads the filter of a list. Unknown members are rejected: ignoring one would widen the filter.
// Some backends send an empty array, false or a number for "no filter", which WCS accepts.
func (q *request) decodeFilter(v any) error { return q.decodeWith(v, true) }

func (q *request) decodeWith(v any, filter bool) error {
	body, err := q.body()
	switch {
	case err != nil:
		return err
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	case filter && isNoObject(bytes.TrimSpace(body)):
		return nil
	}
	unmarshal := wcs.Unmarshal
	if filter {
		unmarshal = wcs.UnmarshalStrict
	}
	if err := unmarshal(body, v); err != nil {
		return badRequest("%s", wcs.FaultOf(err))
	}
	return nil
}

// body returns the body. It can be repeated.
func (q *request) body() ([]byte, error) {
	if q.isRead {
		return q.read, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, bodyLimit))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, errTooBig
	case err != nil:
		return nil, badRequest("incomplete body")
	}
	q.read, q.isRead = body, true
	return body, nil
}

// isNoObject reports whether a body is an empty array, false or a number.
func isNoObject(body []byte) bool {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return false
	}
	list, isList := v.([]any)
	_, isNumber := v.(float64)
	return isList && len(list) == 0 || isNumber || v == false
}

// answer sends a JSON value.
func (q *request) answer(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	_, err = q.w.Write(b)
	return q.ignoreWriteError(err)
}

// ignoreWriteError logs and drops the error of a write to a client that disconnected.
func (q *request) ignoreWriteError(err error) error {
	if err != nil {
		q.api.log.Debug().Err(err).Str("path", q.URL.Path).Msg("client disconnected before the response")
	}
	return nil
}

// cutOff ends a response so that the client notices that it is incomplete.
func (q *request) cutOff() {
	_ = http.NewResponseController(q.w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // fails only on a dead connection
}

// response records the status.
type response struct {
	http.ResponseWriter
	status int
}

func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

func (w *response) code() int { return w.status }

// Unwrap supports http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// audit logs an operator's action or attempt: user, address, action, target, outcome, and whether another
// server answered. The level is a plain field, so that a higher log.level does not drop the lines.
func (a *API) audit(log *zerolog.Logger, q *request, rt route, err error) {
	if rt.audit == "" {
		return
	}
	status, result := cmp.Or(q.w.code(), http.StatusOK), "ok"
	if status >= http.StatusBadRequest {
		result = http.StatusText(status)
	}
	if err != nil {
		status, result = outcome(err)
	}
	log.Log().Str(zerolog.LevelFieldName, zerolog.LevelInfoValue).Str("audit", rt.audit).Str("user", q.user).Str("remote", q.from).
		Str("target", q.target).Bool("passedOn", q.passedOn).Int("status", status).Str("result", result).Msg("administrative action")
}
