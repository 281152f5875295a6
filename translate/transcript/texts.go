package transcript

import "wcsgateway/translate/wcs"

// providers are the media providers of the protocol.
var providers = []string{wcs.ProviderWebRTC, "MSE", "WSPlayer", "Flash"}

// texts are the texts of the protocol that a transcript contains, by member. No text of a client, an
// application or a backend is among them.
var texts = map[string][]string{
	"apiMethod":     {"ConnectionStatusEvent", "StreamStatusEvent", "DataStatusEvent", "ErrorEvent", "CallStatusEvent"},
	"command":       {wcs.DebugStart, wcs.DebugStop},
	"mediaProvider": providers,
	"transport":     {"UDP", "TCP"},
	"mediaType":     {"publish", "play"},
	"status": {
		"NEW", "PENDING", "PUBLISHING", "PLAYING", "PAUSED", "UNPUBLISHED", "STOPPED", "FAILED", "PLAYBACK_PROBLEM", "RESIZE",
		"SNAPSHOT_COMPLETE", "NOT_ENOUGH_BANDWIDTH", "ESTABLISHED", "DISCONNECTED", "ACCEPTED", "STARTED", "RING", "RING_MEDIA", "HOLD",
		"FINISH", "BUSY", "SESSION_PROGRESS", "TRYING", "REGISTERED", "true", "false",
	},
	"type": {
		"audioMuted", "audioUnmuted", "videoMuted", "videoUnmuted", "data", "resize", "snapshotCompleted", "snapshotFailed",
		"notEnoughBandwidth", "RFC2833", "INFO", "INFO_RELAY",
	},
	"info": {
		wcs.InfoFailedByICETimeout, wcs.InfoFailedByKeepAlive, wcs.InfoFailedByRTMPWriterError, wcs.InfoFailedByRTPActivity,
		wcs.InfoStoppedBySessionDisconnect, wcs.InfoStoppedByRESTTerminate, wcs.InfoStoppedByPublisherStop, wcs.InfoStoppedByUser,
		wcs.InfoFailedByError, wcs.InfoFailedToAddStreamToProxy, wcs.InfoPublishStreamIsNotReady, wcs.InfoStreamNotFound,
		wcs.InfoSessionDoesNotExist, wcs.InfoStreamNameAlreadyInUse, wcs.InfoMediaSessionIDNull, wcs.InfoMediaSessionIDAlreadyInUse,
		wcs.InfoSessionNotReady, wcs.InfoStreamFailed, wcs.InfoNoCommonCodecs, wcs.InfoRequestedStreamShutdown,
		wcs.InfoTerminatedByKeepAlive, wcs.InfoRestrictedAccess,
		"Failed by ICE error", "Failed by DTLS error", "Failed by DTLS fingerprint error", "File not found", "CDN stream not found",
		"Transcoding required, but disabled", "No available transcoders", "Agent servicing origin stream is shutting down",
	},
}

// Codecs, kinds of m-lines and attributes of session descriptions; others are NameOther.
var (
	sdpKinds  = []string{"audio", "video", "application"}
	sdpCodecs = []string{
		"opus", "red", "PCMU", "PCMA", "G722", "G729", "CN", "ISAC", "iLBC", "speex", "mpeg4-generic", "telephone-event",
		"VP8", "VP9", "H264", "H265", "AV1", "MPV", "rtx", "ulpfec", "flexfec-03",
	}
	sdpDirections = []string{"sendrecv", "sendonly", "recvonly", "inactive"}
	sdpAttributes = []string{
		"bundle-only", "candidate", "connection", "crypto", "cvo", "end-of-candidates", "extmap", "extmap-allow-mixed", "fingerprint",
		"fmtp", "framerate", "group", "ice-lite", "ice-options", "ice-pwd", "ice-ufrag", "identity", "imageattr", "max-message-size",
		"maxptime", "mid", "msid", "msid-semantic", "ptime", "rid", "rtcp", "rtcp-fb", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize",
		"rtpmap", "sctp-port", "sctpmap", "setup", "simulcast", "ssrc", "ssrc-group", "tool", "x-google-flag",
	}
)
