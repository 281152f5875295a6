package source

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"

	"wcsgateway/translate/pull"
)

const (
	transcodeQueue = 512
	// transcodeShift keeps the times of MPEG-TS positive.
	transcodeShift = 10 * time.Second
)

// transcoder is a sink that passes tracks through ffmpeg: AAC, and video where it is configured. Tracks that
// pass unchanged go straight to the next sink. The times stay those of the source.
type transcoder struct {
	to    sink
	of    format // what is transcoded
	queue chan keptFrame
	fail  chan error // capacity 1
	video *mpegts.Track
	audio *mpegts.Track
	wrote atomic.Bool // ffmpeg wrote a frame
}

// transcode starts ffmpeg. It ends with ctx; done is called when it has ended by itself.
func (r *Runner) transcode(ctx context.Context, of format, aac *mpeg4audio.Config, to sink) (*transcoder, func(), error) {
	t := &transcoder{to: to, of: of, queue: make(chan keptFrame, transcodeQueue), fail: make(chan error, 1)}
	var tracks []*mpegts.Track
	switch of.video {
	case codecH264:
		t.video = &mpegts.Track{Codec: &mpegts.CodecH264{}}
	case codecH265:
		t.video = &mpegts.Track{Codec: &mpegts.CodecH265{}}
	}
	if t.video != nil {
		tracks = append(tracks, t.video)
	}
	if of.audio == codecAAC {
		t.audio = &mpegts.Track{Codec: &mpegts.CodecMPEG4Audio{Config: *aac}}
		tracks = append(tracks, t.audio)
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, nil, &pull.Error{Fault: pull.Internal, Detail: "no pipe for ffmpeg"}
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		_, _ = inRead.Close(), inWrite.Close()
		return nil, nil, &pull.Error{Fault: pull.Internal, Detail: "no pipe for ffmpeg"}
	}
	args := []string{
		"-hide_banner", "-nostdin", "-loglevel", "quiet", "-protocol_whitelist", "pipe", "-format_whitelist", "mpegts",
		"-f", "mpegts", "-probesize", "32768", "-analyzeduration", "200000", "-fflags", "nobuffer", "-copyts", "-i", "pipe:0",
	}
	args = append(args, output(of, true, true)...)
	ctx, cancel := context.WithCancel(ctx)
	p, err := r.start(ctx, command{program: r.config.FFmpeg, args: args, stdin: inRead, stdout: outWrite, encodes: of.video != ""})
	_, _ = inRead.Close(), outWrite.Close() // the child has them
	if err != nil {
		cancel()
		_, _ = inWrite.Close(), outRead.Close()
		return nil, nil, &pull.Error{Fault: pull.Internal, Detail: "ffmpeg cannot be started"}
	}
	written, readDone := make(chan struct{}), make(chan struct{})
	w := &mpegts.Writer{W: inWrite, Tracks: tracks}
	if err := w.Initialize(); err != nil {
		cancel()
		_, _ = inWrite.Close(), outRead.Close()
		return nil, nil, &pull.Error{Fault: pull.Internal, Detail: "no MPEG-TS for ffmpeg"}
	}
	go func() {
		defer close(written)
		t.feed(ctx, w)
	}()
	go func() {
		defer close(readDone)
		_ = readTS(outRead, shifted{to, &t.wrote}) // why it ended does not matter
		if ctx.Err() == nil {
			t.failed()
		}
	}()
	return t, func() {
		cancel()
		_, _ = inWrite.Close(), outRead.Close()
		<-written
		<-readDone
		_ = p.wait() // it was killed
	}, nil
}

func (t *transcoder) failed() {
	err := &pull.Error{Fault: pull.Lost, Detail: "ffmpeg ended while it transcoded"}
	if !t.wrote.Load() {
		err = &pull.Error{Fault: pull.NoMedia, Detail: "ffmpeg cannot transcode the source"}
	}
	select {
	case t.fail <- err:
	default: // the first counts
	}
}

// feed writes the queue to ffmpeg.
func (t *transcoder) feed(ctx context.Context, w *mpegts.Writer) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-t.queue:
			pts := int64((f.at + transcodeShift) * videoClock / time.Second)
			var err error
			switch {
			case f.unit == nil:
				err = w.WriteMPEG4Audio(t.audio, pts, [][]byte{f.audio})
			case t.of.video == codecH265:
				err = w.WriteH265(t.video, pts, pts, f.unit)
			default:
				err = w.WriteH264(t.video, pts, pts, f.unit)
			}
			if err != nil {
				t.failed()
				return
			}
		}
	}
}

// enqueue drops a frame if ffmpeg is too slow.
func (t *transcoder) enqueue(f keptFrame) error {
	select {
	case err := <-t.fail:
		return err
	default:
	}
	select {
	case t.queue <- f:
	default:
	}
	return nil
}

// WriteVideo implements sink.
func (t *transcoder) WriteVideo(unit [][]byte, at time.Duration) error {
	if t.video == nil {
		return t.to.WriteVideo(unit, at)
	}
	if len(unit) == 0 {
		return nil
	}
	return t.enqueue(keptFrame{unit: unit, at: at})
}

// WriteAudio implements sink.
func (t *transcoder) WriteAudio(frame []byte, at time.Duration) error {
	if t.audio == nil {
		return t.to.WriteAudio(frame, at)
	}
	return t.enqueue(keptFrame{audio: frame, at: at})
}

// shifted undoes transcodeShift.
type shifted struct {
	to    sink
	wrote *atomic.Bool
}

// WriteVideo implements sink.
func (s shifted) WriteVideo(unit [][]byte, at time.Duration) error {
	s.wrote.Store(true)
	return s.to.WriteVideo(unit, at-transcodeShift)
}

// WriteAudio implements sink.
func (s shifted) WriteAudio(frame []byte, at time.Duration) error {
	s.wrote.Store(true)
	return s.to.WriteAudio(frame, at-transcodeShift)
}
