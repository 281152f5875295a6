package gateway

import (
	"context"
	"errors"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func handlePlayStream(s *session, c wcs.Command) error {
	var req wcs.StreamRequest
	if err := c.Bind(&req); err != nil {
		return s.malformedStream(c, false, err)
	}
	if req.Width != 0 || req.Height != 0 || req.Bitrate != 0 || req.Quality != 0 {
		s.log().Info().Str("media", cut(req.MediaSessionID, 128)).Int("width", int(req.Width)).Int("height", int(req.Height)).
			Int("bitrate", int(req.Bitrate)).Int("quality", int(req.Quality)).Msg("play parameters are not applied: the stream is played as it is published")
	}
	return s.begin(player{}, false, req)
}

func handleStopStream(s *session, ref wcs.StreamRef) error {
	s.stop(ref.MediaSessionID)
	return nil
}

// player is the role of a stream that a client plays.
type player struct{}

// source is what a player plays.
type source struct {
	room      translate.RoomName
	publisher translate.Participant
	record    state.Stream // empty for a native publisher
}

func (player) start(ctx context.Context, st *stream) (got started, err error) {
	g := st.sess.g
	offered, err := translate.OfferKinds(st.req.SDP)
	if err != nil {
		return got, err
	}
	src, claimed, err := findSource(ctx, st)
	got.room, got.claimed, got.publisher, got.record = src.room, claimed, src.publisher.Identity, src.record
	if err != nil {
		return got, err
	}
	tracks := choose(src.publisher.Tracks, offered)
	edit := translate.PlayEdit{
		AudioCodec: codecOf(tracks, translate.Audio), VideoCodec: codecOf(tracks, translate.Video),
	}
	offer, kinds, err := translate.EditPlayOffer(st.req.SDP, edit)
	if err != nil {
		return got, err
	}
	var names []string
	for _, t := range tracks {
		if kinds.Has(t.Kind) {
			names = append(names, t.Name)
			got.tracks = append(got.tracks, t)
		}
	}
	if len(names) == 0 {
		return got, errNoMatch
	}
	got.offered = true
	sfuCtx, cancel := g.withTimeout(g.cfg.Media.SFUTimeout) // not ended by a stop, as in publisher.start
	defer cancel()
	since := time.Now()
	answer, err := g.deps.SFU.Play(sfuCtx, translate.PlayOffer{
		Room: src.room, Identity: st.identity, MediaID: st.id, SDP: offer, Publisher: src.publisher.Identity, Tracks: names,
	})
	got.sfuTime = time.Since(since)
	if err != nil {
		return got, err
	}
	got, err = finishAnswer(st, got, answer, translate.AnswerEdit{CommonStream: st.name, TCPOnly: wantsTCP(st.req)})
	got.kinds = kindsOf(got.tracks)
	return got, err
}

// choose picks at most one track of each kind that the player has an m-line for. A native publisher can have more: the
// first counts.
func choose(tracks []translate.Track, offered translate.MediaKinds) []translate.Track {
	var chosen []translate.Track
	for _, t := range tracks {
		if offered.Has(t.Kind) && codecOf(chosen, t.Kind) == "" {
			chosen = append(chosen, t)
		}
	}
	return chosen
}

func codecOf(tracks []translate.Track, k translate.Kind) string {
	for _, t := range tracks {
		if t.Kind == k {
			return translate.CodecName(t.Mime)
		}
	}
	return ""
}

func kindsOf(tracks []translate.Track) (k translate.MediaKinds) {
	for _, t := range tracks {
		k.Audio = k.Audio || t.Kind == translate.Audio
		k.Video = k.Video || t.Kind == translate.Video
	}
	return k
}

// findSource finds the stream by its record, or else a native publisher, and what it publishes right now: LiveKit
// waits in vain for a track that is not there (design.md §1). claimed is true whenever something may be in Redis.
func findSource(ctx context.Context, st *stream) (src source, claimed bool, err error) {
	s := st.sess
	rec, err := awaitStream(ctx, st)
	switch {
	case errors.Is(err, state.ErrNotFound) && s.app.Native.plays():
		return findNative(ctx, st)
	case err != nil:
		return src, mayHaveClaimed(err), err
	}
	src.record, src.room = rec, translate.RoomName(rec.Room)
	st.expect(translate.Identity(rec.Identity))
	ctx, cancel := context.WithTimeout(ctx, s.g.cfg.Media.SFUTimeout)
	defer cancel()
	list, err := s.g.deps.SFU.Participants(ctx, src.room)
	if err != nil {
		return src, true, err
	}
	p, ok := translate.Find(list, translate.Identity(rec.Identity))
	if !ok {
		return src, true, errNoStream // its publisher's pod has not noticed yet
	}
	src.publisher = p
	return src, true, nil
}

// expect lets the loop know the publisher before start is over: when it goes, the client is told at once, though LiveKit
// still waits for its tracks.
func (st *stream) expect(publisher translate.Identity) {
	st.sess.loop.post(func() { st.publisher = publisher })
}

// awaitStream registers the player and gives the stream's record; a stream that is about to be
// published is waited for (design.md §9).
func awaitStream(ctx context.Context, st *stream) (state.Stream, error) {
	g := st.sess.g
	published, stop := g.streams.awaitPublished(st.name)
	defer stop()
	rec, err := addPlayer(ctx, st, false, "")
	if err != nil || rec.Phase == state.PhasePublishing {
		return rec, err
	}
	limit := time.NewTimer(g.cfg.Media.PlayWait)
	defer limit.Stop()
	select {
	case <-published:
	case <-limit.C:
	case <-ctx.Done():
		return rec, ctx.Err()
	}
	findCtx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	rec, err = g.deps.Store.FindStream(findCtx, st.name)
	if err == nil && rec.Phase != state.PhasePublishing {
		err = errStreamNotReady
	}
	return rec, err
}

func addPlayer(ctx context.Context, st *stream, native bool, room translate.RoomName) (state.Stream, error) {
	s := st.sess
	ctx, cancel := context.WithTimeout(ctx, s.g.cfg.Media.StoreTimeout)
	defer cancel()
	return s.g.deps.Store.AddPlayer(ctx, state.Player{
		MediaID: st.id, Stream: st.name, App: s.app.Key, Session: s.id, Room: string(room), Identity: string(st.identity),
		CreatedAt: st.created, Native: native,
	})
}

// mayHaveClaimed tells whether a failed AddPlayer, or what came after it, may have left something.
func mayHaveClaimed(err error) bool {
	return !errors.Is(err, state.ErrMediaIDTaken) && !errors.Is(err, state.ErrLeaseStale)
}

func findNative(ctx context.Context, st *stream) (src source, claimed bool, err error) {
	s := st.sess
	src.room = s.app.Room.Room(s.app.Key, st.name)
	sfuCtx, cancel := context.WithTimeout(ctx, s.g.cfg.Media.SFUTimeout)
	defer cancel()
	if src.publisher, err = s.nativePublisher(sfuCtx, src.room); err != nil {
		return src, false, err
	}
	st.expect(src.publisher.Identity)
	_, err = addPlayer(ctx, st, true, src.room)
	return src, err == nil || mayHaveClaimed(err), err
}

// ready: LiveKit has bound the tracks before it answered, so media flows as soon as the transport is up.
func (player) ready(st *stream) bool { return st.joined }

func (player) mediaTimeout(cfg MediaConfig) (time.Duration, string) {
	return cfg.ICETimeout, wcs.InfoFailedByICETimeout
}

func (player) up(st *stream) {
	st.tellStatus(wcs.StatusPlaying, "")
	st.tellFormat()
}

// tellFormat tells a player the picture size, once it is known.
func (st *stream) tellFormat() {
	v := st.tracks[translate.Video]
	if v.Width == 0 || v.Height == 0 {
		return
	}
	for _, f := range (wcs.VideoFormat{
		MediaSessionID: st.id, Width: v.Width, Height: v.Height, AudioMuted: st.audioMuted, VideoMuted: st.videoMuted,
	}).Frames() {
		st.sess.send(f)
	}
}

// write registers the player once more, after Redis has lost it.
func (player) write(ctx context.Context, st *stream, rec state.Stream) error {
	native := st.publisher.Native()
	_, err := addPlayer(ctx, st, native, translate.RoomName(rec.Room))
	return err
}

func (player) release(ctx context.Context, st *stream) error {
	return st.sess.g.deps.Store.RemovePlayer(ctx, state.Player{
		MediaID: st.id, Stream: st.name, Identity: string(st.identity),
	})
}
