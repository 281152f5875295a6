package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image/png"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// endWait is the time until the pipes of a killed decoder are closed.
	endWait  = 500 * time.Millisecond
	maxFault = 500 // bytes of ffmpeg's messages in an error
)

// ffmpeg decodes with the external program, which reads the frame from its standard input and writes the PNG
// to its standard output. It has access to no other files.
func (d Decoder) ffmpeg(ctx context.Context, codec, format string, frame []byte) ([]byte, error) {
	if d.FFmpeg == "" {
		return nil, &NoDecoderError{Codec: codec}
	}
	cmd := exec.CommandContext(ctx, d.FFmpeg,
		"-hide_banner", "-loglevel", "error", "-protocol_whitelist", "pipe", "-max_pixels", strconv.Itoa(d.MaxPixels), "-threads", "1",
		"-f", format, "-i", "pipe:0", "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-compression_level", "1", "pipe:1")
	cmd.Env = []string{} // ours may contain secrets
	cmd.Dir = "/"
	// A process group of its own, so that its child processes end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = endWait
	out, fault := &bounded{max: d.MaxBytes}, &head{max: maxFault}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(frame), out, fault
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("ffmpeg: %w", ctx.Err())
	case cmd.Process == nil:
		return nil, &NoDecoderError{Codec: codec, Err: err}
	case out.full:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooBig, d.MaxBytes)
	case err != nil || out.buf.Len() == 0:
		return nil, fmt.Errorf("%w: ffmpeg: %v: %s", ErrDecode, err, fault)
	}
	return d.checked(out.buf.Bytes())
}

// checked validates the PNG of the external program.
func (d Decoder) checked(picture []byte) ([]byte, error) {
	c, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	if err := d.checkSize(c.Width, c.Height); err != nil {
		return nil, err
	}
	return picture, nil
}

// ivf wraps a frame in an IVF container. It has no size: ffmpeg takes that from the frame.
func ivf(fourCC string, frame []byte) []byte {
	const fileHeader, frameHeader = 32, 12
	b := make([]byte, fileHeader+frameHeader, fileHeader+frameHeader+len(frame))
	copy(b, "DKIF")
	binary.LittleEndian.PutUint16(b[6:], fileHeader)
	copy(b[8:], fourCC)
	binary.LittleEndian.PutUint32(b[16:], 30) // frames a second
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint32(b[24:], 1) // frames
	binary.LittleEndian.PutUint32(b[fileHeader:], uint32(len(frame)))
	return append(b, frame...)
}

// head is a writer that keeps the first max bytes.
type head struct {
	buf bytes.Buffer
	max int
}

// Write never fails.
func (t *head) Write(p []byte) (int, error) {
	t.buf.Write(p[:min(len(p), t.max-t.buf.Len())])
	return len(p), nil
}

// String returns the kept bytes on one line.
func (t *head) String() string { return strings.Join(strings.Fields(t.buf.String()), " ") }
