package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"wcsgateway/internal/wcsclient"
	"wcsgateway/translate/wcs"
)

// stream is the signalling of one published or played stream.
type stream struct {
	id, name string
	answer   chan event    // cap 1
	started  chan event    // cap 1
	ended    chan struct{} // closed when the server ended the stream
	end      event         // valid after ended
}

// event is a message of the server. at is when it was read; only scheduling delays add to it.
type event struct {
	at     time.Time
	status wcs.Status
	text   string // SDP or info
}

// take records a status. Only the reader calls it.
func (st *stream) take(e event) {
	switch e.status {
	case wcs.StatusPublishing, wcs.StatusPlaying:
		offer(st.started, e)
	case wcs.StatusFailed, wcs.StatusUnpublished, wcs.StatusStopped:
		select {
		case <-st.ended: // repeated end
		default:
			st.end = e
			close(st.ended)
		}
	default: // not awaited
	}
}

// offer keeps the first event of its kind: a repeated one must not block the reader.
func offer(c chan<- event, e event) {
	select {
	case c <- e:
	default:
	}
}

// statusError is a rejection, or the end of a stream, by the server.
type statusError struct{ info string }

func (e *statusError) Error() string { return e.info }

// begin sends publishStream or playStream. It registers the stream first, so that no reply is missed.
func (s *session) begin(command wcs.Name, id, name string, p *wcsclient.Peer) (*stream, error) {
	st := &stream{id: id, name: name, answer: make(chan event, 1), started: make(chan event, 1), ended: make(chan struct{})}
	s.mu.Lock()
	s.streams[id] = st
	s.mu.Unlock()
	return st, s.send(command, p.Request(id, name))
}

func (s *session) unpublish(st *stream) error {
	return s.send(wcs.CmdUnPublishStream, wcs.StreamRef{MediaSessionID: st.id, Name: st.name})
}

func (s *session) stream(id string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// await waits for an event of a stream other than its end. what is the event's name in the error.
func (s *session) await(ctx context.Context, st *stream, c <-chan event, what string) (event, error) {
	select {
	case e := <-c:
		return e, nil
	case <-st.ended:
		if e, ok := arrived(c); ok {
			return e, nil
		}
		return event{}, st.lost()
	case <-s.Done():
		if e, ok := arrived(c); ok {
			return e, nil
		}
		return event{}, s.Err()
	case <-ctx.Done():
		return event{}, fmt.Errorf("no %s: %w", what, context.Cause(ctx))
	}
}

// arrived returns an event that the reader took before it found the end of the stream or the socket: select
// takes either of two channels that are ready.
func arrived(c <-chan event) (e event, ok bool) {
	select {
	case e = <-c:
		return e, true
	default:
		return e, false
	}
}

// awaitEnd waits until the server ends a stream with the status and, unless it is empty, the info.
func (s *session) awaitEnd(ctx context.Context, st *stream, status wcs.Status, info string) error {
	select {
	case <-st.ended:
	case <-s.Done():
		select {
		case <-st.ended: // before the socket
		default:
			return s.Err()
		}
	case <-ctx.Done():
		return fmt.Errorf("no %s: %w", status, context.Cause(ctx))
	}
	if st.end.status != status || info != "" && st.end.text != info {
		return st.lost()
	}
	return nil
}

// lost returns the end of a stream as an error.
func (st *stream) lost() error {
	return &statusError{cmp.Or(st.end.text, string(st.end.status))}
}
