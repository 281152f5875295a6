package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wcsgateway/gateway/ends"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// statusPending is the status of a stream without media yet.
const statusPending wcs.Status = "PENDING"

// StreamEntry is a published or played stream of the deployment, as registered in Redis.
type StreamEntry struct {
	MediaID, Name, App, Session string
	Published                   bool
	Status                      wcs.Status    // PENDING, PUBLISHING or PLAYING
	Tracks                      []state.Track // empty until the stream is up
	MinKbps, MaxKbps            int           // requested by the publisher
	CreatedAt                   time.Time
	Pod                         string // the owner
	AudioMuted, VideoMuted      bool   // of a published stream
}

// StreamFilter selects the streams that match all set fields. The zero value selects all.
type StreamFilter struct {
	MediaIDs              []string // any of these
	Name, Session, Status string
	Published             *bool
}

// Empty reports whether the filter selects all streams.
func (f StreamFilter) Empty() bool {
	return len(f.MediaIDs) == 0 && f.Name == "" && f.Session == "" && f.Status == "" && f.Published == nil
}

func (f StreamFilter) matches(e StreamEntry) bool {
	return (f.Name == "" || f.Name == e.Name) && (f.Session == "" || f.Session == e.Session) &&
		(f.Status == "" || f.Status == string(e.Status)) && (f.Published == nil || *f.Published == e.Published)
}

// EachStream passes the selected streams to yield, page by page. yield can keep the slices. It fails with
// state.ErrUnavailable or the error of yield.
func (s *Service) EachStream(ctx context.Context, f StreamFilter, yield func([]StreamEntry) error) error {
	q := state.StreamQuery{MediaIDs: f.MediaIDs, Name: f.Name}
	return s.deps.Directory.EachStream(ctx, q, func(page []state.Listed) error {
		var entries []StreamEntry
		for _, l := range page {
			if e := entryOf(l); f.matches(e) {
				entries = append(entries, e)
			}
		}
		if len(entries) == 0 {
			return nil
		}
		return yield(entries)
	})
}

func entryOf(l state.Listed) StreamEntry {
	if l.Player == nil {
		s := l.Stream
		e := StreamEntry{
			MediaID: s.MediaID, Name: s.Name, App: s.App, Session: s.Session, Published: true, Status: statusPending, Tracks: s.Tracks,
			MinKbps: s.MinKbps, MaxKbps: s.MaxKbps, CreatedAt: s.CreatedAt, Pod: s.Owner.Pod, AudioMuted: s.AudioMuted, VideoMuted: s.VideoMuted,
		}
		if s.Phase == state.PhasePublishing {
			e.Status = wcs.StatusPublishing
		}
		return e
	}
	p := l.Player
	e := StreamEntry{
		MediaID: p.MediaID, Name: p.Stream, App: p.App, Session: p.Session, Status: statusPending, Tracks: slices.Clone(p.Tracks),
		CreatedAt: p.CreatedAt, Pod: p.Owner.Pod,
	}
	if p.Playing {
		e.Status = wcs.StatusPlaying
	}
	for i, played := range e.Tracks {
		for _, t := range l.Stream.Tracks {
			if t.Name == played.Name { // the publisher's record has the current size
				e.Tracks[i] = t
			}
		}
	}
	return e
}

// maxEnded is the number of ended streams that each pod returns.
const maxEnded = 50

// StreamRecord returns what the pod of a published stream recorded about it, or nil if it knows nothing. It
// fails with ErrPodUnreachable.
func (s *Service) StreamRecord(ctx context.Context, e StreamEntry) (r *ends.Record, err error) {
	return r, s.request(ctx, e.Pod, methodStream, ends.Stream{Session: e.Session, MediaID: e.MediaID}, &r)
}

// EndedStream returns the record of the stream with a media id that ended last, of any pod, or nil if no pod
// knows it. The end of a stream whose pod died is known to the pod that took over. It takes up to two
// seconds, and fails with state.ErrUnavailable.
func (s *Service) EndedStream(ctx context.Context, mediaID string) (last *ends.Record, err error) {
	found, err := requestAll[*ends.Record](ctx, s, methodStream, ends.Stream{MediaID: mediaID})
	for _, r := range found {
		if r != nil && *r != nil && (*r).Ended != nil && (last == nil || last.Ended.At.Before((*r).Ended.At)) {
			last = *r
		}
	}
	return last, err
}

// EndedStreams returns the published streams that ended last by pod id, like PodStates: the last one of each
// pod first, without quality and hooks.
func (s *Service) EndedStreams(ctx context.Context) (map[string]*[]ends.Record, error) {
	return requestAll[[]ends.Record](ctx, s, methodEnded, nil)
}

// TerminateStreams ends the selected streams on all pods and returns their number. Their clients get
// UNPUBLISHED or STOPPED, `Stopped by rest /terminate`. It fails with state.ErrUnavailable, and with
// ErrPodUnreachable after the streams of the other pods are ended.
func (s *Service) TerminateStreams(ctx context.Context, f StreamFilter) (ended int, err error) {
	unreachable := make(map[string]error)
	err = s.EachStream(ctx, f, func(page []StreamEntry) error {
		byPod := make(map[string][]string)
		for _, e := range page {
			byPod[e.Pod] = append(byPod[e.Pod], e.MediaID)
		}
		for pod, ids := range byPod {
			if unreachable[pod] != nil {
				continue // wait for a pod only once
			}
			var n int
			switch err := s.request(ctx, pod, methodEndStreams, ids, &n); {
			case errors.Is(err, ErrPodUnreachable) && ctx.Err() == nil:
				unreachable[pod] = err
			case err != nil:
				return err
			}
			ended += n
		}
		return nil
	})
	for _, e := range unreachable {
		err = errors.Join(err, e)
	}
	if err != nil {
		return ended, fmt.Errorf("terminate streams: %w", err)
	}
	return ended, nil
}

// Figures are the measurements of a stream by WCS's names: rates in bit/s, sizes in pixels, and counts since
// the start of the stream. Values that are not measured are absent.
type Figures map[string]int64

// Figures returns the figures of streams by media id. Streams that are not measured or have just ended can be
// missing. It fails with ErrPodUnreachable if a pod of one of the streams does not reply.
func (s *Service) Figures(ctx context.Context, streams []StreamEntry) (map[string]Figures, error) {
	byPod := make(map[string][]string)
	for _, e := range streams {
		byPod[e.Pod] = append(byPod[e.Pod], e.MediaID)
	}
	all := make(map[string]Figures, len(streams))
	for pod, ids := range byPod {
		if err := s.request(ctx, pod, methodFigures, ids, &all); err != nil {
			return nil, fmt.Errorf("figures: %w", err)
		}
	}
	return all, nil
}
