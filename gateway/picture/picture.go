// Package picture makes a PNG of a key frame: of VP8 by itself, of other codecs with ffmpeg, if there is one. It knows nothing
// of WCS or LiveKit.
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
)

// Errors of PNG, to be tested with errors.Is.
var (
	// ErrNoDecoder: the codec needs ffmpeg, and there is none. The error is a *NoDecoderError.
	ErrNoDecoder = errors.New("codec needs an external decoder")
	// ErrCodec: the codec is none that pictures can be made of.
	ErrCodec = errors.New("unknown codec")
	// ErrTooBig: the picture or its PNG is larger than allowed.
	ErrTooBig = errors.New("picture is too big")
	// ErrDecode: the frame could not be decoded.
	ErrDecode = errors.New("frame cannot be decoded")
)

// NoDecoderError names the codec that there is no decoder for.
type NoDecoderError struct {
	Codec string
	Err   error // why ffmpeg could not be started; nil if none is configured
}

func (e *NoDecoderError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%v: %s", ErrNoDecoder, e.Codec)
	}
	return fmt.Sprintf("%v: %s: %v", ErrNoDecoder, e.Codec, e.Err)
}

// Is makes it an ErrNoDecoder.
func (e *NoDecoderError) Is(target error) bool { return target == ErrNoDecoder }

// Unwrap gives the cause.
func (e *NoDecoderError) Unwrap() error { return e.Err }

// Decoder makes pictures. It is safe for concurrent use.
type Decoder struct {
	// FFmpeg is the path of the program. Empty: there is none.
	FFmpeg string
	// MaxPixels bounds width × height, MaxBytes the PNG.
	MaxPixels, MaxBytes int
}

// PNG decodes a key frame of a codec, given as a mime type in any case, in the form of translate.KeyFrame. A deadline of
// ctx ends the external decoder; without one it may run for as long as it likes.
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

// encode trades size for time: at best compression a PNG takes several times as long.
func (d Decoder) encode(img image.Image) ([]byte, error) {
	out := &bounded{max: d.MaxBytes}
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(out, img); err != nil {
		return nil, err
	}
	return out.buf.Bytes(), nil
}

// bounded keeps what is written, up to max bytes.
type bounded struct {
	buf  bytes.Buffer
	max  int
	full bool // there was more
}

// Write fails with ErrTooBig rather than keep a part.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.full = true
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooBig, b.max)
	}
	return b.buf.Write(p)
}
