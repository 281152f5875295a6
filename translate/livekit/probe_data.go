package livekit

import (
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"wcsgateway/translate"
)

// Labels of LiveKit's data channels.
const (
	reliableChannel = "_reliable"
	lossyChannel    = "_lossy"
)

// onDataChannel is called with each data channel that LiveKit opens.
func (sub *subscriber) onDataChannel(channel *webrtc.DataChannel) {
	if sub.onData == nil || channel.Label() != reliableChannel && channel.Label() != lossyChannel {
		return
	}
	channel.OnMessage(func(m webrtc.DataChannelMessage) { sub.onPacket(m.Data) })
}

// onPacket takes a packet of a data channel. Packets other than data messages (speakers, transcriptions,
// chunks of files) are dropped.
func (sub *subscriber) onPacket(packet []byte) {
	var p lkproto.DataPacket
	if proto.Unmarshal(packet, &p) != nil || p.GetUser() == nil {
		return
	}
	u := p.GetUser()
	sub.onData(translate.Data{Sender: translate.Identity(p.GetParticipantIdentity()), Topic: u.GetTopic(), Payload: u.GetPayload()})
}
