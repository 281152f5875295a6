package livekit

import (
	"context"
	"strconv"
	"time"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// Attributes of a publisher's participant that announce its mute state to native clients: "true" or "false".
// attributeMutes counts the changes.
const (
	attributeAudioMuted = "wcs.audioMuted"
	attributeVideoMuted = "wcs.videoMuted"
	attributeMutes      = "wcs.mutes"
)

// dataTopic is the topic of a publisher's stream data as LiveKit data messages. They come from the server, so
// LiveKit names no sender.
const dataTopic = "wcs"

// Operations, for Deps.Observe.
const (
	opSetMutes  = "set attributes"
	opMuteTrack = "mute track"
	opSendData  = "send data"
)

// SetMutes announces a participant's mute state in its attributes. Its other attributes stay.
func (s *SFU) SetMutes(ctx context.Context, room translate.RoomName, id translate.Identity, m translate.Mutes) (err error) {
	defer s.done(opSetMutes, time.Now(), room, id, &err)
	_, err = call(ctx, s, opSetMutes, adminOf(room), s.rooms.UpdateParticipant, &lkproto.UpdateParticipantRequest{
		Room:     string(room),
		Identity: string(id),
		Attributes: map[string]string{
			attributeAudioMuted: strconv.FormatBool(m.Audio),
			attributeVideoMuted: strconv.FormatBool(m.Video),
			attributeMutes:      strconv.Itoa(m.Changes),
		},
	})
	return err
}

// MuteTrack makes LiveKit stop or resume forwarding a track. LiveKit refuses to resume (ErrKindRefused)
// unless its room.enable_remote_unmute is set.
func (s *SFU) MuteTrack(ctx context.Context, room translate.RoomName, id translate.Identity, trackSID string, muted bool) (err error) {
	defer s.done(opMuteTrack, time.Now(), room, id, &err)
	_, err = call(ctx, s, opMuteTrack, adminOf(room), s.rooms.MutePublishedTrack, &lkproto.MuteRoomTrackRequest{
		Room: string(room), Identity: string(id), TrackSid: trackSID, Muted: muted,
	})
	return err
}

// SendData sends data to all participants of a room, reliably and in the order of the calls, with dataTopic.
func (s *SFU) SendData(ctx context.Context, room translate.RoomName, data []byte) (err error) {
	defer s.done(opSendData, time.Now(), room, "", &err)
	topic := dataTopic
	_, err = call(ctx, s, opSendData, adminOf(room), s.rooms.SendData, &lkproto.SendDataRequest{
		Room: string(room), Data: data, Kind: lkproto.DataPacket_RELIABLE, Topic: &topic,
	})
	return err
}

// mutes reads the mute state from a participant's attributes. A participant that muted nothing yet, or is not
// the gateway's, has none.
func mutes(attributes map[string]string) translate.Mutes {
	changes, err := strconv.Atoi(attributes[attributeMutes])
	if err != nil {
		return translate.Mutes{}
	}
	return translate.Mutes{
		Audio: attributes[attributeAudioMuted] == "true", Video: attributes[attributeVideoMuted] == "true", Changes: changes,
	}
}
