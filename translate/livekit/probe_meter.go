package livekit

import (
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
	"wcsgateway/translate/media"
)

// packetSize exceeds any RTP packet that LiveKit accepts.
const packetSize = 1500

// meter counts the packets of a publisher's tracks, by the second of arrival. It outlives connections.
type meter struct {
	start time.Time // seconds are counted from here

	mu         sync.Mutex
	current    int64     // the current second
	this, last tally     // of this second and the previous one
	reported   int64     // the latest second whose figures were taken
	heldUp     time.Time // the last time that figures were taken too late
	videos     map[*incoming]struct{}
	sums       translate.VideoFigures // Lost, Width, Height, and MediaBytes of past seconds
}

// tally holds the counts of one second.
type tally struct {
	bytes, frames int // of video
	media         int // bytes of audio and video
}

// incoming is a track that is being read.
type incoming struct {
	media.Stream
	sizes media.Sizes
	video bool
	ssrc  webrtc.SSRC
	codec string    // mime type
	since time.Time // arrival of the first packet
	sized bool      // a key frame contained its size, or one was requested
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

// arrive counts a packet that was read now. The codec can change between packets.
func (m *meter) arrive(now time.Time, in *incoming, codec string, packet []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in.codec = codec
	a, err := in.Arrive(packet)
	if err != nil {
		return // not RTP
	}
	m.advance(now)
	m.this.media += len(a.Payload)
	if !in.video {
		return
	}
	m.this.bytes += len(a.Payload)
	if a.Begins {
		m.this.frames++
	}
	if w, h, ok := in.sizes.KeyFrame(codec, a.Payload); ok && max(w, h) > media.BlankSide {
		m.sums.Width, m.sums.Height = w, h
		in.sized = true
	}
}

// advance begins a new second when it is due. It needs mu.
func (m *meter) advance(now time.Time) {
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

// begin is called when figures will be taken from now on.
func (m *meter) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(now)
	m.reported = m.current - 1
}

// second returns the figures of the last complete second. ok is false if they were taken already, or if the
// second was not measured from its beginning; since is when measuring began, zero if it has not. If the
// caller is late, this process stood still: packets were read later than they arrived, and count for the
// wrong second.
func (m *meter) second(now, since time.Time) (v translate.VideoFigures, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(now)
	ended := m.current - 1
	if ended <= m.reported {
		return translate.VideoFigures{}, false // a tick that came late
	}
	if ended > m.reported+1 {
		m.heldUp = now
	}
	m.reported = ended
	for in := range m.videos {
		m.sums.Lost += in.TakeLost()
	}
	began := m.start.Add(time.Duration(ended) * time.Second)
	if since.IsZero() || since.After(began) || m.heldUp.After(began) {
		return translate.VideoFigures{}, false
	}
	v = m.sums
	v.Rate, v.FPS = int64(8*m.last.bytes), m.last.frames
	return v, true
}

// unsized returns the tracks that have been received for a while without a key frame that contains a size.
// Each is returned once.
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
