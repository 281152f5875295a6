package translate

// ProbeTarget names the participant to measure, and the identity under which the probe joins the room.
type ProbeTarget struct {
	Room      RoomName
	Identity  Identity // of the hidden participant that measures: RoleProbe, unique per probe
	Publisher Identity
	// OnData receives all data messages that participants send to the room, in order; nil: none are received.
	// While it blocks, later messages wait.
	OnData func(Data)
	// Idle reports whether there is nothing to measure at the moment. It is called once a second; while it
	// returns true, only data is received. nil: never idle.
	Idle func() bool
}

// Data is a data message that was sent to a room.
type Data struct {
	Sender  Identity // empty if sent through LiveKit's API
	Topic   string
	Payload []byte
}

// VideoFigures are the measurements of a publisher's video in one second, and totals since the measuring
// began. A figure that the source cannot provide is 0 (docs/rates-and-snapshots.md).
type VideoFigures struct {
	// Rate is the payload received in that second in bit/s, without RTP headers and padding, as getStats
	// counts bytesSent.
	Rate int64
	FPS  int // frames whose first packet arrived in that second
	// NACK and PLI are totals: requests for lost packets and for key frames.
	NACK, PLI int
	Lost      int // total of packets that never arrived; late packets are not lost
	// Width and Height are the size of the latest key frame, in pixels. They are 0 before the first, and for
	// rare forms of headers that are not parsed.
	Width, Height int
	// MediaBytes is the total payload of audio and video until the end of that second. While it does not
	// grow, the publisher sends nothing.
	MediaBytes uint64
}
