package translate

import "wcsgateway/translate/wcs"

// InfoForEnd is the info text of the FAILED status for a client whose participant LiveKit let go (protocol.md §8).
// wasUp tells whether its ICE and DTLS had been up.
//
//   - EndTimeout is LiveKit's PeerConnectionDisconnected: the media path was lost, which in WCS is the ICE keep-alive, or
//     never came.
//   - EndMedia is its MEDIA_FAILURE, "media stream failure or media timeout". livekit-server 1.13 gives it to nobody but SIP
//     participants; DTLS that fails is a timeout to it. So the text is that of missing media.
//   - EndShutdown: the node stops; nothing is wrong with the client or its network.
//   - EndRemoved and EndRoomClosed: somebody ended it through LiveKit's API.
//   - A duplicate identity, a leave by the client, which WCS clients have no way to ask of LiveKit, and a reason not
//     known here say nothing that a client could use.
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
	case EndReplaced, EndClient, EndUnknown:
	}
	return wcs.InfoFailedByError
}
