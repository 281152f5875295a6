package source

import (
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"

	rtpformat "github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtcp"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// beeps are a picture with a key frame at each full second, and a tone that begins then.
var beeps = []string{"-filter_complex", "aevalsrc='0.5*sin(2764.6*t)*lt(mod(t,1),0.2)':s=48000[beep]", "-map", "0:v", "-map", "[beep]"}

// loudness finds the first loud sample of G.711, or whether a packet of Opus has sound.
func loudness(payload []byte, audio string) (at uint32, loud bool) {
	if audio == translate.MimeOpus {
		return 0, len(payload) > 100
	}
	for i, b := range payload {
		if b&0x7f < 0x60 {
			return uint32(i), true
		}
	}
	return 0, false
}

// heardRoom is a fakeRoom that finds the key frames and beeps in what is published.
type heardRoom struct {
	fakeRoom
	audioMime string
	quiet     int // frames since the last loud one
	pictures  []time.Duration
	sounds    []time.Duration
}

func (h *heardRoom) WriteVideo(unit [][]byte, at time.Duration) error {
	h.mu.Lock()
	if h264.IsRandomAccess(unit) {
		h.pictures = append(h.pictures, at)
	}
	h.mu.Unlock()
	return h.fakeRoom.WriteVideo(unit, at)
}

func (h *heardRoom) WriteAudio(frame []byte, at time.Duration) error {
	h.mu.Lock()
	sample, loud := loudness(frame, h.audioMime)
	h.quiet++
	if loud {
		if h.quiet > 5 {
			h.sounds = append(h.sounds, at+time.Duration(sample)*time.Second/8000)
		}
		h.quiet = 0
	}
	h.mu.Unlock()
	return h.fakeRoom.WriteAudio(frame, at)
}

// offset returns how much later the newest picture is than its sound.
func (h *heardRoom) offset() (off time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pictures) < 3 || len(h.sounds) < 3 {
		return 0, false
	}
	return inSecond(h.pictures[len(h.pictures)-1] - h.sounds[len(h.sounds)-1]), true
}

// inSecond returns the difference of two times of a second.
func inSecond(d time.Duration) time.Duration {
	return (d%time.Second+time.Second*3/2)%time.Second - time.Second/2
}

// The sender reports of two tracks are of different moments, as those of cameras.
func TestSenderReportsOfDifferentMomentsRelateTracks(t *testing.T) {
	const (
		captured = 0.75             // when the last picture and its sound were, in seconds
		early    = time.Second / 10 // by which the first packet of video came too early
	)
	track := func(f rtpformat.Format, reported float64) *rtspTrack {
		const start = 3_900_000_000           // seconds since 1900
		var last uint32 = math.MaxUint32 - 99 // timestamps begin again at 0 soon
		track := &rtspTrack{format: f}
		track.at(last, 0)
		track.onReport(&rtcp.SenderReport{
			NTPTime: uint64((start + reported) * (1 << 32)), RTPTime: last + uint32(int32((reported-captured)*float64(f.ClockRate()))),
		})
		return track
	}
	for _, reported := range []struct{ video, audio float64 }{{0.5, 0.5}, {0.1, 0.9}, {0.9, 0.1}, {-0.9, 0.3}, {1.5, -0.25}} {
		rd := &rtspReader{video: track(&rtpformat.H264{}, reported.video), audio: track(&rtpformat.G711{SampleRate: 8000, ChannelCount: 1}, reported.audio)}
		rd.video.offset -= early
		rd.synchronize(time.Now())
		if (rd.behind - early).Abs() > time.Millisecond {
			t.Errorf("%+v: the picture is moved by %v, want %v", reported, rd.behind, early)
		}
	}
	rd := &rtspReader{video: track(&rtpformat.H264{}, 0.5), audio: track(&rtpformat.G711{SampleRate: 8000, ChannelCount: 1}, 0.5)}
	rd.audio.report = nil
	rd.audio.onReport(&rtcp.SenderReport{RTPTime: 1})
	if rd.synchronize(time.Now()); rd.behind != 0 {
		t.Errorf("a source without a clock moves the picture by %v", rd.behind)
	}
}

// The picture of a moment and its sound are published with the same time, for each way through the worker.
// Opus is looked at by packets of 20 ms, after AAC, which begins 20 ms early.
func TestPictureAndSoundStayTogether(t *testing.T) {
	server := rig.StartRTSP(t, "", "")
	server.Camera("g711", "320x180", beeps, rig.CameraH264, rig.CameraG711)
	server.Camera("aac", "320x180", beeps, rig.CameraH264, rig.CameraAAC)
	for _, tt := range []struct {
		name, url, audio string
		limit            time.Duration
	}{
		{"passed", server.URL("g711"), translate.MimePCMU, 10 * time.Millisecond},
		{"transcoded", server.URL("aac"), translate.MimeOpus, 50 * time.Millisecond},
		{"film", "vod://film.mp4", translate.MimeOpus, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room := &heardRoom{audioMime: tt.audio, fakeRoom: fakeRoom{lost: make(chan struct{})}}
			r := testRunner(t, &room.fakeRoom)
			r.publish = func(context.Context, translate.PullTarget) (Publisher, error) { return room, nil }
			if tt.name == "film" {
				record(t, filepath.Join(r.config.Folder, "film.mp4"), 30, beeps, rig.CameraH264, rig.CameraAAC)
			}
			begin(t, r, &room.fakeRoom, tt.url, nil)
			rig.Eventually(t, patience, "the picture and its sound have the same time", func() bool {
				off, ok := room.offset()
				return ok && off.Abs() < tt.limit
			})
			off, _ := room.offset()
			t.Logf("the picture is %v later than the sound", off)
		})
	}
}
