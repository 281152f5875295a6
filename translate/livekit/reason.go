package livekit

import (
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// endReason maps LiveKit's reason. What a later LiveKit may add, and what cannot befall a participant of
// ours (SIP, agents), is EndUnknown: the participant is gone, and nothing more is claimed.
func endReason(r lkproto.DisconnectReason) translate.EndReason {
	switch r {
	case lkproto.DisconnectReason_CLIENT_INITIATED:
		return translate.EndClient
	case lkproto.DisconnectReason_DUPLICATE_IDENTITY:
		return translate.EndReplaced
	case lkproto.DisconnectReason_SERVER_SHUTDOWN,
		lkproto.DisconnectReason_MIGRATION: // a WHIP participant cannot follow (style.md §8): it is over
		return translate.EndShutdown
	case lkproto.DisconnectReason_PARTICIPANT_REMOVED:
		return translate.EndRemoved
	case lkproto.DisconnectReason_ROOM_DELETED, lkproto.DisconnectReason_ROOM_CLOSED:
		return translate.EndRoomClosed
	case lkproto.DisconnectReason_JOIN_FAILURE, lkproto.DisconnectReason_CONNECTION_TIMEOUT,
		lkproto.DisconnectReason_SIGNAL_CLOSE: // a native publisher's way to lose its connection
		return translate.EndTimeout
	case lkproto.DisconnectReason_MEDIA_FAILURE:
		return translate.EndMedia
	default:
		return translate.EndUnknown
	}
}
