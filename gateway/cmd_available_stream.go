package gateway

import (
	"fmt"

	"wcsgateway/translate/wcs"
)

// Questions of one client that are being looked up at a time, and that wait for their turn: one who asks without end
// must not stand before all others' questions in the queue for Redis.
const (
	maxAsking  = 4
	maxWaiting = 128
)

// handleAvailableStream answers every request: a client without an answer waits for ever. The media id is not registered,
// since the same stream object may be played under it afterwards (protocol.md §2.6).
func handleAvailableStream(s *session, c wcs.Command) error {
	var ref wcs.StreamRef
	if err := c.Bind(&ref); err != nil {
		id, ok := mediaIDOf(c)
		if !ok {
			return err
		}
		s.answerAvailable(id, err)
		return fmt.Errorf("%w: %w", errStreamRefused, err)
	}
	if err := s.g.live().limits.checkID(ref.MediaSessionID); err != nil {
		return err
	}
	switch {
	case s.asking < maxAsking:
		s.ask(ref)
	case len(s.waiting) < maxWaiting:
		s.waiting = append(s.waiting, ref)
	default:
		s.answerAvailable(ref.MediaSessionID, errTooManyQuestions)
		return fmt.Errorf("%w: %w", errStreamRefused, errTooManyQuestions)
	}
	return nil
}

// ask looks a question up, and then the next one that waits.
func (s *session) ask(ref wcs.StreamRef) {
	s.asking++
	asyncErr(s, func() error { return s.available(ref.Name) }, func(err error) {
		s.asking--
		s.g.metrics.refusedCommand(err)
		s.answerAvailable(ref.MediaSessionID, err)
		if len(s.waiting) == 0 || s.closed {
			s.waiting = nil
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.ask(next)
	})
}

func (s *session) answerAvailable(mediaID string, err error) {
	info := ""
	if err != nil {
		info = classify(err).info
	}
	s.send(wcs.Available(mediaID, err == nil, info))
}

// mediaIDOf is the media id of a command that cannot be read otherwise.
func mediaIDOf(c wcs.Command) (id string, ok bool) {
	var ref struct {
		MediaSessionID string `json:"mediaSessionId"`
	}
	err := c.Bind(&ref)
	return ref.MediaSessionID, err == nil && validMediaID(ref.MediaSessionID)
}

// available gives nil for a stream that can be played.
func (s *session) available(name string) error {
	if err := s.checkName(name); err != nil {
		return err
	}
	_, err := s.g.locate(s.g.ctx, s.app, name)
	return err
}
