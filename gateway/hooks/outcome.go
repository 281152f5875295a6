package hooks

import (
	"context"
	"errors"
)

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
