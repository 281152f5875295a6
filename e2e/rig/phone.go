package rig

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"wcsgateway/internal/wcsclient"
)

// NewPhone makes the far end of a call: a peer that sends silence, and counts the RTP packets it gets. It
// either gets an offer (Answer), or makes one (OfferAll) and gets the answer (SetAnswer).
func NewPhone(t testing.TB) *Peer {
	t.Helper()
	p := newPeer(t, PeerOptions{Audio: true})
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "phone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	p.send = append(p.send, func() { p.pump(track, audioInterval, func() []byte { return wcsclient.OpusSilence }) })
	p.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.receive(track) })
	return p
}

// Answer takes an offer, begins to send, and returns the answer with all candidates.
func (p *Peer) Answer(offer string) string {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		p.t.Fatalf("set offer: %v", err)
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	sdp := p.gather(answer)
	for _, send := range p.send {
		p.wg.Go(send)
	}
	return sdp
}

// OfferAll returns an offer with all candidates.
func (p *Peer) OfferAll() string {
	p.t.Helper()
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.gather(offer)
}

// gather takes the peer's own description and returns it with all candidates.
func (p *Peer) gather(own webrtc.SessionDescription) string {
	p.t.Helper()
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(own); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return p.pc.LocalDescription().SDP
}
