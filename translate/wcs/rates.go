package wcs

// VideoFigures is what inboundVideoRate and outboundVideoRate say of the video of one stream. A figure that its source cannot
// know is 0.
type VideoFigures struct {
	// Rate is the payload of the last second in bit/s, without RTP headers and padding: clients compare it with what their
	// own getStats counts, and divide by nothing (protocol.md §3.10).
	Rate int64
	// FPS is frames of the last second.
	FPS int
	// NACK and PLI are requests, Lost packets, since the start of the stream.
	NACK, PLI, Lost int
	// Width and Height are those of the last picture in pixels; 0 while it is not known.
	Width, Height int
}

// VideoRate tells a publisher at what rate its video arrives, a player at what rate it is sent (protocol.md §3.10). Clients
// need it once a second, and only after the command that started the stream.
type VideoRate struct {
	MediaSessionID string
	Published      bool // the client is the publisher
	Figures        VideoFigures
}

// Frame is inboundVideoRate for a publisher: inbound is meant as the server sees it.
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
