package translate

// ProbeTarget tells whom to measure, and as whom to join the room for it.
type ProbeTarget struct {
	Room      RoomName
	Identity  Identity // of the hidden participant that measures: RoleProbe, and new for each probe
	Publisher Identity
	// OnData is called for each data message in the room, one after the other; nil: data is not received.
	OnData func(Data)
	// Idle is called once a second and reports whether nothing is to be measured now: then only data is received. nil: never.
	Idle func() bool
}

// Data is a data message that was sent to a room.
type Data struct {
	Sender  Identity // empty for what was sent through LiveKit's API
	Topic   string
	Payload []byte
}

// VideoFigures are what was measured of a publisher's video in one second, and what has added up since the measuring
// began. A figure that a source cannot know is 0 (design.md §6).
type VideoFigures struct {
	// Rate is in bits per second: the payload of what came in that second, without RTP headers and padding, as getStats
	// counts bytesSent (protocol.md §3.10).
	Rate int64
	FPS  int // frames that began to come in that second
	// NACK and PLI have added up: requests for lost packets and for key frames.
	NACK, PLI int
	Lost      int // packets that never came, added up; one that is late is not lost
	// Width and Height are those of the latest key frame, in pixels; 0 until one came, and for codecs whose key frames are
	// not read (AV1, H265).
	Width, Height int
	// MediaBytes is the payload of audio and video together, added up to the end of that second: while it does not grow, the publisher is silent.
	MediaBytes uint64
}
