package translate

import "errors"

// KeyFrame is one picture of a publisher's video that can be decoded by itself.
type KeyFrame struct {
	Mime string // as LiveKit tells it: "video/VP8", …
	// Data is the frame as the codec's decoders take it: of VP8 and VP9 the frame, of H264 its NAL units behind start codes
	// (Annex B), of AV1 its OBUs with their sizes.
	Data []byte
}

// Why there is no picture of a publisher. Both are wrapped in an *Error of ErrKindRefused.
var (
	ErrNoVideo      = errors.New("publisher has no video")
	ErrPictureCodec = errors.New("no pictures can be taken of this codec")
)
