package livekit

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	webrtcmedia "github.com/pion/webrtc/v4/pkg/media"
)

// Intervals at which a TrialPeer sends.
const (
	trialAudioInterval = 20 * time.Millisecond
	trialVideoInterval = 100 * time.Millisecond
)

// udpWait is the time that a TrialPeer waits for UDP before it uses TCP.
const udpWait = 2 * time.Second

// TrialPeer is the media of a client of a check: a publisher or a player with ICE, DTLS and RTP.
// cmd/internal/check uses it. Close it.
type TrialPeer struct {
	pc       *webrtc.PeerConnection
	offer    string
	up       chan struct{} // closed when ICE and DTLS have connected
	received chan struct{} // closed at the first packet

	closed  chan struct{}
	running sync.WaitGroup
}

// NewTrialPublisher returns a peer that sends one Opus frame and one VP8 key frame again and again when it is
// connected.
func NewTrialPublisher(audio, video []byte) (*TrialPeer, error) {
	return newTrialPeer(func(p *TrialPeer) error {
		return errors.Join(
			p.send(webrtc.MimeTypeOpus, webrtcmedia.Sample{Data: audio, Duration: trialAudioInterval}),
			p.send(webrtc.MimeTypeVP8, webrtcmedia.Sample{Data: video, Duration: trialVideoInterval}),
		)
	})
}

// NewTrialPlayer returns a peer that receives audio and video.
func NewTrialPlayer() (*TrialPeer, error) {
	return newTrialPeer(func(p *TrialPeer) error {
		once := sync.OnceFunc(func() { close(p.received) })
		p.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for {
				if _, _, err := t.ReadRTP(); err != nil {
					return // the track ends with the connection
				}
				once()
			}
		})
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
			if _, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
				return err
			}
		}
		return nil
	})
}

// overUDPOrTCP lets a peer use TCP where UDP does not connect within udpWait.
func overUDPOrTCP(s *webrtc.SettingEngine) {
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	s.SetHostAcceptanceMinWait(udpWait)
	s.SetPrflxAcceptanceMinWait(udpWait)
}

func newTrialPeer(prepare func(*TrialPeer) error) (*TrialPeer, error) {
	pc, err := newSubscriberConnection(overUDPOrTCP)
	if err != nil {
		return nil, err
	}
	p := &TrialPeer{pc: pc, up: make(chan struct{}), received: make(chan struct{}), closed: make(chan struct{})}
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

// makeOffer makes an offer without candidates, as the SDKs do. With them LiveKit could reach a client that
// cannot reach LiveKit.
func (p *TrialPeer) makeOffer() error {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	p.offer = offer.SDP
	return p.pc.SetLocalDescription(offer)
}

// send adds a track and sends a sample in its interval while the peer is connected.
func (p *TrialPeer) send(mime string, sample webrtcmedia.Sample) error {
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, mime, "check")
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
		next := time.NewTicker(sample.Duration)
		defer next.Stop()
		for track.WriteSample(sample) == nil {
			select {
			case <-p.closed:
				return
			case <-next.C:
			}
		}
	})
	return nil
}

// Offer returns the peer's offer.
func (p *TrialPeer) Offer() string { return p.offer }

// Answer applies LiveKit's answer; the peer then connects.
func (p *TrialPeer) Answer(sdp string) error {
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// Received is closed at the first packet of media.
func (p *TrialPeer) Received() <-chan struct{} { return p.received }

// Route returns the protocol and the address of LiveKit that the media use, such as udp and 192.0.2.1:7882,
// or "" before the connection.
func (p *TrialPeer) Route() (protocol, address string) {
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
func (p *TrialPeer) Close() {
	close(p.closed)
	p.running.Wait()
	_ = p.pc.GracefulClose() // the peer is not used any more
}
