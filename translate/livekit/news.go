package livekit

import (
	"context"
	"strconv"
	"time"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// Attributes of a publisher's participant that tell native clients what it has muted: "true" or "false". AttributeMutes counts the changes.
const (
	AttributeAudioMuted = "wcs.audioMuted"
	AttributeVideoMuted = "wcs.videoMuted"
	AttributeMutes      = "wcs.mutes"
)

// DataTopic is the topic of the data messages that a publisher's stream data becomes. They come from the server: LiveKit
// gives them no participant.
const DataTopic = "wcs"

// Operations, for Deps.Observe.
const (
	OpSetMutes  = "set attributes"
	OpMuteTrack = "mute track"
	OpSendData  = "send data"
)

// SetMutes publishes what a participant has muted as its attributes. Its other attributes stay as they are.
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

// MuteTrack has LiveKit stop, or go on, forwarding a track. It refuses the latter (ErrKindRefused) unless its
// room.enable_remote_unmute is set.
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

// SendData sends data to everybody in a room, reliably and in the order of the calls, with DataTopic.
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

// mutes reads a participant's attributes. Those of a participant that has muted nothing yet, or is not the gateway's, are not there.
func mutes(attributes map[string]string) translate.Mutes {
	changes, err := strconv.Atoi(attributes[AttributeMutes])
	if err != nil {
		return translate.Mutes{}
	}
	return translate.Mutes{
		Audio: attributes[AttributeAudioMuted] == "true", Video: attributes[AttributeVideoMuted] == "true", Changes: changes,
	}
}
