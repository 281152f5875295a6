package wcs

// Info texts of stream statuses: those of the SDK's STREAM_STATUS_INFO that the gateway sends
// (docs/wcs-protocol.md#texts). Clients compare them as text, so they are exactly the vendor's.
const (
	InfoFailedByICETimeout         = "Failed by ICE timeout"
	InfoFailedByKeepAlive          = "Failed by ICE keep alive"
	InfoFailedByRTMPWriterError    = "Failed by RTMP writer error"
	InfoFailedByRTPActivity        = "Failed by RTP activity"
	InfoStoppedBySessionDisconnect = "Stopped by session disconnect"
	InfoStoppedByRESTTerminate     = "Stopped by rest /terminate"
	InfoStoppedByPublisherStop     = "Stopped by publisher stop"
	InfoStoppedByUser              = "Stopped by user"
	InfoFailedByError              = "Failed by error"
	InfoFailedToAddStreamToProxy   = "Failed to add stream to proxy"
	InfoPublishStreamIsNotReady    = "Publish stream is not ready"
	InfoStreamNotFound             = "Stream not found"
	InfoSessionDoesNotExist        = "Session does not exist"
	InfoStreamNameAlreadyInUse     = "Stream name is already in use"
	InfoMediaSessionIDNull         = "MediaSessionId is null"
	InfoMediaSessionIDAlreadyInUse = "MediaSessionId is already in use"
	InfoSessionNotReady            = "Session not ready"
	InfoStreamFailed               = "Stream failed"
	InfoNoCommonCodecs             = "No common codecs"
	InfoRequestedStreamShutdown    = "Requested stream shutdown"
	InfoTerminatedByKeepAlive      = "Terminated by keep-alive"
	InfoRestrictedAccess           = "Restricted access"
)
