package source

import (
	"context"
	"sync"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"wcsgateway/translate"
)

// codec is the name of a codec, as ffprobe writes it.
type codec string

const (
	codecH264 codec = "h264"
	codecH265 codec = "hevc"
	codecOpus codec = "opus"
	codecPCMU codec = "pcm_mulaw"
	codecPCMA codec = "pcm_alaw"
	codecAAC  codec = "aac"
)

// format is what a source has; "" is no track of the kind.
type format struct{ video, audio codec }

// published is the format that players get for a source's format.
func (f format) published() format {
	if f.video != "" {
		f.video = codecH264
	}
	switch f.audio {
	case "", codecPCMU, codecPCMA:
	default:
		f.audio = codecOpus
	}
	return f
}

// mime is LiveKit's name of an audio codec.
func (c codec) mime() string {
	switch c {
	case "":
		return ""
	case codecPCMU:
		return translate.MimePCMU
	case codecPCMA:
		return translate.MimePCMA
	}
	return translate.MimeOpus
}

// sink takes the frames of a source. Times are on one clock for audio and video. Frames are not changed after
// they were written. Audio and video may be written by two goroutines.
type sink interface {
	WriteVideo(unit [][]byte, at time.Duration) error
	WriteAudio(frame []byte, at time.Duration) error
}

// reader is a source that is open.
type reader interface {
	format() format
	// run writes the frames to a sink until ctx ends, the source ends, or it fails. It is called once.
	run(ctx context.Context, to sink) error
	// close ends the source. It is called once, after run.
	close()
}

// Limits of what is kept while the publisher starts.
const (
	doorFrames = 1000
	doorBytes  = 8 << 20
)

// door passes frames on to the publisher. Until there is one it keeps those since the last key frame, so that
// the first picture needs no second key frame.
type door struct {
	mu      sync.Mutex
	to      sink
	kept    []keptFrame
	size    int
	arrived func() // called once, with the first frame; nil afterwards
	cut     bool   // video goes on with a key frame
	frames  int64
	last    time.Time // when the newest frame came
}

type keptFrame struct {
	unit  [][]byte // of video
	audio []byte
	at    time.Duration
}

// reopen is called when the source was opened again, with the function that is called with its first frame.
// Video that comes before a key frame is dropped: it refers to pictures that players do not have.
func (d *door) reopen(arrived func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived, d.cut = arrived, true
}

// open passes on what was kept, and everything that comes.
func (d *door) open(to sink) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
	for _, f := range d.kept {
		if err := d.pass(f); err != nil {
			return err
		}
	}
	d.kept, d.size = nil, 0
	return nil
}

func (d *door) pass(f keptFrame) error {
	if f.unit != nil {
		return d.to.WriteVideo(f.unit, f.at)
	}
	return d.to.WriteAudio(f.audio, f.at)
}

// count returns how many frames came, and when the newest did.
func (d *door) count() (frames int64, last time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frames, d.last
}

func (d *door) write(f keptFrame) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.unit != nil && d.cut {
		if !h264.IsRandomAccess(f.unit) {
			return nil
		}
		d.cut = false
	}
	d.frames++
	d.last = time.Now()
	if d.arrived != nil {
		d.arrived()
		d.arrived = nil
	}
	if d.to != nil {
		return d.pass(f)
	}
	if f.unit != nil && h264.IsRandomAccess(f.unit) {
		d.forgetVideo()
	}
	d.size += f.bytes()
	d.kept = append(d.kept, f)
	if len(d.kept) > doorFrames || d.size > doorBytes {
		d.kept, d.size = nil, 0
	}
	return nil
}

func (d *door) forgetVideo() {
	kept := d.kept[:0]
	for _, f := range d.kept {
		if f.unit == nil {
			kept = append(kept, f)
		} else {
			d.size -= f.bytes()
		}
	}
	clear(d.kept[len(kept):])
	d.kept = kept
}

func (f keptFrame) bytes() int {
	n := len(f.audio)
	for _, nal := range f.unit {
		n += len(nal)
	}
	return n
}

// WriteVideo implements sink.
func (d *door) WriteVideo(unit [][]byte, at time.Duration) error {
	if len(unit) == 0 {
		return nil
	}
	return d.write(keptFrame{unit: unit, at: at})
}

// WriteAudio implements sink.
func (d *door) WriteAudio(frame []byte, at time.Duration) error {
	return d.write(keptFrame{audio: frame, at: at})
}

// pacer holds frames back until their time, for sources that can be read faster than they play. One goroutine
// writes to it.
type pacer struct {
	ctx     context.Context
	to      sink
	base    time.Time // time of day at 0 of the source
	started bool
}

const (
	maxLate = time.Second      // beyond, the source has fallen behind: its times start again
	maxLead = 20 * time.Second // beyond, its times have jumped
)

func (p *pacer) wait(at time.Duration) error {
	now := time.Now()
	due := p.base.Add(at)
	if !p.started || due.Before(now.Add(-maxLate)) || due.After(now.Add(maxLead)) {
		p.started, p.base = true, now.Add(-at)
		return p.ctx.Err()
	}
	if !due.After(now) {
		return p.ctx.Err()
	}
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// WriteVideo implements sink.
func (p *pacer) WriteVideo(unit [][]byte, at time.Duration) error {
	if err := p.wait(at); err != nil {
		return err
	}
	return p.to.WriteVideo(unit, at)
}

// WriteAudio implements sink.
func (p *pacer) WriteAudio(frame []byte, at time.Duration) error {
	if err := p.wait(at); err != nil {
		return err
	}
	return p.to.WriteAudio(frame, at)
}
