package wcsclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	packetBytes = 1500
	videoSize   = 64 // pixels per side
	// udpWait is the time that a peer which may use TCP waits for UDP.
	udpWait = 2 * time.Second
)

// MediaOptions configure the peers of a Media.
type MediaOptions struct {
	// Audio and Video are the times between two packets or frames of a publisher. 0: peers have no such track.
	Audio, Video time.Duration
	// TCP lets peers use TCP where UDP does not connect in time, and IPv6.
	TCP bool
}

// Media makes peers with real ICE, DTLS and RTP, and counts their packets. The peers are lean: one
// certificate for all, opus and VP8 only, no retransmission and no bandwidth estimation. They send sender and
// receiver reports as browsers do. Each peer has its own port: LiveKit sends to all peers from one port, so
// only the destination port distinguishes packets other than STUN.
type Media struct {
	// Sent and Received count the RTP packets of all peers.
	Sent, Received atomic.Int64

	options MediaOptions
	api     *webrtc.API
	config  webrtc.Configuration
}

// NewMedia returns a Media without peers.
func NewMedia(o MediaOptions) (*Media, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	engine, reports, err := lean()
	if err != nil {
		return nil, fmt.Errorf("set codecs: %w", err)
	}
	return &Media{
		options: o, config: webrtc.Configuration{Certificates: []webrtc.Certificate{*certificate}},
		api: webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(reports), webrtc.WithSettingEngine(o.settings())),
	}, nil
}

func (o MediaOptions) settings() (s webrtc.SettingEngine) {
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // otherwise every peer opens a multicast socket
	s.SetIncludeLoopbackCandidate(true)                    // for a server on this machine
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.TCP {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
		s.SetHostAcceptanceMinWait(udpWait)
		s.SetPrflxAcceptanceMinWait(udpWait)
	}
	return s
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

// Peer is the WebRTC half of a stream: an offer without candidates, an answer with all of them. Close it.
type Peer struct {
	media     *Media
	publishes bool
	pc        *webrtc.PeerConnection
	offer     string
	up        chan struct{}  // closed when ICE and DTLS have connected
	first     chan time.Time // cap 1

	closed  chan struct{}
	running sync.WaitGroup
}

// NewPublisher returns a peer that sends silence and a uniform picture while it is connected.
func (m *Media) NewPublisher() (*Peer, error) {
	return m.newPeer(true, func(p *Peer) error {
		return errors.Join(
			p.send(webrtc.MimeTypeOpus, OpusSilence, m.options.Audio),
			p.send(webrtc.MimeTypeVP8, VP8Frame(videoSize, videoSize), m.options.Video),
		)
	})
}

// NewPlayer returns a peer that counts received packets.
func (m *Media) NewPlayer() (*Peer, error) {
	return m.newPeer(false, func(p *Peer) error {
		p.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.receive(t) })
		return errors.Join(
			p.expect(webrtc.RTPCodecTypeAudio, m.options.Audio),
			p.expect(webrtc.RTPCodecTypeVideo, m.options.Video),
		)
	})
}

func (m *Media) newPeer(publishes bool, prepare func(*Peer) error) (*Peer, error) {
	pc, err := m.api.NewPeerConnection(m.config)
	if err != nil {
		return nil, err
	}
	p := &Peer{media: m, publishes: publishes, pc: pc, up: make(chan struct{}), first: make(chan time.Time, 1), closed: make(chan struct{})}
	up := sync.OnceFunc(func() { close(p.up) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			up()
		}
	})
	if err = prepare(p); err == nil {
		err = p.makeOffer()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// makeOffer makes an offer without candidates, as those of WCS clients: gathering begins with
// SetLocalDescription. With candidates LiveKit could reach a client that cannot reach LiveKit.
func (p *Peer) makeOffer() error {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	p.offer = offer.SDP
	return p.pc.SetLocalDescription(offer)
}

// send adds a track on which a sample is sent again and again, each time in one packet. Samples that cannot
// be sent, because the server removed the track, are missing in Media.Sent and at the players.
func (p *Peer) send(mime string, sample []byte, every time.Duration) error {
	if every == 0 {
		return nil
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, mime, "client")
	if err != nil {
		return err
	}
	if _, err = p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		return err
	}
	p.running.Go(func() {
		select {
		case <-p.closed:
			return
		case <-p.up:
		}
		next := time.NewTicker(every)
		defer next.Stop()
		for {
			if track.WriteSample(media.Sample{Data: sample, Duration: every}) == nil {
				p.media.Sent.Add(1)
			}
			select {
			case <-p.closed:
				return
			case <-next.C:
			}
		}
	})
	return nil
}

// expect adds a track that is received.
func (p *Peer) expect(kind webrtc.RTPCodecType, every time.Duration) error {
	if every == 0 {
		return nil
	}
	_, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	return err
}

// receive counts until the track ends. pion calls it in a separate goroutine.
func (p *Peer) receive(t *webrtc.TrackRemote) {
	packet := make([]byte, packetBytes)
	for {
		if _, _, err := t.Read(packet); err != nil {
			return // the track ended with the connection
		}
		p.media.Received.Add(1)
		select {
		case p.first <- time.Now():
		default: // not the first packet
		}
	}
}

// Offer returns the peer's offer.
func (p *Peer) Offer() string { return p.offer }

// Request returns the argument of publishStream or playStream with the peer's offer.
func (p *Peer) Request(mediaID, name string) map[string]any {
	return StreamRequest(mediaID, name, p.offer, p.publishes, p.media.options.Audio > 0, p.media.options.Video > 0)
}

// Answer applies the server's answer; the peer then connects.
func (p *Peer) Answer(sdp string) error {
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// First gets the time of arrival of a player's first packet.
func (p *Peer) First() <-chan time.Time { return p.first }

// Route returns the protocol and the address of LiveKit that the media use, such as udp and 192.0.2.1:7882,
// or "" before the connection.
func (p *Peer) Route() (protocol, address string) {
	for _, t := range p.pc.GetTransceivers() {
		var transport *webrtc.DTLSTransport
		if sender := t.Sender(); sender != nil {
			transport = sender.Transport()
		} else if receiver := t.Receiver(); receiver != nil {
			transport = receiver.Transport()
		}
		if transport == nil {
			continue
		}
		if pair, err := transport.ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
			return pair.Remote.Protocol.String(), net.JoinHostPort(pair.Remote.Address, strconv.Itoa(int(pair.Remote.Port)))
		}
	}
	return "", ""
}

// Close ends the connection and waits for its goroutines.
func (p *Peer) Close() {
	close(p.closed)
	_ = p.pc.GracefulClose() // the peer is not used any more
	p.running.Wait()
}
