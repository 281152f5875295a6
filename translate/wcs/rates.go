package wcs

// VideoFigures are the video figures of inboundVideoRate and outboundVideoRate. A figure that the source
// cannot provide is 0.
type VideoFigures struct {
	// Rate is the payload of the last second in bit/s, without RTP headers and padding. Clients compare it
	// with their own getStats figures as it is.
	Rate int64
	// FPS is the number of frames in the last second.
	FPS int
	// NACK and PLI count requests, Lost counts packets, since the start of the stream.
	NACK, PLI, Lost int
	// Width and Height are the size of the last picture in pixels; 0 while unknown.
	Width, Height int
}

// VideoRate notifies a publisher of the rate at which its video arrives, and a player of the rate at which it
// is sent. Clients need it once a second, and only after the command that started the stream.
type VideoRate struct {
	MediaSessionID string
	Published      bool // the client is the publisher
	Figures        VideoFigures
}

// Frame returns inboundVideoRate for a publisher: inbound from the server's point of view.
func (r VideoRate) Frame() []byte {
	name := NoteOutboundVideoRate
	if r.Published {
		name = NoteInboundVideoRate
	}
	return encode(name, struct {
		MediaSessionID string `json:"mediaSessionId"`
		VideoRate      int64  `json:"videoRate"`
		FPS            int    `json:"fps"`
		NACK           int    `json:"nack"`
		PLI            int    `json:"pli"`
		LostPackets    int    `json:"lostPackets"`
		Width          int    `json:"width"`
		Height         int    `json:"height"`
	}{r.MediaSessionID, r.Figures.Rate, r.Figures.FPS, r.Figures.NACK, r.Figures.PLI, r.Figures.Lost, r.Figures.Width, r.Figures.Height})
}
