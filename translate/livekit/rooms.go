package livekit

import (
	"context"
	"net/http"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"wcsgateway/translate"
)

// Remove ends a participant. One that is not there, or a room that is not, is no error.
func (s *SFU) Remove(ctx context.Context, room translate.RoomName, id translate.Identity) (err error) {
	defer s.done(OpRemove, time.Now(), room, id, &err)
	call, err := s.admin(ctx, OpRemove, room)
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
	if err = rpcFailed(ctx, OpRemove, err); isKind(err, translate.ErrKindNotFound) {
		return nil
	}
	return err
}

// Participants lists a room, hidden participants too, whether their media is up or not; a room that does
// not exist is empty. It reads what LiveKit's nodes have stored, and that is not always what is so:
//   - with Redis a publisher may stay without its tracks for good (8 of 40 in a test), LiveKit having stored an older
//     state of it after the newer one;
//   - a track keeps the size, mostly 0, that it had when its participant was last stored;
//   - the participants of a dead node are listed, active, for ever.
//
// Whoever needs to know asks for the one Participant.
func (s *SFU) Participants(ctx context.Context, room translate.RoomName) (list []translate.Participant, err error) {
	defer s.done(OpParticipants, time.Now(), room, "", &err)
	call, err := s.admin(ctx, OpParticipants, room)
	if err != nil {
		return nil, err
	}
	res, err := s.rooms.ListParticipants(call, &lkproto.ListParticipantsRequest{Room: string(room)})
	if err != nil {
		if err = rpcFailed(ctx, OpParticipants, err); isKind(err, translate.ErrKindNotFound) {
			return nil, nil
		}
		return nil, err
	}
	for _, p := range res.GetParticipants() {
		list = append(list, participant(p))
	}
	return list, nil
}

// Participant asks the node that hosts the participant, and gives what is so now. One that is not there
// is ErrKindNotFound, after 1 ms; a dead node is ErrKindUnavailable, after 3 s.
func (s *SFU) Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (p translate.Participant, err error) {
	defer s.done(OpParticipant, time.Now(), room, id, &err)
	call, err := s.admin(ctx, OpParticipant, room)
	if err != nil {
		return translate.Participant{}, err
	}
	// An update that changes nothing: LiveKit's GetParticipant reads the store, too.
	info, err := s.rooms.UpdateParticipant(call, &lkproto.UpdateParticipantRequest{
		Room:     string(room),
		Identity: string(id),
	})
	if err != nil {
		return translate.Participant{}, rpcFailed(ctx, OpParticipant, err)
	}
	return participant(info), nil
}

// admin gives a call of RoomService a token for its room. The SDK's client would make one that is good for six hours.
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

// track converts a track. Kind is empty for what is neither audio nor video.
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
