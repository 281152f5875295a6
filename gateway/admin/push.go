package admin

import (
	"context"
	"errors"
	"strings"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// Errors of the methods of this file, besides ErrNoSuchStream and state.ErrUnavailable.
var (
	ErrPushForbidden = errors.New("the stream's application is not allowed to send to this address")
	ErrPushExists    = errors.New("the stream is sent to this address already")
	ErrPushFailed    = errors.New("the stream could not be sent on")
	ErrEgresses      = errors.New("LiveKit does not answer questions about egresses: it needs Redis and an egress service")
)

// Egresses are the egresses of the deployment's streams, which LiveKit keeps. Its errors are
// *translate.Error.
type Egresses interface {
	// Push sends a published stream to an RTMP server.
	Push(ctx context.Context, room translate.RoomName, publisher translate.Identity, address string) (translate.Egress, error)
	// Running returns the egresses that have not ended, those of other systems included.
	Running(ctx context.Context) ([]translate.ListedEgress, error)
	// Stop ends an egress.
	Stop(ctx context.Context, id string) error
	// Mask returns an address as in ListedEgress.Address.
	Mask(address string) string
}

// PushAddress returns the RTMP address of a stream of an application, and whether the application is allowed
// to send there. full reports that base is used as it is.
type PushAddress func(app, stream, base string, full bool) (address string, allowed bool)

// Push is a published stream that is sent to an RTMP server: for an operator, or by its publisher's rtmpUrl.
type Push struct {
	ID      string // LiveKit's
	Stream  string
	Address string // without the stream's part, if it has the usual form; else with the key masked

	masked string // the complete address
}

// StartPush sends a published stream to an RTMP server, until StopPush, the end of the stream or a failure,
// which does not affect the stream. full is the request that address be used as it is. It takes up to the
// time for the egress service to answer. It fails with ErrNoSuchStream, ErrPushForbidden, ErrPushExists,
// ErrPushFailed (the log has the reason), ErrEgresses or state.ErrUnavailable.
func (s *Service) StartPush(ctx context.Context, stream, address string, full bool) (Push, error) {
	rec, err := s.deps.Directory.FindStream(ctx, stream)
	switch {
	case errors.Is(err, state.ErrNotFound) || err == nil && rec.Phase != state.PhasePublishing:
		return Push{}, ErrNoSuchStream
	case err != nil:
		return Push{}, err
	}
	complete, allowed := s.deps.PushAddress(rec.App, rec.Name, address, full)
	if !allowed {
		return Push{}, ErrPushForbidden
	}
	defer s.pushes.Lock(ctx, rec.Identity)()
	running, err := s.deps.Egresses.Running(ctx)
	if err != nil {
		return Push{}, s.egressError(err, ErrEgresses, "list", stream)
	}
	masked := s.deps.Egresses.Mask(complete)
	for _, e := range running {
		if e.Publisher == translate.Identity(rec.Identity) && e.Kind == translate.EgressRTMP && e.Address == masked {
			return Push{}, ErrPushExists
		}
	}
	e, err := s.deps.Egresses.Push(ctx, translate.RoomName(rec.Room), translate.Identity(rec.Identity), complete)
	if err != nil {
		return Push{}, s.egressError(err, ErrPushFailed, "start", stream)
	}
	return Push{ID: e.ID, Stream: stream, Address: address, masked: masked}, nil
}

// egressError logs an error of LiveKit, whose text can contain an address, and returns the error for callers.
func (s *Service) egressError(err, outcome error, op, stream string) error {
	s.deps.Log.Error().Str("op", op).Str("stream", stream).Str("cause", translate.KindOf(err).String()).
		Str("hint", "LiveKit needs Redis and an egress service; its log has the text").Msg("egress call failed")
	return outcome
}

// Pushes returns the streams of the deployment that are sent to RTMP servers. With an address, only those
// that StartPush would send there. It fails with ErrEgresses or state.ErrUnavailable.
func (s *Service) Pushes(ctx context.Context, address string) (all []Push, err error) {
	err = s.eachEgress(ctx, translate.EgressRTMP, func(rec state.Stream, e translate.ListedEgress) {
		p := Push{ID: e.ID, Stream: rec.Name, Address: e.Address, masked: e.Address}
		if end := strings.LastIndexByte(e.Address, '/'); end >= 0 && s.sendsTo(p, rec.App, e.Address[:end]) {
			p.Address = e.Address[:end] // without the stream's part
		}
		if address == "" || address == p.Address || s.sendsTo(p, rec.App, address) {
			all = append(all, p)
		}
	})
	return all, err
}

// sendsTo reports whether a push is what StartPush makes of an address.
func (s *Service) sendsTo(p Push, app, address string) bool {
	for _, full := range []bool{false, true} {
		if complete, _ := s.deps.PushAddress(app, p.Stream, address, full); s.deps.Egresses.Mask(complete) == p.masked {
			return true
		}
	}
	return false
}

// StopPush ends a push. It fails with state.ErrNotFound without such a push, ErrEgresses or
// state.ErrUnavailable.
func (s *Service) StopPush(ctx context.Context, id string) error {
	pushes, err := s.Pushes(ctx, "")
	if err != nil {
		return err
	}
	for _, p := range pushes {
		if p.ID != id {
			continue
		}
		if err := s.deps.Egresses.Stop(ctx, id); err != nil {
			return s.egressError(err, ErrEgresses, "stop", p.Stream)
		}
		return nil
	}
	return state.ErrNotFound
}

// Recording is a recording of a published stream.
type Recording struct{ MediaID, File string }

// Recordings returns the recordings of the deployment that have not ended. It fails with ErrEgresses or
// state.ErrUnavailable.
func (s *Service) Recordings(ctx context.Context) (all []Recording, err error) {
	err = s.eachEgress(ctx, translate.EgressRecord, func(rec state.Stream, e translate.ListedEgress) {
		all = append(all, Recording{MediaID: rec.MediaID, File: strings.TrimPrefix(e.File, s.deps.FilePrefix)})
	})
	return all, err
}

// eachEgress passes the egresses of a kind that belong to published streams of this deployment to yield.
func (s *Service) eachEgress(ctx context.Context, kind translate.EgressKind, yield func(state.Stream, translate.ListedEgress)) error {
	running, err := s.deps.Egresses.Running(ctx)
	if err != nil {
		return s.egressError(err, ErrEgresses, "list", "")
	}
	of := make(map[translate.Identity][]translate.ListedEgress)
	for _, e := range running {
		if e.Kind == kind {
			of[e.Publisher] = append(of[e.Publisher], e)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return s.deps.Directory.EachStream(ctx, state.StreamQuery{}, func(page []state.Listed) error {
		for _, l := range page {
			if l.Player != nil {
				continue
			}
			for _, e := range of[translate.Identity(l.Stream.Identity)] {
				yield(l.Stream, e)
			}
		}
		return nil
	})
}
