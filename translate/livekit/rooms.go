package livekit

import (
	"context"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"wcsgateway/translate"
)

// Remove ends a participant. One that is not there, or a room that is not, is no error.
func (s *SFU) Remove(ctx context.Context, room translate.RoomName, id translate.Identity) (err error) {
	defer s.done(OpRemove, time.Now(), room, id, &err)
	_, err = s.rooms.RemoveParticipant(singleAttempt(ctx), &lkproto.RoomParticipantIdentity{
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
// not exist is empty. It reads LiveKit's store: see Participant for what that does not show.
func (s *SFU) Participants(ctx context.Context, room translate.RoomName) (list []translate.Participant, err error) {
	defer s.done(OpParticipants, time.Now(), room, "", &err)
	res, err := s.rooms.ListParticipants(singleAttempt(ctx), &lkproto.ListParticipantsRequest{Room: string(room)})
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

// Participant asks the node that hosts the participant, and gives what is so now. Participants reads
// LiveKit's store, which shows the participants of a dead node for ever, and the size of a video only once
// something else about the participant changes. A participant that is not there is ErrKindNotFound; a dead
// node answers after 3 s with ErrKindUnavailable.
func (s *SFU) Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (p translate.Participant, err error) {
	defer s.done(OpParticipant, time.Now(), room, id, &err)
	// An update that changes nothing: LiveKit's GetParticipant reads the store, too.
	info, err := s.rooms.UpdateParticipant(singleAttempt(ctx), &lkproto.UpdateParticipantRequest{
		Room:     string(room),
		Identity: string(id),
	})
	if err != nil {
		return translate.Participant{}, rpcFailed(ctx, OpParticipant, err)
	}
	return participant(info), nil
}

// singleAttempt keeps the SDK from detaching the deadline (and a goroutine with it) for its failover
// between regions of LiveKit Cloud.
func singleAttempt(ctx context.Context) context.Context {
	return lksdk.WithFailover(ctx, false)
}

func participant(p *lkproto.ParticipantInfo) translate.Participant {
	out := translate.Participant{
		Identity: translate.Identity(p.GetIdentity()),
		SID:      p.GetSid(),
		Active:   p.GetState() == lkproto.ParticipantInfo_ACTIVE,
		JoinedAt: joinedAt(p),
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
	}
	return out
}
