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

// listen is called with each data channel that LiveKit opens.
func (g *guest) listen(channel *webrtc.DataChannel) {
	if g.onData == nil || channel.Label() != reliableChannel && channel.Label() != lossyChannel {
		return
	}
	channel.OnMessage(func(m webrtc.DataChannelMessage) { g.hear(m.Data) })
}

// hear takes a packet of a data channel. What is no data message (speakers, transcriptions, chunks of files) is passed over.
func (g *guest) hear(packet []byte) {
	var p lkproto.DataPacket
	if proto.Unmarshal(packet, &p) != nil || p.GetUser() == nil {
		return
	}
	u := p.GetUser()
	g.onData(translate.Data{Sender: translate.Identity(p.GetParticipantIdentity()), Topic: u.GetTopic(), Payload: u.GetPayload()})
}
