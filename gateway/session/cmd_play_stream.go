package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/hooks"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// player is the role of a stream that a client plays.
type player struct{}

func (player) start(ctx context.Context, st *stream) (got started, err error) {
	offered, err := translate.PlayOfferKinds(st.req.SDP)
	if err != nil {
		return got, err
	}
	src, claimed, err := findSource(ctx, st)
	got.room, got.claimed, got.publisher, got.sid, got.record = src.room, claimed, src.publisher.Identity, src.publisher.SID, src.record
	if err != nil {
		return got, err
	}
	if got.publisher.Native() {
		_, err = addPlayer(ctx, st, true, got.room)
	}
	for attempt := 0; err == nil; attempt++ {
		if err = play(ctx, st, &got, offered, attempt); !errors.Is(err, translate.ErrPlayAgain) || attempt == playAttempts-1 {
			break
		}
		err = changeIdentity(ctx, st, got)
	}
	return got, err
}

// playAttempts bounds the attempts to get the publisher's tracks. By WHIP, in a room with several publishers,
// LiveKit binds the tracks of any of them.
const playAttempts = 8

// play sends the offer to LiveKit and checks that the answer has the tracks. A stop cancels the call: LiveKit
// does not answer before they are there.
func play(ctx context.Context, st *stream, got *started, offered translate.MediaKinds, attempt int) error {
	t := st.sess.table
	release, err := st.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, t.Config.Media.SFUTimeout)
	defer cancel()
	var offer translate.EditedOffer
	var offerErr error
	since := time.Now()
	answer, err := t.SFU.Play(ctx, translate.PlayOffer{
		Room: got.room, Identity: st.identity, MediaID: st.id, Publisher: got.publisher, Attempt: attempt,
		Offer: func(publisher translate.Participant) (string, []translate.Track, error) {
			tracks := choose(publisher.Tracks, offered)
			offer, offerErr = translate.EditPlayOffer(st.req.SDP, translate.PlayEdit{
				AudioCodec: codecOf(tracks, translate.Audio), VideoCodec: codecOf(tracks, translate.Video), Follow: st.pull != nil,
			})
			got.sid = publisher.SID
			got.tracks = slices.DeleteFunc(tracks, func(t translate.Track) bool { return !offer.Kinds.Has(t.Kind) })
			return offer.SDP, got.tracks, offerErr
		},
	})
	got.sfuTime += time.Since(since)
	got.offered = got.offered || !errors.Is(err, translate.ErrNotSent)
	switch {
	case offerErr != nil:
		return offerErr
	case errors.Is(err, translate.ErrPublisherGone):
		return errNoStream // the publisher's pod does not know yet
	case err != nil:
		return err
	}
	follows := offer.Follow && answer.Follows
	notes, err := finishAnswer(st, got, answer, translate.AnswerEdit{
		Fixes: offer.Fixes, CommonStream: st.name, Kinds: offer.Kinds, TCPOnly: wantsTCP(st.req), Follow: follows,
	})
	if err != nil {
		return err
	}
	for _, t := range got.tracks {
		if t.SID != notes.AudioTrack && t.SID != notes.VideoTrack {
			return fmt.Errorf("answer has tracks of another publisher in the room: %w", translate.ErrPlayAgain)
		}
	}
	if follows {
		st.pull.Played(translate.Following{
			Room: got.room, Identity: st.identity, MediaID: st.id, SID: answer.SID, SDP: offer.SDP, Tracks: got.tracks,
		})
	}
	return nil
}

// changeIdentity replaces the stream's participant by one with another identity: under the same one,
// LiveKit's report of the old one's end would be taken for the new one's.
func changeIdentity(ctx context.Context, st *stream, got started) error {
	t, old := st.sess.table, st.identity
	if err := st.role.release(ctx, st); err != nil {
		return err
	}
	st.identity = t.NewIdentity(translate.RolePlay)
	t.streams.rename(old, st)
	t.Cleanup.RemoveParticipant(st.sess.Conn.Key, got.room, old, cleanup.ExpiryNeverUp)
	_, err := addPlayer(ctx, st, got.publisher.Native(), got.room)
	return err
}

// choose returns the first track of each kind for which the player has an m-line.
func choose(tracks []translate.Track, offered translate.MediaKinds) []translate.Track {
	var chosen []translate.Track
	for _, t := range tracks {
		if offered.Has(t.Kind) && codecOf(chosen, t.Kind) == "" {
			chosen = append(chosen, t)
		}
	}
	return chosen
}

// codecOf returns the codec of the track of a kind, "" without such a track.
func codecOf(tracks []translate.Track, k translate.Kind) string {
	for _, t := range tracks {
		if t.Kind == k {
			return translate.SDPCodec(t.Mime)
		}
	}
	return ""
}

// findSource resolves the stream's name. claimed is true whenever something may be in Redis.
func findSource(ctx context.Context, st *stream) (src source, claimed bool, err error) {
	t := st.sess.table
	if st.pull != nil {
		src.room = st.pull.Room()
		src.publisher, err = t.Pulls.Join(ctx, st.pull, st.sess.Conn.Key)
		st.expect(src.publisher)
		return src, err == nil, err
	}
	src, err = t.resolve(ctx, st.sess.app, st.name, func() (state.Stream, error) { return awaitStream(ctx, st) })
	if err != nil {
		return src, !isAny(err, state.ErrMediaIDTaken, state.ErrLeaseStale), err
	}
	st.expect(src.publisher)
	return src, true, nil // a player of a native publisher may be registered with a stream that has ended
}

// expect sets the publisher before start returns. When the publisher ends, the client is notified at once,
// although LiveKit still waits for its tracks.
func (st *stream) expect(publisher translate.Participant) {
	st.sess.loop.Post(func() { st.publisher, st.publisherSID = publisher.Identity, publisher.SID })
}

// awaitStream registers the player and returns the stream's record. It waits for a stream that is about to be
// published and that the client is allowed to play.
func awaitStream(ctx context.Context, st *stream) (state.Stream, error) {
	t := st.sess.table
	published, stop := t.streams.awaitPublished(st.name)
	defer stop()
	rec, err := addPlayer(ctx, st, false, "")
	if err != nil || rec.Phase == state.PhasePublishing || !st.sess.app.MayPlay(rec.App) {
		return rec, err
	}
	limit := time.NewTimer(t.Config.Media.PlayWait)
	defer limit.Stop()
	select {
	case <-published:
	case <-limit.C:
	case <-ctx.Done():
		return rec, ctx.Err()
	}
	return t.Store.FindStream(ctx, st.name)
}

func addPlayer(ctx context.Context, st *stream, native bool, room translate.RoomName) (state.Stream, error) {
	return st.sess.table.Store.AddPlayer(ctx, st.player(native, room))
}

// player returns the record of a player that is not up yet.
func (st *stream) player(native bool, room translate.RoomName) state.Player {
	return state.Player{
		MediaID: st.id, Stream: st.name, App: st.sess.app.Key, Session: st.sess.id, Room: string(room), Identity: string(st.identity),
		CreatedAt: st.created, Native: native, Generation: st.sess.generation,
		TellEnd: st.sess.hooks.wants(hooks.StreamStatusEvent),
	}
}

// mediaReady reports whether the transport is up: LiveKit has bound the tracks before its answer.
func (player) mediaReady(st *stream) bool { return st.joined }

func (player) onMedia(st *stream) {
	st.sess.table.SFU.PlayerUp(st.identity)
	st.announce()
	st.showFormat()
	st.startRates()
}

// write registers the player with its tracks, when it is up and after Redis lost the registration.
func (player) write(ctx context.Context, st *stream, rec state.Stream) error {
	p := st.player(st.publisher.Native(), translate.RoomName(rec.Room))
	p.Playing, p.Tracks = true, rec.Tracks
	_, err := st.sess.table.Store.AddPlayer(ctx, p)
	return err
}

func (player) release(ctx context.Context, st *stream) error {
	return st.sess.table.Store.RemovePlayer(ctx, state.Player{
		MediaID: st.id, Stream: st.name, Identity: string(st.identity), Generation: st.sess.generation,
	})
}
