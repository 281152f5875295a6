package session

import (
	"context"
	"errors"
	"fmt"

	"wcsgateway/gateway/quota"
	"wcsgateway/translate/wcs"
)

// Bounds of availableStream lookups: those of one client that run at a time and that wait, and those of all
// clients that run at a time. A client that asks without end must not fill the queue for Redis. Addresses
// take turns, and one has at most a quarter.
const (
	maxLookups        = 4
	MaxWaitingLookups = 128
	MaxLookups        = 64
)

// lookups are a session's availableStream requests. They belong to the session's loop.
type lookups struct {
	running int
	waiting []wcs.StreamRef
}

// handleAvailableStream answers every request, because the SDK waits without a limit. The media id is not
// registered: the same stream object can be played under it afterwards
// (docs/wcs-protocol.md#availablestream).
func handleAvailableStream(s *Session, c wcs.Command) error {
	var ref wcs.StreamRef
	if err := c.Bind(&ref); err != nil {
		id, ok := mediaIDOf(c)
		if !ok {
			return err
		}
		s.answerAvailable(id, err)
		return fmt.Errorf("%w: %w", errAnswered, err)
	}
	if err := s.table.Settings().Limits.CheckID(ref.MediaSessionID); err != nil {
		return err
	}
	_, err := s.checkPlayed(ref.Name) // before it waits: a waiting name is short
	switch {
	case err != nil:
	case !s.quota().Allow(quota.Lookups):
		err = errTooManyLookups
	case s.lookups.running < maxLookups:
		s.lookUp(ref)
	case len(s.lookups.waiting) < MaxWaitingLookups:
		s.lookups.waiting = append(s.lookups.waiting, ref)
	default:
		err = errTooManyLookups
	}
	if err != nil {
		s.answerAvailable(ref.MediaSessionID, err)
		return fmt.Errorf("%w: %w", errAnswered, err)
	}
	return nil
}

// lookUp answers a request, and then the next one that waits.
func (s *Session) lookUp(ref wcs.StreamRef) {
	s.lookups.running++
	asyncErr(s, func() error { return s.available(ref.Name) }, func(err error) {
		s.lookups.running--
		s.table.Metrics.rejectedCommand(err)
		s.answerAvailable(ref.MediaSessionID, err)
		if l := &s.lookups; s.closed || len(l.waiting) == 0 {
			l.waiting = nil
		} else {
			ref, l.waiting = l.waiting[0], l.waiting[1:]
			s.lookUp(ref)
		}
	})
}

func (s *Session) answerAvailable(mediaID string, err error) {
	s.send(wcs.Available(mediaID, err == nil, classify(err).info))
}

// mediaIDOf returns the media id of a command whose other members cannot be read.
func mediaIDOf(c wcs.Command) (id string, ok bool) {
	var ref struct {
		MediaSessionID string `json:"mediaSessionId"`
	}
	err := c.Bind(&ref)
	return ref.MediaSessionID, err == nil && validMediaID(ref.MediaSessionID)
}

// available returns nil for a stream that can be played.
func (s *Session) available(name string) error {
	p, err := s.checkPlayed(name)
	if err != nil {
		return err
	}
	ctx, cancel := s.table.timeout(s.table.Config.Media.StoreTimeout)
	defer cancel()
	release, err := s.table.Lookups.Acquire(ctx, s.Conn.Key)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errTooManyLookups
	}
	if err != nil {
		return err
	}
	defer release()
	if p != nil {
		return s.table.Pulls.Available(s.table.Context, p)
	}
	_, err = s.table.locate(s.table.Context, s.app, name)
	return err
}
