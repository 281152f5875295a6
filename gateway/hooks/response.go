package hooks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"wcsgateway/translate/wcs"
)

// Errors of Call. A backend's refusal is a *Refusal.
var (
	// ErrUnavailable is returned if no connection was opened, no answer arrived in time, or the caller's
	// context ended. It wraps the cause.
	ErrUnavailable = errors.New("backend is unavailable")
	// ErrBusy is returned if the limit of waiting calls is reached. Nothing was sent.
	ErrBusy = errors.New("too many calls wait for the backend")
	// ErrBadResponse is returned if the response is not HTTP, is truncated or too long, or if its body is not
	// a JSON object.
	ErrBadResponse = errors.New("bad response from the backend")
)

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// maxReason is the maximum length of a reason phrase in bytes; longer ones are truncated.
const maxReason = 200

// maxRefusal is the number of bytes of a refusal's body that are read so that the connection can be reused.
const maxRefusal = 4 << 10

// Refusal is an answer with a status other than 200.
type Refusal struct {
	Status int
	// Reason is the reason phrase of the status line, in which backends explain the refusal. It is printable
	// and has at most 200 bytes. Without a phrase it is the standard phrase of the status, or else its
	// number.
	Reason string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("refused by the backend: %d %s", r.Status, r.Reason)
}

// IsRefusal reports whether the backend answered with a refusal, as opposed to a call that failed.
func IsRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// ClassOf returns the class of a call's error for metrics.
func ClassOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case IsRefusal(err):
		return "refused"
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrBadResponse):
		return "bad_answer"
	case errors.Is(err, context.Canceled): // the client is gone
		return "given_up"
	}
	return "unavailable"
}

func answer(ctx context.Context, res *http.Response, limit int64) (Object, error) {
	if res.StatusCode != http.StatusOK {
		if res.StatusCode != http.StatusSwitchingProtocols { // its body is the connection, which ctx does not end
			_, _ = io.CopyN(io.Discard, res.Body, maxRefusal) // an error does not change the refusal
		}
		return nil, &Refusal{Status: res.StatusCode, Reason: reason(res.Status, res.StatusCode)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, unavailable(context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("%w: truncated: %w", ErrBadResponse, err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBadResponse, limit)
	}
	return decode(body)
}

func decode(body []byte) (Object, error) {
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if len(bytes.TrimSpace(body)) == 0 {
		return Object{}, nil
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD")) // copies in any case
	}
	o, err := wcs.Object(body)
	if err != nil {
		return nil, fmt.Errorf("%w: not a JSON object: %s", ErrBadResponse, wcs.FaultOf(err))
	}
	if o == nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrBadResponse)
	}
	return o, nil
}

// reason returns the phrase of a status such as "403 No seats left".
func reason(status string, code int) string {
	phrase := strings.TrimSpace(strings.TrimPrefix(status, strconv.Itoa(code)))
	phrase = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, phrase))
	return cmp.Or(strings.ToValidUTF8(phrase[:min(maxReason, len(phrase))], ""), http.StatusText(code), strconv.Itoa(code))
}
