package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// handleSnapshot takes a picture of a stream that the client is allowed to play, by its name. The media id is
// normally that of a stream object that is not used otherwise. It is not registered
// (docs/wcs-protocol.md#snapshot). Every request is answered.
func handleSnapshot(s *Session, ref wcs.StreamRef) error {
	if err := s.table.Settings().Limits.CheckID(ref.MediaSessionID); err != nil {
		return err
	}
	if err := s.checkSnapshot(ref); err != nil {
		s.answerSnapshot(ref, nil, err)
		return fmt.Errorf("%w: %w", errAnswered, err)
	}
	h := s.hooks
	if !h.wants(hooks.Snapshot) {
		s.snapshot(ref)
		return nil
	}
	h.request(s.table.Context, hooks.Snapshot, h.body(ref), func(_ hooks.Object, err error) {
		if err != nil {
			s.answerSnapshot(ref, nil, err)
			return
		}
		s.snapshot(ref)
	})
	return nil
}

func (s *Session) checkSnapshot(ref wcs.StreamRef) error {
	if _, err := s.checkPlayed(ref.Name); err != nil {
		return err
	}
	if !s.quota().Allow(quota.Snapshots) {
		return errTooManyLookups
	}
	return nil
}

// snapshot takes the picture off the loop.
func (s *Session) snapshot(ref wcs.StreamRef) {
	answer := wcs.Snapshot{MediaSessionID: ref.MediaSessionID, Name: ref.Name}
	if st := s.streams[ref.MediaSessionID]; st != nil {
		answer.AudioMuted, answer.VideoMuted = st.mutes.Audio, st.mutes.Video
	}
	party := s.Conn.Key
	async(s, func() (packed *socket.Bulk, err error) {
		if answer.PNG, err = s.table.takeSnapshot(s.table.Context, s.app, party, ref.Name); err != nil {
			return nil, err
		}
		frames, done, err := s.table.Snapshots.Encode(party, answer)
		return &socket.Bulk{Frames: frames, Done: done}, err
	}, func(packed *socket.Bulk, err error) { s.answerSnapshot(ref, packed, err) })
}

// answerSnapshot sends the picture, or the reason why there is none.
func (s *Session) answerSnapshot(ref wcs.StreamRef, picture *socket.Bulk, err error) {
	s.table.Metrics.Snapshots.WithLabelValues(classify(err).snapshot).Inc()
	s.table.Metrics.rejectedCommand(err)
	if err != nil {
		s.sampled().Err(err).Str("media", translate.Abridge(ref.MediaSessionID, 128)).Msg("snapshot failed")
		s.send(wcs.SnapshotFailed(ref.MediaSessionID, classify(err).info))
		return
	}
	s.conn.SendBulk(picture)
}

// Snapshot takes a picture of a published stream, as a PNG. The name is that of any application. It takes no
// longer than SnapshotConfig.Timeout and the calls to Redis and LiveKit that resolve the name. The error
// wraps state.ErrNotFound if there is no such stream, and admin.ErrSnapshot otherwise.
func (t *Table) Snapshot(ctx context.Context, name string) ([]byte, error) {
	if err := t.Settings().Limits.CheckName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrSnapshot, err)
	}
	png, err := t.takeSnapshot(ctx, nil, netip.Addr{}, name)
	t.Metrics.Snapshots.WithLabelValues(classify(err).snapshot).Inc()
	switch {
	case errors.Is(err, errNoStream), errors.Is(err, errStreamNotReady), errors.Is(err, snapshot.ErrNoPublisher):
		err = fmt.Errorf("%w: %w", state.ErrNotFound, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", admin.ErrSnapshot, err)
	}
	return png, err
}

// takeSnapshot takes a picture for a client of an application; nil and no address stand for an operator.
func (t *Table) takeSnapshot(ctx context.Context, app *apps.App, party netip.Addr, name string) ([]byte, error) {
	src, err := t.locate(ctx, app, name)
	if err != nil {
		return nil, err
	}
	return t.Snapshots.Take(ctx, party, snapshot.Source{Room: src.room, Publisher: src.publisher.Identity})
}
