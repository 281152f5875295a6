package translate

import "errors"

// KeyFrame is a frame of a publisher's video that decodes without other frames.
type KeyFrame struct {
	Mime string // LiveKit's mime type: "video/VP8", …
	// Data is the frame in the form that the codec's decoders take: for VP8 and VP9 the frame, for H264 its
	// NAL units with start codes (Annex B), for AV1 its OBUs with their sizes.
	Data []byte
}

// Reasons why a publisher has no picture. Both are wrapped in an *Error of ErrKindRefused.
var (
	ErrNoVideo      = errors.New("publisher has no video")
	ErrPictureCodec = errors.New("no pictures can be taken of this codec")
)
