package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
)

// Errors of PNG, besides NoDecoderError.
var (
	// ErrCodec: pictures of this codec are not supported.
	ErrCodec = errors.New("unknown codec")
	// ErrTooBig: the picture or its PNG is larger than allowed.
	ErrTooBig = errors.New("picture is too big")
	// ErrDecode: the frame could not be decoded.
	ErrDecode = errors.New("frame cannot be decoded")
)

// NoDecoderError is the error for a codec that needs ffmpeg, if there is none.
type NoDecoderError struct {
	Codec string
	Err   error // why ffmpeg could not be started; nil if none is configured
}

func (e *NoDecoderError) Error() string {
	text := "codec needs an external decoder: " + e.Codec
	if e.Err == nil {
		return text
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *NoDecoderError) Unwrap() error { return e.Err }

// Decoder makes PNGs of key frames: of VP8 itself, of other codecs with ffmpeg. It is safe for concurrent
// use.
type Decoder struct {
	// FFmpeg is the path of the program; empty if there is none.
	FFmpeg string
	// MaxPixels limits width × height, MaxBytes the PNG.
	MaxPixels, MaxBytes int
}

// PNG decodes a key frame in the form of translate.KeyFrame; the mime type names its codec, in any case. The
// deadline of ctx ends the external decoder. Without one, the decoder's run time is not limited.
func (d Decoder) PNG(ctx context.Context, mime string, frame []byte) ([]byte, error) {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return d.vp8(frame)
	case "video/h264":
		return d.ffmpeg(ctx, "H264", "h264", frame)
	case "video/vp9":
		return d.ffmpeg(ctx, "VP9", "ivf", ivf("VP90", frame))
	case "video/av1":
		return d.ffmpeg(ctx, "AV1", "ivf", ivf("AV01", frame))
	}
	return nil, fmt.Errorf("%w: %s", ErrCodec, mime)
}

func (d Decoder) checkSize(w, h int) error {
	if w*h > d.MaxPixels {
		return fmt.Errorf("%w: %d × %d", ErrTooBig, w, h)
	}
	return nil
}

// encode prefers speed to size: best compression takes several times as long.
func (d Decoder) encode(img image.Image) ([]byte, error) {
	out := &bounded{max: d.MaxBytes}
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(out, img); err != nil {
		return nil, err
	}
	return out.buf.Bytes(), nil
}

// bounded is a buffer of at most max bytes.
type bounded struct {
	buf  bytes.Buffer
	max  int
	full bool // more was written
}

// Write stores all of p or fails with ErrTooBig.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.full = true
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooBig, b.max)
	}
	return b.buf.Write(p)
}
