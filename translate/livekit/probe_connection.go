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
	// replayWindow is how many packets a packet can lag behind the newest and still be decrypted. LiveKit
	// forwards late packets late.
	replayWindow = 1024
)

// newSubscriberConnection returns a PeerConnection that receives at the lowest cost: no interceptors, so that
// it neither requests lost packets nor sends reports (LiveKit then sends everything, as to WHIP players); no
// mDNS, no STUN, no TCP.
func newSubscriberConnection() (*webrtc.PeerConnection, error) {
	var s webrtc.SettingEngine
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s.SetIncludeLoopbackCandidate(true) // for a LiveKit on the same machine that has no other network
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepalive)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.DisableCloseByDTLS(true) // the signalling connection carries the reason of an end
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	return api.NewPeerConnection(webrtc.Configuration{})
}
