package livekit

import (
	"strings"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// endReason maps LiveKit's reason. Reasons of later versions, and those that do not apply to the gateway's
// participants (SIP, agents), keep their names for the log.
func endReason(r lkproto.DisconnectReason) translate.EndReason {
	switch r {
	case lkproto.DisconnectReason_CLIENT_INITIATED:
		return translate.EndClient
	case lkproto.DisconnectReason_DUPLICATE_IDENTITY:
		return translate.EndReplaced
	case lkproto.DisconnectReason_SERVER_SHUTDOWN,
		lkproto.DisconnectReason_MIGRATION: // a WHIP participant cannot follow (docs/livekit-notes.md#nodes)
		return translate.EndShutdown
	case lkproto.DisconnectReason_PARTICIPANT_REMOVED:
		return translate.EndRemoved
	case lkproto.DisconnectReason_ROOM_DELETED, lkproto.DisconnectReason_ROOM_CLOSED:
		return translate.EndRoomClosed
	case lkproto.DisconnectReason_JOIN_FAILURE, lkproto.DisconnectReason_CONNECTION_TIMEOUT,
		lkproto.DisconnectReason_SIGNAL_CLOSE: // a native publisher lost its connection
		return translate.EndTimeout
	case lkproto.DisconnectReason_MEDIA_FAILURE:
		return translate.EndMedia
	case lkproto.DisconnectReason_UNKNOWN_REASON:
		return translate.EndUnknown
	default:
		return translate.EndReason(strings.ToLower(r.String()))
	}
}
