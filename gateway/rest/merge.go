package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// OtherHeader is the header of a list that lacks the entries of other servers. Its value has the name of each
// with one of the reasons below: name=reason, name=reason.
const OtherHeader = "X-Wcs-Other-Server"

// Values of OtherHeader.
const (
	otherUnavailable = "unavailable" // no response in listTimeout
	otherStatus      = "status"      // neither a list nor that nothing was found
	otherInvalid     = "invalid"     // the response is no list
	otherTooLarge    = "too-large"   // more than maxOtherList
	otherBusy        = "busy"        // lists of maxOtherLists requests are in memory
)

// otherLists holds the entries of other servers in memory.
type otherLists struct {
	entries [][]byte // of each server that has any: JSON, separated by commas
	failed  bool     // a server's are missing
	free    func()   // nil: nothing is held
}

// release ends the use of the entries.
func (o *otherLists) release() {
	if o.free != nil {
		o.free()
		o.free = nil
	}
}

// otherList is the list of one server.
type otherList struct {
	entries []byte
	reason  string // of err
	err     error
}

// askOthers reads the lists that other servers have for a request. Failures are in the response's header.
func (a *API) askOthers(q *request, servers []*other) (all otherLists) {
	ctx, cancel := context.WithTimeout(q.Context(), a.listTimeout)
	defer cancel()
	lists := make([]otherList, len(servers))
	if err := a.lists.Acquire(ctx, 1); err == nil {
		all.free = func() { a.lists.Release(1) }
		var reading sync.WaitGroup
		body, err := q.body()
		for i, o := range servers {
			if lists[i] = (otherList{reason: otherUnavailable, err: err}); err == nil {
				reading.Go(func() { lists[i] = o.list(ctx, q.Request, body) })
			}
		}
		reading.Wait()
	} else {
		for i := range lists {
			lists[i] = otherList{reason: otherBusy, err: err}
		}
	}
	var failures []string
	for i, l := range lists {
		switch {
		case l.err != nil:
			name := servers[i].Name
			a.sampled.Warn().Err(l.err).Str("path", q.URL.Path).Str("upstream", name).Str("reason", l.reason).Msg("list without the other server")
			failures = append(failures, name+"="+l.reason)
		case len(l.entries) > 0:
			all.entries = append(all.entries, l.entries)
		}
	}
	if all.failed = len(failures) > 0; all.failed {
		q.w.Header().Set(OtherHeader, strings.Join(failures, ", "))
	}
	if len(all.entries) == 0 {
		all.release()
	}
	return all
}

// list returns the entries that the other server has for a request.
func (o *other) list(ctx context.Context, r *http.Request, body []byte) otherList {
	entries, reason, err := o.read(ctx, r, body)
	return otherList{entries, reason, err}
}

// read returns the entries that the other server has for a request, or a value of OtherHeader with the error.
func (o *other) read(ctx context.Context, r *http.Request, body []byte) (entries []byte, reason string, err error) {
	res, err := o.send(ctx, r, body)
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
