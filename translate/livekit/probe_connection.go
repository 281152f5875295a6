package livekit

import (
	"io"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

const (
	iceDisconnected = 5 * time.Second // without a sign of LiveKit
	iceFailed       = 5 * time.Second // after that
	iceKeepalive    = 2 * time.Second
	// replayWindow is how far a packet may lag behind the newest one, and still be decrypted. LiveKit sends what it got
	// late from the publisher late.
	replayWindow = 1024
)

// newGuestConnection makes a PeerConnection that receives as cheaply as it can: no interceptors, so it neither asks for
// lost packets nor reports on what it gets (LiveKit then sends everything, as it does to WHIP players); no mDNS, no STUN,
// no TCP.
func newGuestConnection() (*webrtc.PeerConnection, error) {
	var s webrtc.SettingEngine
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s.SetIncludeLoopbackCandidate(true) // for a LiveKit on the same machine that has no other network
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepalive)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.DisableCloseByDTLS(true) // LiveKit says over the signalling connection why it ends
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	return api.NewPeerConnection(webrtc.Configuration{})
}
