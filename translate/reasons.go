package translate

import "wcsgateway/translate/wcs"

// InfoForEnd returns the info text of the FAILED status for a client whose participant LiveKit removed
// (docs/wcs-protocol.md#texts). wasUp reports whether its ICE and DTLS had been up.
//
//   - EndTimeout is LiveKit's PeerConnectionDisconnected: the media path was lost, which WCS calls the ICE
//     keep-alive, or was never established.
//   - EndMedia is its MEDIA_FAILURE, "media stream failure or media timeout". livekit-server 1.13 uses it for
//     SIP participants only; a failed DTLS handshake is a timeout. So the text is that of missing media.
//   - EndShutdown: the node stops. Neither the client nor its network is at fault.
//   - EndRemoved and EndRoomClosed: an operator or backend ended it through LiveKit's API.
//   - A duplicate identity, a leave by the client (WCS clients cannot request one from LiveKit), an absent
//     participant, and other reasons carry no information for a client.
func InfoForEnd(r EndReason, wasUp bool) string {
	switch r {
	case EndTimeout:
		if wasUp {
			return wcs.InfoFailedByKeepAlive
		}
		return wcs.InfoFailedByICETimeout
	case EndMedia:
		return wcs.InfoFailedByRTPActivity
	case EndShutdown:
		return wcs.InfoStreamFailed
	case EndRemoved, EndRoomClosed:
		return wcs.InfoRequestedStreamShutdown
	case EndReplaced, EndClient, EndAbsent, EndUnknown:
	}
	return wcs.InfoFailedByError
}
