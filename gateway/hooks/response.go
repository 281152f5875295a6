package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors of Call. A backend's refusal is a *Refusal.
var (
	// ErrUnavailable: there was no connection, or no answer in time, or the caller has given up. It wraps the cause.
	ErrUnavailable = errors.New("backend is unavailable")
	// ErrBusy: as many calls wait for their turn as may. Nothing was sent.
	ErrBusy = errors.New("too many calls wait for the backend")
	// ErrBadResponse: what came is not HTTP, or breaks off, or is too long, or its body is no JSON object.
	ErrBadResponse = errors.New("bad answer of the backend")
)

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// maxReason bounds, in bytes, what is kept of a reason phrase.
const maxReason = 200

// maxRefusal bounds what is read of a refusal's body, so that the connection can be used again.
const maxRefusal = 4 << 10

// Refusal is an answer with any status but 200 (integration.md §1.5).
type Refusal struct {
	Status int
	// Reason is the reason phrase of the status line, which backends use to say why: printable, at most 200 bytes, and
	// the status' usual phrase or else its number where there is none.
	Reason string
}

func (r *Refusal) Error() string { return fmt.Sprintf("backend refuses: %d %s", r.Status, r.Reason) }

func answer(ctx context.Context, res *http.Response, limit int64) (Object, error) {
	if res.StatusCode != http.StatusOK {
		if res.StatusCode != http.StatusSwitchingProtocols { // its body is the connection, on which ctx has no hold
			_, _ = io.CopyN(io.Discard, res.Body, maxRefusal) // however it ends, the refusal stands
		}
		return nil, &Refusal{Status: res.StatusCode, Reason: reason(res.Status, res.StatusCode)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, unavailable(context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("%w: it breaks off: %w", ErrBadResponse, err)
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
	var o Object
	err := json.Unmarshal(bytes.ToValidUTF8(body, []byte("\uFFFD")), &o)
	if err != nil || o == nil {
		return nil, fmt.Errorf("%w: no JSON object", ErrBadResponse) // the cause would quote it
	}
	return o, nil
}

// reason is the phrase of a status such as "403 No seats left".
func reason(status string, code int) string {
	phrase := strings.TrimSpace(strings.TrimPrefix(status, strconv.Itoa(code)))
	phrase = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, phrase))
	for cut := min(maxReason, len(phrase)); cut < len(phrase); cut-- {
		if utf8.RuneStart(phrase[cut]) {
			phrase = phrase[:cut]
			break
		}
	}
	if phrase == "" {
		phrase = http.StatusText(code)
	}
	if phrase == "" {
		phrase = strconv.Itoa(code)
	}
	return phrase
}
