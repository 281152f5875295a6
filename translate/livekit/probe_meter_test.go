package livekit

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// metered is a meter with tracks whose packets the test delivers.
type metered struct {
	*meter
	t     *testing.T
	start time.Time
}

func newMetered(t *testing.T) *metered {
	m := &metered{t: t, start: time.Now()}
	m.meter = newMeter(m.start)
	m.begin(m.start)
	return m
}

func (m *metered) at(seconds float64) time.Time {
	return m.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (m *metered) track(ssrc webrtc.SSRC, video bool, since float64) *incoming {
	in := &incoming{ssrc: ssrc, video: video, since: m.at(since)}
	m.add(in)
	return in
}

// packet delivers a packet of size bytes, the only one of its frame.
func (m *metered) packet(in *incoming, seconds float64, sequence uint16, size int) {
	m.t.Helper()
	m.arrives(in, seconds, sequence, "video/VP8", append(make([]byte, size-1), 1))
}

func (m *metered) arrives(in *incoming, seconds float64, sequence uint16, codec string, payload []byte) {
	m.t.Helper()
	packet := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: 3000 * uint32(sequence)}, Payload: payload}
	b, err := packet.Marshal()
	if err != nil {
		m.t.Fatal(err)
	}
	m.arrive(m.at(seconds), in, codec, b)
}

// want requires the figures, or none if bits is negative.
func (m *metered) want(seconds, since float64, bits int64, frames int) translate.VideoFigures {
	m.t.Helper()
	v, ok := m.second(m.at(seconds), m.at(since))
	if ok != (bits >= 0) || ok && (v.Rate != bits || v.FPS != frames) {
		m.t.Errorf("at %.2f: %+v, %v; want %d bits in %d frames", seconds, v, ok, bits, frames)
	}
	return v
}

const none = -1 // of want

func TestMeterCountsBySecond(t *testing.T) {
	m := newMetered(t)
	video, audio := m.track(1, true, 0), m.track(2, false, 0)
	m.want(0.5, 0, none, 0)
	m.packet(video, 0, 1, 100)
	m.packet(audio, 0.1, 1, 7)
	m.packet(video, 0.999999, 2, 50)
	m.packet(video, 1, 3, 30)
	m.want(1.0, 0, 8*150, 2)
	m.packet(video, 1.9, 4, 5)
	m.packet(video, 2.05, 5, 1000) // arrives before the tick
	m.want(2.1, 0, 8*35, 2)
	m.want(2.9, 0, none, 0) // already reported
	m.want(3, 0, 8*1000, 1)
	m.want(4, 0, 0, 0)
	m.packet(audio, 4.5, 2, 70)
	if v := m.want(5, 0, 0, 0); v.MediaBytes != 100+7+50+30+5+1000+70 {
		t.Errorf("%d bytes of media", v.MediaBytes)
	}
}

// The ticks of seconds 2 and 3 are late, and the packets of that time are read after 3.4.
func TestMeterSkipsSecondsWithLateTicks(t *testing.T) {
	m := newMetered(t)
	video := m.track(1, true, 0)
	m.packet(video, 0.5, 1, 10)
	m.want(1, 0, 80, 1)
	m.packet(video, 1.2, 2, 10)
	m.want(3.4, 0, none, 0)
	m.packet(video, 3.4, 3, 10)
	m.packet(video, 3.4, 4, 10)
	m.packet(video, 3.5, 5, 10)
	m.want(4, 0, none, 0)
	m.packet(video, 4.5, 6, 10)
	if v := m.want(5, 0, 80, 1); v.MediaBytes != 60 {
		t.Errorf("%d bytes of media", v.MediaBytes)
	}
}

func TestMeterReportsWholeSecondsOnly(t *testing.T) {
	m := newMetered(t)
	video := m.track(1, true, 0)
	m.packet(video, 0.5, 1, 10)
	if _, ok := m.second(m.at(1), time.Time{}); ok {
		t.Error("figures though nothing was measured")
	}
	m.packet(video, 1.5, 2, 10)
	m.want(2, 1.4, none, 0)
	m.packet(video, 2.5, 3, 10)
	m.want(3, 2, 80, 1)
	m.packet(video, 3.5, 4, 10)
	m.want(4, 3.1, none, 0) // interrupted
	v := m.want(5, 4, 0, 0)
	if v.MediaBytes != 40 {
		t.Errorf("%d bytes of media", v.MediaBytes)
	}
	m.begin(m.at(9.9)) // after another connection was made
	m.packet(video, 9.95, 5, 10)
	m.want(9.95, 9.9, none, 0)
	m.want(10, 9.9, none, 0)
	m.packet(video, 10.5, 6, 10)
	m.want(11, 9.9, 80, 1)
}

func TestMeterAddsUpLosses(t *testing.T) {
	m := newMetered(t)
	one := m.track(1, true, 0)
	m.packet(one, 0.1, 1, 10)
	m.packet(one, 0.2, 4, 10)
	m.packet(one, 0.3, 2, 10)
	m.want(1, 0, 240, 3)
	if v := m.want(2, 0, 0, 0); v.Lost != 1 {
		t.Errorf("%d lost", v.Lost)
	}
	m.drop(one)
	other := m.track(2, true, 2) // starts at an arbitrary number
	m.packet(other, 2.1, 1000, 10)
	m.packet(other, 2.2, 1002, 10)
	audio := m.track(3, false, 2)
	m.packet(audio, 2.1, 1, 10)
	m.packet(audio, 2.2, 9, 10) // no figures taken
	m.want(3, 0, 160, 2)
	if v := m.want(4, 0, 0, 0); v.Lost != 2 {
		t.Errorf("%d lost", v.Lost)
	}
}

func TestMeterReportsPictureSize(t *testing.T) {
	m := newMetered(t)
	video := m.track(1, true, 0)
	frame := func(w, h int) []byte { return append([]byte{0x10}, rig.VP8Frame(w, h)...) }
	for i, tt := range []struct {
		codec         string
		payload       []byte
		width, height int
	}{
		{"video/VP8", []byte{0x10, 0x01}, 0, 0},
		{"video/VP8", frame(640, 360), 640, 360},
		{"video/VP8", []byte{0x10, 0x01}, 640, 360},
		{"video/VP8", frame(8, 8), 640, 360}, // LiveKit's own
		{"video/VP8", frame(360, 640), 360, 640},
		{"video/H264", []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x3d, 0xb0, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32, 0x0f, 0x16, 0x2e, 0x48}, 640, 480},
	} {
		m.arrives(video, float64(i)+0.5, uint16(i), tt.codec, tt.payload)
		v, ok := m.second(m.at(float64(i)+1), m.start)
		if !ok || v.Width != tt.width || v.Height != tt.height {
			t.Errorf("%d: %dx%d, %v; want %dx%d", i, v.Width, v.Height, ok, tt.width, tt.height)
		}
	}
}

func TestMeterRequestsKeyFrameOnce(t *testing.T) {
	m := newMetered(t)
	m.arrives(m.track(1, true, 0), 0.1, 1, "video/VP8", []byte{0x10, 0x01})
	m.arrives(m.track(2, false, 0), 0.1, 1, "audio/opus", []byte{1})
	m.arrives(m.track(3, true, 0), 0.1, 1, "video/VP8", append([]byte{0x10}, rig.VP8Frame(320, 240)...))
	m.arrives(m.track(4, true, 0), 0.1, 1, "video/H266", []byte{1})
	m.arrives(m.track(5, true, 0.5), 0.6, 1, "video/H264", []byte{0x61, 1})
	for _, tt := range []struct {
		at   float64
		want []webrtc.SSRC
	}{{0.9, nil}, {1, []webrtc.SSRC{1}}, {1.2, nil}, {2, []webrtc.SSRC{5}}, {3, nil}} {
		got := m.unsized(m.at(tt.at))
		if len(got) != len(tt.want) || len(got) == 1 && got[0] != tt.want[0] {
			t.Errorf("at %.1f: %v, want %v", tt.at, got, tt.want)
		}
	}
}

func TestMeterIgnoresOtherPackets(t *testing.T) {
	m := newMetered(t)
	m.arrive(m.at(0.5), m.track(1, true, 0), "video/VP8", []byte{0x80, 1, 2})
	if v := m.want(1, 0, 0, 0); v.MediaBytes != 0 {
		t.Errorf("%d bytes of media", v.MediaBytes)
	}
}
