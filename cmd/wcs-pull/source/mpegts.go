package source

import (
	"io"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
)

// readTS writes the frames of an MPEG-TS to a sink, until it ends or the sink fails.
func readTS(r io.Reader, to sink) error {
	ts := &mpegts.Reader{R: r}
	if err := ts.Initialize(); err != nil {
		return err
	}
	var clock tsClock
	for _, track := range ts.Tracks() {
		switch track.Codec.(type) {
		case *mpegts.CodecH264:
			ts.OnDataH264(track, func(pts, _ int64, unit [][]byte) error {
				return to.WriteVideo(unit, clock.at(pts))
			})
		case *mpegts.CodecOpus:
			ts.OnDataOpus(track, opusTo(&clock, to))
		}
	}
	for {
		if err := ts.Read(); err != nil {
			return err
		}
	}
}

// opusTo returns the function that writes packets of Opus to a sink.
func opusTo(clock *tsClock, to sink) func(pts int64, frames [][]byte) error {
	return func(pts int64, frames [][]byte) error {
		at := clock.at(pts)
		for _, frame := range frames {
			if err := to.WriteAudio(frame, at); err != nil {
				return err
			}
			at += opusDuration(frame)
		}
		return nil
	}
}

// tsClock extends the 33 bits of MPEG-TS.
type tsClock struct {
	started bool
	last    int64
}

func (c *tsClock) at(pts int64) time.Duration {
	const bits = 33
	if !c.started {
		c.started, c.last = true, pts
	}
	c.last += (pts - c.last) << (64 - bits) >> (64 - bits)
	return time.Duration(c.last/videoClock)*time.Second + time.Duration(c.last%videoClock)*time.Second/videoClock
}

// opusDuration returns the duration of an Opus packet (RFC 6716 §3.1).
func opusDuration(packet []byte) time.Duration {
	if len(packet) == 0 {
		return 0
	}
	config := packet[0] >> 3
	var frame time.Duration
	switch {
	case config < 12:
		frame = []time.Duration{10, 20, 40, 60}[config%4] * time.Millisecond
	case config < 16:
		frame = []time.Duration{10, 20}[config%2] * time.Millisecond
	default:
		frame = 2500 * time.Microsecond << (config % 4)
	}
	switch packet[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	if len(packet) < 2 {
		return 0
	}
	return time.Duration(packet[1]&0x3f) * frame
}
