package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// StreamEntry is a published or played stream of the deployment, as Redis knows it.
type StreamEntry struct {
	MediaID, Name, App, Session string
	Published                   bool
	Status                      wcs.Status    // PENDING, PUBLISHING or PLAYING
	Tracks                      []state.Track // once it is up
	MinKbps, MaxKbps            int           // as a publisher has asked for
	CreatedAt                   time.Time
	Pod                         string // that has it
	AudioMuted, VideoMuted      bool   // of a published stream
}

// StreamFilter says which streams are meant: those that have all that is set. The zero value means all.
type StreamFilter struct {
	MediaIDs              []string // any of these
	Name, Session, Status string
	Published             *bool
}

// Empty tells whether the filter lets everything through.
func (f StreamFilter) Empty() bool {
	return len(f.MediaIDs) == 0 && f.Name == "" && f.Session == "" && f.Status == "" && f.Published == nil
}

func (f StreamFilter) has(e StreamEntry) bool {
	return (f.Name == "" || f.Name == e.Name) && (f.Session == "" || f.Session == e.Session) &&
		(f.Status == "" || f.Status == string(e.Status)) && (f.Published == nil || *f.Published == e.Published)
}

// EachStream gives the streams that the filter lets through page by page, as state.Redis.EachStream does. The slice is yield's to keep.
func (g *Gateway) EachStream(ctx context.Context, f StreamFilter, yield func([]StreamEntry) error) error {
	q := state.StreamQuery{MediaIDs: f.MediaIDs, Name: f.Name}
	return g.deps.Directory.EachStream(ctx, q, func(page []state.Listed) error {
		var entries []StreamEntry
		for _, l := range page {
			if e := entryOf(l); f.has(e) {
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
			if t.Name == played.Name { // whose size is kept up to date
				e.Tracks[i] = t
			}
		}
	}
	return e
}

// TerminateStreams ends the streams that the filter lets through, on whatever pods, and gives their number. Their clients are told UNPUBLISHED or
// STOPPED, `Stopped by rest /terminate`. It fails with state.ErrUnavailable, or, when all others are ended, with ErrPodSilent.
func (g *Gateway) TerminateStreams(ctx context.Context, f StreamFilter) (ended int, err error) {
	silent := make(map[string]error)
	err = g.EachStream(ctx, f, func(page []StreamEntry) error {
		byPod := make(map[string][]string)
		for _, e := range page {
			byPod[e.Pod] = append(byPod[e.Pod], e.MediaID)
		}
		for pod, ids := range byPod {
			if silent[pod] != nil {
				continue // once is enough to wait for it
			}
			var n int
			switch err := g.order(ctx, pod, adminEndStreams, ids, &n); {
			case errors.Is(err, ErrPodSilent) && ctx.Err() == nil:
				silent[pod] = err
			case err != nil:
				return err
			}
			ended += n
		}
		return nil
	})
	for _, silence := range silent {
		err = errors.Join(err, silence)
	}
	if err != nil {
		return ended, fmt.Errorf("terminate streams: %w", err)
	}
	return ended, nil
}

// endStreams ends those of this pod's streams that have one of the media ids. Those that are ending already, or whose loop is busy until ctx
// is done, do not count.
func (g *Gateway) endStreams(ctx context.Context, ids []string) (n int) {
	streams := g.streamsOf(ids)
	answers := make(chan bool, len(streams))
	for _, st := range streams {
		st.sess.loop.Post(func() {
			answers <- st.ending == nil
			st.end(ending{status: st.stopped(), info: wcs.InfoStoppedByRESTTerminate, class: classOperator})
		})
	}
	for range streams {
		select {
		case ended := <-answers:
			if ended {
				n++
			}
		case <-ctx.Done():
			return n
		}
	}
	return n
}

// streamsOf finds this pod's streams of media ids.
func (g *Gateway) streamsOf(ids []string) (found []*stream) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for _, st := range g.streams.all() {
		if wanted[st.id] {
			found = append(found, st)
		}
	}
	return found
}

// Figures are what is measured of a stream, by WCS's names (integration.md §2.2): rates in bit/s, sizes in pixels, and counts since the
// stream began. What nobody measures is absent.
type Figures map[string]int64

// Figures gives the figures of streams by media id. Of some there may be none: nobody measures them, or they have just ended. It fails with
// ErrPodSilent when a pod that has some does not answer.
func (g *Gateway) Figures(ctx context.Context, streams []StreamEntry) (map[string]Figures, error) {
	byPod := make(map[string][]string)
	for _, e := range streams {
		byPod[e.Pod] = append(byPod[e.Pod], e.MediaID)
	}
	all := make(map[string]Figures, len(streams))
	for pod, ids := range byPod {
		if err := g.order(ctx, pod, adminFigures, ids, &all); err != nil {
			return nil, fmt.Errorf("figures: %w", err)
		}
	}
	return all, nil
}

// figuresHere asks the loops of this pod's streams; one that is busy until ctx is done is left out.
func (g *Gateway) figuresHere(ctx context.Context, ids []string) map[string]Figures {
	type answer struct {
		id string
		Figures
	}
	streams := g.streamsOf(ids)
	answers := make(chan answer, len(streams))
	for _, st := range streams {
		st.sess.loop.Post(func() { answers <- answer{st.id, st.figures()} })
	}
	all := make(map[string]Figures, len(streams))
	for range streams {
		select {
		case a := <-answers:
			all[a.id] = a.Figures
		case <-ctx.Done():
			return all
		}
	}
	return all
}

func (st *stream) figures() Figures {
	f := make(Figures)
	set := func(name string, v int) {
		if v > 0 {
			f[name] = int64(v)
		}
	}
	video := st.tracks[translate.Video]
	set("VIDEO_WIDTH", video.Width)
	set("VIDEO_HEIGHT", video.Height)
	if st.rates == nil || st.ending != nil {
		return f
	}
	m, source := st.measure()
	if !m.known {
		return f
	}
	f["VIDEO_RATE"], f["VIDEO_FPS"], f["VIDEO_LOST"] = m.video.Rate, int64(m.video.FPS), int64(m.video.Lost)
	if source == fromClient { // a probe does not see the requests of others
		f["VIDEO_NACK"], f["VIDEO_PLI"] = int64(m.video.NACK), int64(m.video.PLI)
	}
	return f
}
