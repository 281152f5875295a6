package livekit

import (
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
	"wcsgateway/translate/media"
)

// packetSize is more than an RTP packet can have: LiveKit takes in no larger one.
const packetSize = 1500

// meter adds up what a publisher's tracks bring, by the second of arrival. It outlives connections.
type meter struct {
	start time.Time // seconds are counted from here

	mu         sync.Mutex
	current    int64     // the second that this is
	this, last tally     // of this second and the one before
	told       int64     // the latest second that was asked for
	heldUp     time.Time // when it was last too late to ask for one
	videos     map[*incoming]struct{}
	sums       translate.VideoFigures // Lost, Width, Height, and MediaBytes of the seconds that are over
}

// tally is what one second brought.
type tally struct {
	bytes, frames int // of video
	media         int // bytes of everything
}

// incoming is a track that is being read.
type incoming struct {
	media.Stream
	video bool
	ssrc  webrtc.SSRC
	codec string    // mime type
	since time.Time // the first packet
	sized bool      // a key frame told its size, or one was asked for
}

func newMeter(start time.Time) *meter {
	return &meter{start: start, videos: make(map[*incoming]struct{})}
}

// read counts a track until it ends.
func (m *meter) read(track *webrtc.TrackRemote) {
	in := &incoming{video: track.Kind() == webrtc.RTPCodecTypeVideo, ssrc: track.SSRC(), since: time.Now()}
	m.add(in)
	defer m.drop(in)
	packet := make([]byte, packetSize)
	for {
		n, _, err := track.Read(packet)
		if err != nil {
			return
		}
		m.arrive(time.Now(), in, track.Codec().MimeType, packet[:n])
	}
}

func (m *meter) add(in *incoming) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in.video {
		m.videos[in] = struct{}{}
	}
}

func (m *meter) drop(in *incoming) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.videos, in)
}

// arrive counts a packet that was read now. The codec may change from packet to packet.
func (m *meter) arrive(now time.Time, in *incoming, codec string, packet []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in.codec = codec
	a, err := in.Arrive(packet)
	if err != nil {
		return // not RTP: nothing that a publisher sent
	}
	m.turn(now)
	m.this.media += len(a.Payload)
	if !in.video {
		return
	}
	m.this.bytes += len(a.Payload)
	if a.Begins {
		m.this.frames++
	}
	if w, h, ok := media.KeyFrameSize(codec, a.Payload); ok && max(w, h) > media.BlankSide {
		m.sums.Width, m.sums.Height = w, h
		in.sized = true
	}
}

// turn begins a new second if it is time. It needs mu.
func (m *meter) turn(now time.Time) {
	second := int64(now.Sub(m.start) / time.Second)
	switch {
	case second <= m.current:
		return
	case second == m.current+1:
		m.last = m.this
	default:
		m.last = tally{}
	}
	m.sums.MediaBytes += uint64(m.this.media)
	m.current, m.this = second, tally{}
}

// begin is called when seconds will be asked for from now on.
func (m *meter) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	m.told = m.current - 1
}

// second gives the figures of the latest second that is over. ok is false if it was asked for already, or has not been
// measured from its beginning: since is when measuring began, zero if it has not. Nobody asking in time means that this
// process stood still: what came meanwhile was read later, and counts for the wrong second.
func (m *meter) second(now, since time.Time) (v translate.VideoFigures, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	ended := m.current - 1
	if ended <= m.told {
		return translate.VideoFigures{}, false // a tick that came late
	}
	if ended > m.told+1 {
		m.heldUp = now
	}
	m.told = ended
	for in := range m.videos {
		m.sums.Lost += in.Settle()
	}
	began := m.start.Add(time.Duration(ended) * time.Second)
	if since.IsZero() || since.After(began) || m.heldUp.After(began) {
		return translate.VideoFigures{}, false
	}
	v = m.sums
	v.Rate, v.FPS = int64(8*m.last.bytes), m.last.frames
	return v, true
}

// unsized gives the tracks that have come for a while without a key frame that tells its size. Each is given once.
func (m *meter) unsized(now time.Time) []webrtc.SSRC {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []webrtc.SSRC
	for in := range m.videos {
		if !in.sized && media.HasKeyFrameSize(in.codec) && now.Sub(in.since) >= keyFrameWait {
			in.sized = true
			list = append(list, in.ssrc)
		}
	}
	return list
}
