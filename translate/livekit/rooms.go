package livekit

import (
	"context"
	"net/http"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"wcsgateway/translate"
)

// Remove removes a participant. A missing participant or room is not an error.
func (s *SFU) Remove(ctx context.Context, room translate.RoomName, id translate.Identity) (err error) {
	defer s.done(opRemove, time.Now(), room, id, &err)
	call, err := s.admin(ctx, opRemove, room)
	if err != nil {
		return err
	}
	_, err = s.rooms.RemoveParticipant(call, &lkproto.RoomParticipantIdentity{
		Room:     string(room),
		Identity: string(id),
	})
	if err == nil {
		return nil
	}
	if err = rpcFailed(ctx, opRemove, err); isKind(err, translate.ErrKindNotFound) {
		return nil
	}
	return err
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
	call, err := s.admin(ctx, opParticipants, room)
	if err != nil {
		return nil, err
	}
	res, err := s.rooms.ListParticipants(call, &lkproto.ListParticipantsRequest{Room: string(room)})
	if err != nil {
		if err = rpcFailed(ctx, opParticipants, err); isKind(err, translate.ErrKindNotFound) {
			return nil, nil
		}
		return nil, err
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
	call, err := s.admin(ctx, opParticipant, room)
	if err != nil {
		return translate.Participant{}, err
	}
	// This update changes nothing. LiveKit's GetParticipant reads the store as well, so it would not reach
	// the node.
	info, err := s.rooms.UpdateParticipant(call, &lkproto.UpdateParticipantRequest{
		Room:     string(room),
		Identity: string(id),
	})
	if err != nil {
		return translate.Participant{}, rpcFailed(ctx, opParticipant, err)
	}
	return participant(info), nil
}

// admin adds a token for the room to a RoomService call. The SDK's client would make one that is valid for
// six hours.
func (s *SFU) admin(ctx context.Context, op string, room translate.RoomName) (context.Context, error) {
	token, err := s.signer.admin(room)
	if err == nil {
		ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}})
	}
	if err != nil {
		return nil, &translate.Error{Kind: translate.ErrKindRefused, Op: op, Err: err}
	}
	return ctx, nil
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
