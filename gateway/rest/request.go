package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// request is one with what was found out about it.
type request struct {
	*http.Request
	w    *response
	api  *API
	from string // the client's address
	user string // "" where nobody is asked

	target string // what the audit log says that it was about
}

// about notes what the request is about, for the audit log.
func (q *request) about(target string) { q.target = target }

// decode reads the body of what names one thing. Nothing at all is an empty object, because clients leave it out, with GET and with POST.
// Members that it does not know do no harm.
func (q *request) decode(v any) error { return q.decodeWith(v, false) }

// decodeFilter reads a filter. Unknown members are refused: of a filter that is not understood nobody knows what it lets through.
func (q *request) decodeFilter(v any) error { return q.decodeWith(v, true) }

func (q *request) decodeWith(v any, strict bool) error {
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, bodyLimit))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return errTooBig
	case err != nil:
		return bad("body was not sent to its end")
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		return bad("%v", err)
	}
	if d.More() {
		return bad("there is more than one JSON value")
	}
	return nil
}

// answer sends a JSON value.
func (q *request) answer(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	_, err = q.w.Write(b)
	return q.gone(err)
}

// gone drops the error of writing to a client that does not read any more.
func (q *request) gone(err error) error {
	if err != nil {
		q.api.log.Debug().Err(err).Str("path", q.URL.Path).Msg("client has not waited for the answer")
	}
	return nil
}

// cutOff ends an answer so that the client sees that it is not whole.
func (q *request) cutOff() {
	_ = http.NewResponseController(q.w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // fails only on a dead connection
}

// response remembers the status.
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

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// audit logs what an operator has done, or tried: who, from where, what, on what, and what came of it. The lines have no level for zerolog, which
// would drop them where log.level is above it.
func (a *API) audit(log *zerolog.Logger, q *request, rt route, err error) {
	if rt.audit == "" {
		return
	}
	status, result := http.StatusOK, "ok"
	if err != nil {
		status, result = verdict(err)
	}
	log.Log().Str(zerolog.LevelFieldName, zerolog.LevelInfoValue).Str("audit", rt.audit).Str("user", q.user).Str("remote", q.from).
		Str("target", q.target).Int("status", status).Str("result", result).Msg("administrative act")
}
