package snapshot

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bars are the colours in the files of testdata, from left to right, 80 pixels each.
var bars = []color.RGBA{
	{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}, {0, 0, 0, 255}, {255, 255, 0, 255},
}

const (
	barWidth  = 80
	barHeight = 240
	tolerance = 12 // of 255
)

func limits() Decoder { return Decoder{MaxPixels: 1920 * 1080, MaxBytes: 4 << 20} }

func withFFmpeg(t *testing.T) Decoder {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("ffmpeg is missing (Debian package ffmpeg): %v", err)
	}
	d := limits()
	d.FFmpeg = path
	return d
}

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBars(t *testing.T, picture []byte) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if want := image.Pt(barWidth*len(bars), barHeight); img.Bounds().Size() != want {
		t.Fatalf("size %v, want %v", img.Bounds().Size(), want)
	}
	for i, want := range bars {
		at := image.Pt(barWidth*i+barWidth/2, barHeight/2)
		r, g, b, _ := img.At(at.X, at.Y).RGBA()
		got := color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
		if far(got.R, want.R) || far(got.G, want.G) || far(got.B, want.B) {
			t.Errorf("bar %d is %v, want %v", i, got, want)
		}
	}
}

func far(a, b uint8) bool { return int(a)-int(b) > tolerance || int(b)-int(a) > tolerance }

func TestVP8IsDecodedWithoutFFmpeg(t *testing.T) {
	got, err := limits().PNG(t.Context(), "video/vp8", testdata(t, "bars.vp8"))
	if err != nil {
		t.Fatal(err)
	}
	wantBars(t, got)
}

func TestFFmpegDecodesEachCodec(t *testing.T) {
	d := withFFmpeg(t)
	for mime, file := range map[string]string{"video/H264": "bars.h264", "video/VP9": "bars.vp9", "video/AV1": "bars.av1"} {
		t.Run(file, func(t *testing.T) {
			got, err := d.PNG(t.Context(), mime, testdata(t, file))
			if err != nil {
				t.Fatal(err)
			}
			wantBars(t, got)
		})
	}
}

func TestUndecodableFrameIsAnError(t *testing.T) {
	h264, vp8 := testdata(t, "bars.h264"), testdata(t, "bars.vp8")
	small, few := withFFmpeg(t), withFFmpeg(t)
	small.MaxPixels, few.MaxBytes = 480*240-1, 100
	for _, tt := range []struct {
		name    string
		decoder Decoder
		mime    string
		frame   []byte
		want    error
	}{
		{"unknown codec", withFFmpeg(t), "video/H265", h264, ErrCodec},
		{"many pixels of VP8", small, "video/VP8", vp8, ErrTooBig},
		{"many pixels of H264", small, "video/H264", h264, ErrDecode}, // ffmpeg reports no reason
		{"many bytes of VP8", few, "video/VP8", vp8, ErrTooBig},
		{"many bytes of H264", few, "video/H264", h264, ErrTooBig},
		{"empty VP8", limits(), "video/VP8", nil, ErrDecode},
		{"half a VP8", limits(), "video/VP8", vp8[:len(vp8)/2], ErrDecode},
		{"another frame than a key frame", limits(), "video/VP8", append([]byte{vp8[0] | 1}, vp8[1:]...), ErrDecode},
		{"empty H264", withFFmpeg(t), "video/H264", nil, ErrDecode},
		{"no H264", withFFmpeg(t), "video/H264", vp8, ErrDecode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.decoder.PNG(t.Context(), tt.mime, tt.frame)
			if !errors.Is(err, tt.want) || got != nil {
				t.Errorf("%d bytes, %v; want %v", len(got), err, tt.want)
			}
		})
	}
}

func TestCodecWithoutDecoderIsNamed(t *testing.T) {
	h264, absent := testdata(t, "bars.h264"), limits()
	absent.FFmpeg = filepath.Join(t.TempDir(), "ffmpeg")
	for _, d := range []Decoder{limits(), absent} {
		var none *NoDecoderError
		if got, err := d.PNG(t.Context(), "video/H264", h264); !errors.As(err, &none) || none.Codec != "H264" || got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

// The timeout kills a decoder that hangs, with its child processes. It gets nothing of the gateway's
// environment.
func TestHangingDecoderIsKilledWithItsChildren(t *testing.T) {
	t.Setenv("WCS_LIVEKIT_APISECRET", "a secret")
	dir := t.TempDir()
	program, note := filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "note")
	script := "#!/bin/sh\n/bin/sleep 600 &\n/usr/bin/env > " + note + "\necho \"child $!\" >> " + note + "\nwait\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d := limits()
	d.FFmpeg = program
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := d.PNG(ctx, "video/H264", []byte{0})
		done <- err
	}()
	child := 0
	await(t, "the decoder has started", func() bool {
		text, _ := os.ReadFile(note) // does not exist yet
		_, after, found := strings.Cut(string(text), "child ")
		if !found || !strings.HasSuffix(after, "\n") {
			return false
		}
		if strings.Contains(string(text), "secret") {
			t.Errorf("the decoder's environment: %s", text)
		}
		child, _ = strconv.Atoi(strings.TrimSpace(after))
		return true
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	await(t, "the decoder's child has ended", func() bool { return dead(child) })
}

// dead also reports true for a zombie.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-limit:
			t.Fatalf("timeout: %s", what)
		case <-tick.C:
		}
	}
}

// Frames are untrusted: no panic, and no picture larger than allowed.
func FuzzVP8(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "small.vp8"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	d := Decoder{MaxPixels: 1 << 13, MaxBytes: 1 << 16}
	f.Fuzz(func(t *testing.T, frame []byte) {
		picture, err := d.PNG(t.Context(), "video/VP8", frame)
		if err != nil {
			return
		}
		c, err := png.DecodeConfig(bytes.NewReader(picture))
		if err != nil || c.Width*c.Height > d.MaxPixels || len(picture) > d.MaxBytes {
			t.Errorf("%d bytes, %d × %d, %v", len(picture), c.Width, c.Height, err)
		}
	})
}

// BenchmarkPNG decodes ffmpeg's test picture at 1280 × 720.
func BenchmarkPNG(b *testing.B) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ mime, encoder, format string }{
		{"video/VP8", "libvpx", "ivf"}, {"video/H264", "libx264", "h264"},
	} {
		b.Run(c.mime, func(b *testing.B) {
			frame, err := exec.Command(program, "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=s=1280x720", "-frames:v", "1",
				"-c:v", c.encoder, "-f", c.format, "pipe:1").Output()
			if err != nil {
				b.Fatal(err)
			}
			if c.format == "ivf" {
				frame = frame[len(ivf("", nil)):]
			}
			d := limits()
			d.FFmpeg = program
			size := 0
			for b.Loop() {
				picture, err := d.PNG(b.Context(), c.mime, frame)
				if err != nil {
					b.Fatal(err)
				}
				size = len(picture)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
