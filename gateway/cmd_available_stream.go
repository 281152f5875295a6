package gateway

import (
	"context"
	"errors"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// handleAvailableStream answers every request: a client without an answer waits for ever. The media id is not registered,
// since the same stream object may be played under it afterwards (protocol.md §2.6).
func handleAvailableStream(s *session, ref wcs.StreamRef) error {
	var err error
	s.offLoop(func() {
		err = s.available(ref.Name)
	}, func() {
		info := ""
		if err != nil {
			info = classify(err).info
		}
		s.send(wcs.Available(ref.MediaSessionID, err == nil, info))
	})
	return nil
}

// available gives nil for a stream that can be played.
func (s *session) available(name string) error {
	if err := s.checkName(name); err != nil {
		return err
	}
	ctx, cancel := s.g.withTimeout(s.g.cfg.Media.StoreTimeout)
	defer cancel()
	rec, err := s.g.deps.Store.FindStream(ctx, name)
	switch {
	case errors.Is(err, state.ErrNotFound) && s.app.Native.plays():
		_, err = s.nativePublisher(ctx, s.app.Room.Room(s.app.Key, name))
		return err
	case err != nil:
		return err
	case rec.Phase != state.PhasePublishing:
		return errStreamNotReady
	}
	return nil
}

// nativePublisher finds who of LiveKit's own clients publishes in a room: of several, the one that has been there for
// longest (design.md §9). LiveKit's list says who is there; what they publish is asked of each.
func (s *session) nativePublisher(ctx context.Context, room translate.RoomName) (translate.Participant, error) {
	list, err := s.g.deps.SFU.Participants(ctx, room)
	if err != nil {
		return translate.Participant{}, err
	}
	for _, p := range translate.Natives(list) {
		p, err = s.g.deps.SFU.Participant(ctx, room, p.Identity)
		switch {
		case isNotFound(err): // left meanwhile
		case err != nil:
			return p, err
		case len(p.Tracks) > 0:
			return p, nil
		}
	}
	return translate.Participant{}, errNoStream
}
