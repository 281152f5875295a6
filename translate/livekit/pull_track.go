package livekit

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const (
	videoClock = 90000
	g711Clock  = 8000
	// pullPayload is the largest payload of a packet: with the headers of RTP and SRTP it stays below 1,200
	// bytes.
	pullPayload = 1150
	reportEvery = time.Second
	// pullJump is how far the times of a source may jump ahead, pullBack how far back: audio and video come
	// in any order. Beyond it they start again.
	pullJump = 10 * time.Second
	pullBack = 2 * time.Second
	// baseWindow is how long the fastest frame counts for the clock of a source.
	baseWindow = 10 * time.Second
)

// pullClock turns the times of a source into those of the publication, which go on when the source is opened
// again, and maps these to the time of day: the mapping is that of the fastest frames of the last seconds, so
// that it has no jitter of the network. Audio and video share it.
type pullClock struct {
	restart  bool
	started  bool
	shift    time.Duration // from the source's times
	last     time.Duration // of the newest frame
	lastAt   time.Time
	base     time.Time // time of day at 0 of the publication
	nextBase time.Time // the same of the current window
	window   time.Time // end of the current window
}

// media returns the time of the publication of a frame with a time of the source.
func (c *pullClock) media(t time.Duration, now time.Time) time.Duration {
	m := t + c.shift
	if !c.started || c.restart || m > c.last+pullJump || m < c.last-pullBack {
		if c.started {
			c.shift = c.last + now.Sub(c.lastAt) - t
		} else {
			c.shift = -t
		}
		m = t + c.shift
		c.started, c.restart = true, false
		c.base = now.Add(-m)
		c.nextBase, c.window = c.base, now.Add(baseWindow)
	}
	if m > c.last || c.lastAt.IsZero() {
		c.last, c.lastAt = m, now
	}
	c.observe(now.Add(-m), now)
	return m
}

func (c *pullClock) observe(base, now time.Time) {
	if now.After(c.window) {
		c.base = c.nextBase
		c.nextBase, c.window = base, now.Add(baseWindow)
	}
	if base.Before(c.nextBase) {
		c.nextBase = base
	}
	if base.Before(c.base) {
		c.base = base
	}
}

// pullTrack is a published track. The publisher's lock guards it.
type pullTrack struct {
	local    *webrtc.TrackLocalStaticRTP
	sender   *webrtc.RTPSender
	rate     float64
	stamp    uint32 // at 0 of the publication
	sequence uint16
	packets  uint32
	octets   uint32
	reported time.Time
	quiet    bool // a frame was sent, so the next does not begin a talkspurt
}

func newPullTrack(pc *webrtc.PeerConnection, codec webrtc.RTPCodecCapability) (*pullTrack, error) {
	id := "audio"
	if codec.MimeType == webrtc.MimeTypeH264 {
		id = "video"
	}
	local, err := webrtc.NewTrackLocalStaticRTP(codec, id, "pull")
	if err != nil {
		return nil, err
	}
	transceiver, err := pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	return &pullTrack{
		local: local, sender: transceiver.Sender(), rate: float64(codec.ClockRate),
		stamp: rand.Uint32(), sequence: uint16(rand.Uint32()),
	}, nil
}

func (t *pullTrack) stampOf(m time.Duration) uint32 {
	return t.stamp + uint32(int64(math.Round(m.Seconds()*t.rate)))
}

// send sends the payloads of one frame.
func (t *pullTrack) send(payloads [][]byte, stamp uint32, marker bool) error {
	for i, payload := range payloads {
		packet := rtp.Packet{Payload: payload, Header: rtp.Header{
			Version: 2, SequenceNumber: t.sequence, Timestamp: stamp, Marker: marker && i == len(payloads)-1,
		}}
		t.sequence++
		if err := t.local.WriteRTP(&packet); err != nil {
			return err
		}
		t.packets++
		t.octets += uint32(len(payload))
	}
	return nil
}

// report sends a sender report if one is due.
func (p *PullPublisher) report(t *pullTrack, m time.Duration, now time.Time) {
	if now.Sub(t.reported) < reportEvery {
		return
	}
	t.reported = now
	parameters := t.sender.GetParameters()
	if len(parameters.Encodings) == 0 {
		return
	}
	// An error means that the connection is lost, which its state reports.
	_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{
		SSRC: uint32(parameters.Encodings[0].SSRC), NTPTime: ntp(p.clock.base.Add(m)), RTPTime: t.stampOf(m),
		PacketCount: t.packets, OctetCount: t.octets,
	}})
}

// ntp is a time in the format of sender reports.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// WriteAudio sends a frame of the audio codec. at is the time of its first sample on the source's clock.
func (p *PullPublisher) WriteAudio(frame []byte, at time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, now := p.audio, time.Now()
	if t == nil || len(frame) == 0 {
		return nil
	}
	first := p.clock.restart || !t.quiet
	m := p.clock.media(at, now)
	t.quiet = true
	stamp := t.stampOf(m)
	for len(frame) > 0 {
		part := frame
		if t.rate == g711Clock {
			part = frame[:min(len(frame), pullPayload)] // cameras send up to 64 KiB
		}
		if err := t.send([][]byte{part}, stamp, first); err != nil {
			return err
		}
		first = false
		frame = frame[len(part):]
		stamp += uint32(len(part)) // G.711 has one byte a sample
	}
	p.report(t, m, now)
	return nil
}

// WriteVideo sends an access unit of H264: NAL units without start codes, none of which is changed
// afterwards. at is its time on the source's clock; frames come in the order of their times. Key frames get
// the latest parameter sets if they have none.
func (p *PullPublisher) WriteVideo(unit [][]byte, at time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, now := p.video, time.Now()
	if t == nil {
		return nil
	}
	m := p.clock.media(at, now)
	unit, key := p.h264.prepare(unit)
	if len(unit) == 0 {
		return nil
	}
	stamp := t.stampOf(m)
	if err := p.h264.replay(t, stamp, now, key); err != nil {
		return err
	}
	p.h264.keep(unit, key, stamp, now)
	if err := t.send(p.h264.payloads(unit), stamp, true); err != nil {
		return err
	}
	p.report(t, m, now)
	return nil
}

const (
	// replayFor is how long after its start a publication answers requests for key frames by repeating the
	// frames since the last key frame. A source cannot be asked for one, and its first players would wait for
	// seconds. Later players wait: those that play already would see the past.
	replayFor    = 8 * time.Second
	replayEvery  = 500 * time.Millisecond
	replayFrames = 300
	replayBytes  = 8 << 20
)

// pullVideo is what H264 needs beside the track.
type pullVideo struct {
	payloader codecs.H264Payloader
	sps, pps  []byte
	begun     time.Time // of the publication
	stamp     uint32    // of the newest frame
	asked     bool      // LiveKit requested a key frame
	replayed  time.Time
	frames    [][][]byte // since the last key frame, while they can be replayed
	size      int
}

// prepare removes delimiters, remembers parameter sets, and adds them to key frames.
func (v *pullVideo) prepare(unit [][]byte) (_ [][]byte, key bool) {
	out := make([][]byte, 0, len(unit)+2)
	sets := false
	for _, nal := range unit {
		if len(nal) == 0 {
			continue
		}
		switch h264.NALUType(nal[0] & 0x1f) {
		case h264.NALUTypeAccessUnitDelimiter, h264.NALUTypeFillerData:
			continue
		case h264.NALUTypeSPS:
			v.sps = nal
			sets = true
		case h264.NALUTypePPS:
			v.pps = nal
		case h264.NALUTypeIDR:
			key = true
		default:
		}
		out = append(out, nal)
	}
	if key && !sets && v.sps != nil && v.pps != nil {
		out = append([][]byte{v.sps, v.pps}, out...)
	}
	return out, key
}

func (v *pullVideo) payloads(unit [][]byte) [][]byte {
	var list [][]byte
	for _, nal := range unit {
		list = append(list, v.payloader.Payload(pullPayload, nal)...)
	}
	return list
}

func (v *pullVideo) keep(unit [][]byte, key bool, stamp uint32, now time.Time) {
	v.stamp = stamp
	if v.begun.IsZero() {
		v.begun = now
	}
	if key {
		v.forget()
	}
	size := 0
	for _, nal := range unit {
		size += len(nal)
	}
	switch {
	case now.Sub(v.begun) > replayFor || len(v.frames) == replayFrames || v.size+size > replayBytes:
		v.forget()
	case key || len(v.frames) > 0:
		v.frames = append(v.frames, unit)
		v.size += size
	}
}

func (v *pullVideo) forget() { v.frames, v.size = nil, 0 }

// replay repeats the frames since the last key frame if LiveKit requested a key frame. Their
// timestamps lie between those of the last frame and the next, which a decoder plays at once.
func (v *pullVideo) replay(t *pullTrack, next uint32, now time.Time, key bool) error {
	if !v.asked {
		return nil
	}
	if key || now.Sub(v.begun) > replayFor {
		v.asked = false
		return nil
	}
	step := (next - v.stamp) / uint32(len(v.frames)+1)
	if len(v.frames) == 0 || step == 0 || next-v.stamp > videoClock || now.Sub(v.replayed) < replayEvery {
		return nil
	}
	v.asked, v.replayed = false, now
	for i, unit := range v.frames {
		if err := t.send(v.payloads(unit), v.stamp+step*uint32(i+1), true); err != nil {
			return err
		}
	}
	return nil
}
