package picture

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
	// endWait is how long a decoder that was killed may keep its pipes open.
	endWait  = 500 * time.Millisecond
	maxFault = 500 // bytes of what ffmpeg says that are kept
)

// ffmpeg decodes with the external program: the frame goes in by its standard input, the PNG comes out by its standard
// output. It reads and writes nothing else.
func (d Decoder) ffmpeg(ctx context.Context, codec, format string, frame []byte) ([]byte, error) {
	if d.FFmpeg == "" {
		return nil, &NoDecoderError{Codec: codec}
	}
	cmd := exec.CommandContext(ctx, d.FFmpeg,
		"-hide_banner", "-loglevel", "error", "-protocol_whitelist", "pipe", "-max_pixels", strconv.Itoa(d.MaxPixels), "-threads", "1",
		"-f", format, "-i", "pipe:0", "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-compression_level", "1", "pipe:1")
	cmd.Env = []string{} // nothing of ours, of which some is secret
	cmd.Dir = "/"
	// A group of its own: what it may have started ends with it.
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

// checked looks at what came from outside before anybody is given it.
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

// ivf puts a frame into the simplest of containers; ffmpeg takes the size from the frame.
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

// head keeps the first bytes of what is written.
type head struct {
	buf bytes.Buffer
	max int
}

// Write takes everything.
func (t *head) Write(p []byte) (int, error) {
	t.buf.Write(p[:min(len(p), t.max-t.buf.Len())])
	return len(p), nil
}

// String is what was kept, on one line.
func (t *head) String() string { return strings.Join(strings.Fields(t.buf.String()), " ") }
