package livekit

import (
	"context"
	"time"

	"github.com/pion/sdp/v3"

	"wcsgateway/translate"
)

// followPause is between two offers of a player that follows. LiveKit takes 0.2 s to end the tracks of a
// publisher that has left: it sends empty pictures.
const followPause = 50 * time.Millisecond

// Follow has a player whose publisher has left receive the tracks of another one. LiveKit's new answer is
// dropped: the client must be able to do without (translate.EditedOffer.Follow). After an error the player is
// in the room, and has no tracks.
func (s *SFU) Follow(ctx context.Context, f translate.Following) (err error) {
	defer s.done(opFollow, time.Now(), f.Room, f.Identity, &err)
	release, err := s.playing.acquire(ctx, playedPublisher{f.Room, f.Publisher})
	if err != nil {
		return failed(ctx, opFollow, err)
	}
	defer release()
	leave, err := s.held.await(ctx)
	if err != nil {
		return failed(ctx, opFollow, err)
	}
	defer leave()
	o := translate.PlayOffer{Room: f.Room, Identity: f.Identity, MediaID: f.MediaID, Publisher: f.Publisher}
	token, err := s.signer.player(o)
	if err != nil {
		return &translate.Error{Kind: translate.ErrKindRefused, Op: opFollow, Err: err}
	}
	c, unbind, err := dialSignalling(ctx, s.base, token, f.SID)
	if err != nil {
		return err
	}
	defer c.drain()
	defer c.finish() // without a close frame LiveKit could end the player
	defer unbind()
	n := &playNegotiation{ctx: ctx, c: c, o: o, ways: s.ways}
	if err := n.follow(f); err != nil {
		return failed(ctx, opFollow, err)
	}
	return nil
}

// follow repeats the offer until no track is bound to its m-lines, subscribes to the tracks, and repeats it
// until they are bound. To an m-line that was answered with a track, LiveKit can bind another one only after
// an answer without.
func (n *playNegotiation) follow(f translate.Following) error {
	subscribed := false
	for id := uint32(time.Now().UnixMilli()); ; id++ { // above those of earlier connections
		if err := n.send(f.SDP, id); err != nil {
			return err
		}
		if err := n.await(func() bool { return n.answer != nil }); err != nil {
			return err
		}
		var answered sdp.SessionDescription
		if err := answered.UnmarshalString(n.answer.GetSdp()); err != nil {
			return err
		}
		bound := boundTracks(&answered)
		if subscribed && boundAll(bound, f.Tracks) {
			return nil
		}
		if !subscribed && len(bound) == 0 {
			if err := n.request(f.Tracks); err != nil {
				return err
			}
			subscribed = true
		}
		select {
		case <-time.After(followPause):
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
}
