package snapshot

import (
	"bytes"
	"fmt"
	"image"

	"golang.org/x/image/vp8"
)

func (d Decoder) vp8(frame []byte) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil { // in the decoder: publishers send any frame they like
			out, err = nil, fmt.Errorf("%w: %v", ErrDecode, v)
		}
	}()
	decoder := vp8.NewDecoder()
	decoder.Init(bytes.NewReader(frame), len(frame))
	header, err := decoder.DecodeFrameHeader()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	if !header.KeyFrame {
		return nil, fmt.Errorf("%w: no key frame", ErrDecode)
	}
	if err := d.checkSize(header.Width, header.Height); err != nil {
		return nil, err
	}
	img, err := decoder.DecodeFrame()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return d.encode(rgb(img))
}

// rgb converts the colours of video: ITU-R BT.601 with 16 for black and 235 for white (RFC 6386 §9.2). Go's
// own conversion is that of JPEG with its range of 0 to 255, in which black would become grey.
func rgb(img *image.YCbCr) *image.RGBA {
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		row := out.Pix[y*out.Stride:]
		for x := range b.Dx() {
			yi, ci := img.YOffset(b.Min.X+x, b.Min.Y+y), img.COffset(b.Min.X+x, b.Min.Y+y)
			// Fixed point, 8 bits: 298 is 255/219.
			luma := 298*(int32(img.Y[yi])-16) + 128
			cb, cr := int32(img.Cb[ci])-128, int32(img.Cr[ci])-128
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0] = clamp((luma + 409*cr) >> 8)
			p[1] = clamp((luma - 100*cb - 208*cr) >> 8)
			p[2] = clamp((luma + 516*cb) >> 8)
			p[3] = 255
		}
	}
	return out
}

func clamp(v int32) uint8 { return uint8(max(0, min(255, v))) }
