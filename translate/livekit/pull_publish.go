package livekit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
)

const (
	opPull = "publish pull"
	// pullHistory is how many packets of a track are kept for LiveKit to request again: one second at 6
	// Mbit/s.
	pullHistory = 512
	// publishedFirst is when LiveKit is asked whether it has the tracks of a pull; each further question
	// takes half as long again, up to publishedEvery.
	publishedFirst = 30 * time.Millisecond
	publishedEvery = time.Second
)

// PullPublisher publishes one pulled source in a room, frame by frame: H264 and one of the audio codecs of a
// translate.PullTarget. It keeps its tracks, their SSRCs, sequence numbers and timestamps while the source is
// opened again. It neither buffers nor paces: each frame is sent when it is written. Times of frames are on
// one clock for audio and video; the sender reports keep both in sync. It is safe for concurrent use.
type PullPublisher struct {
	// set once
	sfu    *SFU
	target translate.PullTarget
	pc     *webrtc.PeerConnection
	up     chan struct{} // closed when media is up for the first time
	over   chan struct{} // closed when the connection failed
	rtcp   sync.WaitGroup
	closes func() error

	mu    sync.Mutex
	clock pullClock
	video *pullTrack // nil without
	audio *pullTrack
	h264  pullVideo
}

// PublishPull adds a publisher to a room, which it creates, and waits until its media is up. LiveKit lists
// its tracks only when frames of them were written: see Published.
func (s *SFU) PublishPull(ctx context.Context, t translate.PullTarget) (_ *PullPublisher, err error) {
	defer s.done(opPull, time.Now(), t.Room, t.Identity, &err)
	pc, err := newPullConnection(t)
	if err != nil {
		return nil, failed(ctx, opPull, err)
	}
	p := &PullPublisher{sfu: s, target: t, pc: pc, up: make(chan struct{}), over: make(chan struct{})}
	p.closes = sync.OnceValue(pc.GracefulClose)
	up, over := sync.OnceFunc(func() { close(p.up) }), sync.OnceFunc(func() { close(p.over) })
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) {
		switch pc.ConnectionState() {
		case webrtc.PeerConnectionStateConnected:
			up()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			over()
		default: // pion is still trying
		}
	})
	if err := p.connect(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// newPullConnection returns a PeerConnection that supports the codecs of a target only, sends what LiveKit
// requests again, and writes no sender reports: those of PullPublisher have the times of the source.
func newPullConnection(t translate.PullTarget) (*webrtc.PeerConnection, error) {
	var s webrtc.SettingEngine
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s.SetIncludeLoopbackCandidate(true) // for a LiveKit on the same machine that has no other network
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepalive)
	var m webrtc.MediaEngine
	for _, codec := range pullCodecs(t) {
		kind := webrtc.RTPCodecTypeAudio
		if codec.MimeType == webrtc.MimeTypeH264 {
			kind = webrtc.RTPCodecTypeVideo
		}
		if err := m.RegisterCodec(codec, kind); err != nil {
			return nil, err
		}
	}
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(pullHistory))
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	registry.Add(responder)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(registry))
	return api.NewPeerConnection(webrtc.Configuration{})
}

func pullCodecs(t translate.PullTarget) []webrtc.RTPCodecParameters {
	var list []webrtc.RTPCodecParameters
	if t.Video {
		list = append(list, webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: videoClock,
			SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		}})
	}
	audio := webrtc.RTPCodecCapability{MimeType: t.Audio, ClockRate: g711Clock, Channels: 1}
	switch t.Audio {
	case "":
		return list
	case translate.MimeOpus:
		audio.ClockRate, audio.Channels, audio.SDPFmtpLine = 48000, 2, "minptime=10;useinbandfec=1"
		return append(list, webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: audio})
	case translate.MimePCMA:
		return append(list, webrtc.RTPCodecParameters{PayloadType: 8, RTPCodecCapability: audio})
	}
	return append(list, webrtc.RTPCodecParameters{PayloadType: 0, RTPCodecCapability: audio})
}

// connect sends the offer and waits for media to be up.
func (p *PullPublisher) connect(ctx context.Context) error {
	for _, codec := range pullCodecs(p.target) {
		track, err := newPullTrack(p.pc, codec.RTPCodecCapability)
		if err != nil {
			return failed(ctx, opPull, err)
		}
		if codec.MimeType == webrtc.MimeTypeH264 {
			p.video = track
		} else {
			p.audio = track
		}
	}
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return failed(ctx, opPull, err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return failed(ctx, opPull, err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return failed(ctx, opPull, ctx.Err())
	}
	answer, err := p.sfu.Publish(ctx, translate.PublishOffer{
		Room: p.target.Room, Identity: p.target.Identity, SDP: p.pc.LocalDescription().SDP,
	})
	if err != nil {
		return err
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		return failed(ctx, opPull, err)
	}
	for _, track := range []*pullTrack{p.video, p.audio} {
		if track != nil {
			p.rtcp.Go(func() { p.readRTCP(track) })
		}
	}
	select {
	case <-p.up:
		return nil
	case <-p.over:
		return failed(ctx, opPull, errors.New("media connection failed"))
	case <-ctx.Done():
		return failed(ctx, opPull, fmt.Errorf("media is not up: %w", ctx.Err()))
	}
}

// readRTCP reads what LiveKit reports about a track, until the connection ends.
func (p *PullPublisher) readRTCP(track *pullTrack) {
	for {
		packets, _, err := track.sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok && track == p.video {
				p.mu.Lock()
				p.h264.asked = true
				p.mu.Unlock()
			}
		}
	}
}

// Published waits until LiveKit lists every track, or until patience has passed and it lists at least one:
// sources announce audio that they never send. It asks for the participant only.
func (p *PullPublisher) Published(ctx context.Context, patience time.Duration) error {
	want := 0
	for _, track := range []*pullTrack{p.video, p.audio} {
		if track != nil {
			want++
		}
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	pause := publishedFirst
	tick := time.NewTimer(pause)
	defer tick.Stop()
	late := false
	for {
		if got, err := p.sfu.Participant(ctx, p.target.Room, p.target.Identity); err == nil {
			if n := len(got.Tracks); n >= want || late && n > 0 {
				return nil
			}
		}
		select {
		case <-tick.C:
			pause = min(pause*3/2, publishedEvery)
			tick.Reset(pause)
		case <-limit.C:
			late = true
		case <-p.over:
			return failed(ctx, opPull, errors.New("media connection failed"))
		case <-ctx.Done():
			return failed(ctx, opPull, ctx.Err())
		}
	}
}

// Done is closed when LiveKit is no longer reached, or after Close.
func (p *PullPublisher) Done() <-chan struct{} { return p.over }

// Restart says that the next frames are of a source that was opened again: their times start again.
func (p *PullPublisher) Restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock.restart = true
	p.h264.forget()
}

// Close ends the connection. The participant stays in the room until it is removed (SFU.Remove).
func (p *PullPublisher) Close() {
	_ = p.closes() // its result does not matter
	p.rtcp.Wait()
}
