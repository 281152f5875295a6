package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// OtherHeader is the header of a list that lacks the entries of the other server. Its value is one of the
// reasons below.
const OtherHeader = "X-Wcs-Other-Server"

// Values of OtherHeader.
const (
	otherUnavailable = "unavailable" // no response in listTimeout
	otherStatus      = "status"      // neither a list nor that nothing was found
	otherInvalid     = "invalid"     // the response is no list
	otherTooLarge    = "too-large"   // more than maxOtherList
	otherBusy        = "busy"        // maxOtherLists are in memory
)

// otherList holds the entries of the other server in memory.
type otherList struct {
	entries []byte // JSON, separated by commas
	failed  bool
	free    func() // nil: nothing is held
}

// release ends the use of the entries.
func (o *otherList) release() {
	if o.free != nil {
		o.free()
	}
}

// askOther reads the list that the other server has for a request. A failure is in the response's header.
func (a *API) askOther(q *request) otherList {
	ctx, cancel := context.WithTimeout(q.Context(), q.other.listTimeout)
	defer cancel()
	if err := q.other.lists.Acquire(ctx, 1); err != nil {
		return a.otherFailed(q, otherBusy, err)
	}
	free := func() { q.other.lists.Release(1) }
	entries, reason, err := q.other.list(ctx, q)
	if err != nil {
		free()
		return a.otherFailed(q, reason, err)
	}
	return otherList{entries: entries, free: free}
}

func (a *API) otherFailed(q *request, reason string, err error) otherList {
	a.sampled.Warn().Err(err).Str("path", q.URL.Path).Str("reason", reason).Msg("list without the other server")
	q.w.Header().Set(OtherHeader, reason)
	return otherList{failed: true}
}

// list returns the entries that the other server has for a request, or a value of OtherHeader with the error.
func (o *other) list(ctx context.Context, q *request) (entries []byte, reason string, err error) {
	body, err := q.body()
	if err != nil {
		return nil, otherUnavailable, err
	}
	res, err := o.send(ctx, q.Request, body)
	if err != nil {
		return nil, otherUnavailable, err
	}
	defer func() { _ = res.Body.Close() }() // was read
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, "", nil
	default:
		return nil, otherStatus, errors.New(res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxOtherList+1))
	switch {
	case err != nil:
		return nil, otherUnavailable, err
	case len(text) > maxOtherList:
		return nil, otherTooLarge, errTooMuch
	}
	inner, isList := bytes.CutPrefix(bytes.TrimSpace(text), []byte("["))
	if !isList || !json.Valid(text) {
		return nil, otherInvalid, fmt.Errorf("%d bytes that are no JSON array", len(text))
	}
	return bytes.TrimSpace(bytes.TrimSuffix(inner, []byte("]"))), "", nil
}
