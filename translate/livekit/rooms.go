package livekit

import (
	"context"
	"net/http"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"wcsgateway/translate"
)

// Remove removes a participant. A missing participant or room is not an error.
func (s *SFU) Remove(ctx context.Context, room translate.RoomName, id translate.Identity) (err error) {
	defer s.done(opRemove, time.Now(), room, id, &err)
	_, err = call(ctx, s, opRemove, adminOf(room), s.rooms.RemoveParticipant, &lkproto.RoomParticipantIdentity{
		Room: string(room), Identity: string(id),
	})
	return unlessMissing(err)
}

// Participants lists a room, including hidden participants, whether their media is up or not. A room that
// does not exist is empty. The list comes from LiveKit's store, which is not always current
// (docs/livekit-notes.md#asking):
//   - with Redis a publisher can stay without its tracks for good (8 of 40 in a test), because LiveKit stored
//     an older state after the newer one;
//   - a track keeps the size, mostly 0, that it had when its participant was last stored;
//   - the participants of a dead node stay listed as active indefinitely.
//
// Use Participant for the current state.
func (s *SFU) Participants(ctx context.Context, room translate.RoomName) (list []translate.Participant, err error) {
	defer s.done(opParticipants, time.Now(), room, "", &err)
	res, err := call(ctx, s, opParticipants, adminOf(room), s.rooms.ListParticipants, &lkproto.ListParticipantsRequest{Room: string(room)})
	if err != nil {
		return nil, unlessMissing(err)
	}
	for _, p := range res.GetParticipants() {
		list = append(list, participant(p))
	}
	return list, nil
}

// Participant asks the node that hosts the participant, and returns the current state. A missing participant
// is ErrKindNotFound, after 1 ms; a dead node is ErrKindUnavailable, after 3 s.
func (s *SFU) Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (p translate.Participant, err error) {
	defer s.done(opParticipant, time.Now(), room, id, &err)
	// This update changes nothing. LiveKit's GetParticipant reads the store as well, so it would not reach
	// the node.
	info, err := call(ctx, s, opParticipant, adminOf(room), s.rooms.UpdateParticipant, &lkproto.UpdateParticipantRequest{
		Room: string(room), Identity: string(id),
	})
	if err != nil {
		return translate.Participant{}, err
	}
	return participant(info), nil
}

// call makes a call of LiveKit's API with a token that has one grant; the SDK's client would make one that is
// valid for six hours. Errors are *translate.Error.
func call[Q, R any](ctx context.Context, s *SFU, op string, g *auth.VideoGrant, do func(context.Context, Q) (R, error), q Q) (r R, err error) {
	token, err := s.signer.service(g)
	authorized := ctx
	if err == nil {
		authorized, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}})
	}
	if err != nil {
		return r, &translate.Error{Kind: translate.ErrKindRefused, Op: op, Err: err}
	}
	if r, err = do(authorized, q); err != nil {
		err = rpcFailed(ctx, op, err)
	}
	return r, err
}

// adminOf is the grant for RoomService, restricted to one room.
func adminOf(room translate.RoomName) *auth.VideoGrant {
	return &auth.VideoGrant{RoomAdmin: true, Room: string(room)}
}

// unlessMissing returns err, or nil if LiveKit does not have the room or participant.
func unlessMissing(err error) error {
	if translate.KindOf(err) == translate.ErrKindNotFound {
		return nil
	}
	return err
}

func participant(p *lkproto.ParticipantInfo) translate.Participant {
	out := translate.Participant{
		Identity: translate.Identity(p.GetIdentity()),
		SID:      p.GetSid(),
		Active:   p.GetState() == lkproto.ParticipantInfo_ACTIVE,
		JoinedAt: joinedAt(p),
		Mutes:    mutes(p.GetAttributes()),
	}
	for _, t := range p.GetTracks() {
		if converted := track(t); converted.Kind != "" {
			out.Tracks = append(out.Tracks, converted)
		}
	}
	return out
}

func joinedAt(p *lkproto.ParticipantInfo) time.Time {
	switch {
	case p.GetJoinedAtMs() != 0:
		return time.UnixMilli(p.GetJoinedAtMs())
	case p.GetJoinedAt() != 0:
		return time.Unix(p.GetJoinedAt(), 0)
	}
	return time.Time{}
}

// track converts a track. Kind is empty if it is neither audio nor video.
func track(t *lkproto.TrackInfo) translate.Track {
	out := translate.Track{
		SID:    t.GetSid(),
		Name:   t.GetName(),
		Mime:   t.GetMimeType(),
		Width:  int(t.GetWidth()),
		Height: int(t.GetHeight()),
		Muted:  t.GetMuted(),
	}
	switch t.GetType() {
	case lkproto.TrackType_AUDIO:
		out.Kind = translate.Audio
	case lkproto.TrackType_VIDEO:
		out.Kind = translate.Video
	default: // data
	}
	return out
}
