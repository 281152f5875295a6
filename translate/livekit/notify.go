package livekit

import (
	"context"
	"strconv"
	"time"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// Attributes of a publisher's participant that announce its mute state to native clients: "true" or "false".
// AttributeMutes counts the changes.
const (
	AttributeAudioMuted = "wcs.audioMuted"
	AttributeVideoMuted = "wcs.videoMuted"
	AttributeMutes      = "wcs.mutes"
)

// DataTopic is the topic of a publisher's stream data as LiveKit data messages. They come from the server, so
// LiveKit names no sender.
const DataTopic = "wcs"

// Operations, for Deps.Observe.
const (
	OpSetMutes  = "set attributes"
	OpMuteTrack = "mute track"
	OpSendData  = "send data"
)

// SetMutes announces a participant's mute state in its attributes. Its other attributes stay.
func (s *SFU) SetMutes(ctx context.Context, room translate.RoomName, id translate.Identity, m translate.Mutes) (err error) {
	defer s.done(OpSetMutes, time.Now(), room, id, &err)
	call, err := s.admin(ctx, OpSetMutes, room)
	if err != nil {
		return err
	}
	_, err = s.rooms.UpdateParticipant(call, &lkproto.UpdateParticipantRequest{
		Room:     string(room),
		Identity: string(id),
		Attributes: map[string]string{
			AttributeAudioMuted: strconv.FormatBool(m.Audio),
			AttributeVideoMuted: strconv.FormatBool(m.Video),
			AttributeMutes:      strconv.Itoa(m.Changes),
		},
	})
	if err != nil {
		return rpcFailed(ctx, OpSetMutes, err)
	}
	return nil
}

// MuteTrack makes LiveKit stop or resume forwarding a track. LiveKit refuses to resume (ErrKindRefused)
// unless its room.enable_remote_unmute is set.
func (s *SFU) MuteTrack(ctx context.Context, room translate.RoomName, id translate.Identity, trackSID string, muted bool) (err error) {
	defer s.done(OpMuteTrack, time.Now(), room, id, &err)
	call, err := s.admin(ctx, OpMuteTrack, room)
	if err != nil {
		return err
	}
	_, err = s.rooms.MutePublishedTrack(call, &lkproto.MuteRoomTrackRequest{
		Room: string(room), Identity: string(id), TrackSid: trackSID, Muted: muted,
	})
	if err != nil {
		return rpcFailed(ctx, OpMuteTrack, err)
	}
	return nil
}

// SendData sends data to all participants of a room, reliably and in the order of the calls, with DataTopic.
func (s *SFU) SendData(ctx context.Context, room translate.RoomName, data []byte) (err error) {
	defer s.done(OpSendData, time.Now(), room, "", &err)
	call, err := s.admin(ctx, OpSendData, room)
	if err != nil {
		return err
	}
	topic := DataTopic
	_, err = s.rooms.SendData(call, &lkproto.SendDataRequest{
		Room: string(room), Data: data, Kind: lkproto.DataPacket_RELIABLE, Topic: &topic,
	})
	if err != nil {
		return rpcFailed(ctx, OpSendData, err)
	}
	return nil
}

// mutes reads the mute state from a participant's attributes. A participant that muted nothing yet, or is not
// the gateway's, has none.
func mutes(attributes map[string]string) translate.Mutes {
	changes, err := strconv.Atoi(attributes[AttributeMutes])
	if err != nil {
		return translate.Mutes{}
	}
	return translate.Mutes{
		Audio: attributes[AttributeAudioMuted] == "true", Video: attributes[AttributeVideoMuted] == "true", Changes: changes,
	}
}
