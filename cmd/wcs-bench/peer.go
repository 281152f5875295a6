package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	webrtcmedia "github.com/pion/webrtc/v4/pkg/media"

	"wcsgateway/internal/wcsclient"
)

const (
	// mdnsDisabled is pion/ice's MulticastDNSModeDisabled: otherwise every peer opens a multicast socket.
	mdnsDisabled = 1
	readBytes    = 1500 // per packet
	videoSize    = 64   // pixels per side
)

// media creates the peers of a run. They are lean: one certificate for all, no retransmission and no
// bandwidth estimation. They send sender and receiver reports as browsers do. Each peer has its own port:
// LiveKit sends to all peers from one port, so only the destination port distinguishes packets other than
// STUN.
type media struct {
	api          *webrtc.API
	config       webrtc.Configuration
	audio, video time.Duration // between two packets or frames, 0: none

	sent, received atomic.Int64 // RTP packets
}

func newMedia(o options) (*media, error) {
	m := &media{audio: interval(o.audioRate), video: interval(o.videoRate)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	m.config.Certificates = []webrtc.Certificate{*certificate}
	engine, reports, err := lean()
	if err != nil {
		return nil, fmt.Errorf("set codecs: %w", err)
	}
	var settings webrtc.SettingEngine
	settings.SetICEMulticastDNSMode(mdnsDisabled)
	settings.SetIncludeLoopbackCandidate(true) // for a server on this machine
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	m.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(reports), webrtc.WithSettingEngine(settings))
	return m, nil
}

// lean returns the offered codecs, opus and VP8, and the interceptors.
func lean() (*webrtc.MediaEngine, *interceptor.Registry, error) {
	engine, reports := &webrtc.MediaEngine{}, &interceptor.Registry{}
	return engine, reports, errors.Join(
		engine.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"},
			PayloadType:        111,
		}, webrtc.RTPCodecTypeAudio),
		engine.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}}},
			PayloadType:        96,
		}, webrtc.RTPCodecTypeVideo),
		webrtc.ConfigureRTCPReports(reports),
	)
}

// interval returns the time between two events at a rate per second.
func interval(rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// peer is the WebRTC half of a stream: an offer without candidates, an answer with all of them.
type peer struct {
	m            *media
	pc           *webrtc.PeerConnection
	offer        string
	audio, video bool
	first        chan time.Time // cap 1: arrival of a player's first RTP packet

	closed  chan struct{}
	running sync.WaitGroup
}

// newPublisher returns a peer that sends silence and a uniform picture once it is connected.
func (m *media) newPublisher() (*peer, error) {
	return m.newPeer(func(p *peer) error {
		audio, errAudio := p.addTrack(p.audio, webrtc.MimeTypeOpus)
		video, errVideo := p.addTrack(p.video, webrtc.MimeTypeVP8)
		up := make(chan struct{})
		once := sync.OnceFunc(func() { close(up) })
		p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
			if s == webrtc.PeerConnectionStateConnected {
				once()
			}
		})
		p.running.Go(func() { p.pump(up, audio, video) })
		return errors.Join(errAudio, errVideo)
	})
}

// newPlayer returns a peer that counts received packets.
func (m *media) newPlayer() (*peer, error) {
	return m.newPeer(func(p *peer) error {
		p.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.receive(t) })
		var errs []error
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		for kind, wanted := range map[webrtc.RTPCodecType]bool{webrtc.RTPCodecTypeAudio: p.audio, webrtc.RTPCodecTypeVideo: p.video} {
			if wanted {
				_, err := p.pc.AddTransceiverFromKind(kind, init)
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

func (m *media) newPeer(prepare func(*peer) error) (*peer, error) {
	pc, err := m.api.NewPeerConnection(m.config)
	if err != nil {
		return nil, fmt.Errorf("new peer: %w", err)
	}
	p := &peer{m: m, pc: pc, audio: m.audio > 0, video: m.video > 0, first: make(chan time.Time, 1), closed: make(chan struct{})}
	if err = prepare(p); err == nil {
		err = p.makeOffer()
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("new peer: %w", err)
	}
	return p, nil
}

func (p *peer) addTrack(wanted bool, mime string) (*webrtc.TrackLocalStaticSample, error) {
	if !wanted {
		return nil, nil
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, mime, "bench")
	if err != nil {
		return nil, err
	}
	_, err = p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	return track, err
}

func (p *peer) makeOffer() error {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	p.offer = offer.SDP // gathering begins with SetLocalDescription: the offer has no candidates, as those of WCS clients
	return p.pc.SetLocalDescription(offer)
}

// connect applies the answer.
func (p *peer) connect(answer string) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	return nil
}

// pump sends from the time that the connection is up until the peer is closed.
func (p *peer) pump(up <-chan struct{}, audio, video *webrtc.TrackLocalStaticSample) {
	select {
	case <-p.closed:
		return
	case <-up:
	}
	silence, picture := wcsclient.OpusSilence, wcsclient.VP8Frame(videoSize, videoSize)
	nextAudio, stopAudio := ticks(p.m.audio)
	defer stopAudio()
	nextVideo, stopVideo := ticks(p.m.video)
	defer stopVideo()
	p.write(audio, silence, p.m.audio)
	p.write(video, picture, p.m.video)
	for {
		select {
		case <-p.closed:
			return
		case <-nextAudio:
			p.write(audio, silence, p.m.audio)
		case <-nextVideo:
			p.write(video, picture, p.m.video)
		}
	}
}

// ticks returns a ticker, or a channel that never ticks.
func ticks(every time.Duration) (c <-chan time.Time, stop func()) {
	if every == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// write sends a sample that fits into one packet. Samples that cannot be sent, because the server removed the
// track, show in the players' figures.
func (p *peer) write(track *webrtc.TrackLocalStaticSample, data []byte, duration time.Duration) {
	if track != nil && track.WriteSample(webrtcmedia.Sample{Data: data, Duration: duration}) == nil {
		p.m.sent.Add(1)
	}
}

// receive counts until the track ends. pion calls it in a separate goroutine.
func (p *peer) receive(t *webrtc.TrackRemote) {
	buf := make([]byte, readBytes)
	for {
		if _, _, err := t.Read(buf); err != nil {
			return // the track ended with the connection
		}
		p.m.received.Add(1)
		select {
		case p.first <- time.Now():
		default: // not the first packet
		}
	}
}

// close ends the connection and waits for its goroutines.
func (p *peer) close() {
	close(p.closed)
	_ = p.pc.GracefulClose() // the peer is not used any more
	p.running.Wait()
}
