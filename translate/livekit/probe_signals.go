package livekit

import (
	"errors"
	"fmt"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	protosignalling "github.com/livekit/protocol/signalling"
	"google.golang.org/protobuf/proto"

	"wcsgateway/translate"
)

// SetLogger is for the SDK.
func (g *guest) SetLogger(logger.Logger) {}

// OnTransportClose is called by the SDK when the signalling connection has ended.
func (g *guest) OnTransportClose() {
	g.end(lost(errors.New("signalling connection ended")))
	close(g.quiet)
}

// HandleMessage is called by the SDK with each message of LiveKit, one after the other.
func (g *guest) HandleMessage(message proto.Message) error {
	response, _ := message.(*lkproto.SignalResponse)
	switch m := response.GetMessage().(type) {
	case *lkproto.SignalResponse_Join:
		g.welcome = m.Join
	case *lkproto.SignalResponse_Offer:
		if err := g.answer(m.Offer); err != nil {
			g.end(lost(fmt.Errorf("answer: %w", err)))
		}
	case *lkproto.SignalResponse_Trickle:
		// LiveKit sends candidates only after the offer. One that is of no use does not matter: there are others.
		if candidate, err := protosignalling.FromProtoTrickle(m.Trickle); err == nil && m.Trickle.GetTarget() == lkproto.SignalTarget_SUBSCRIBER {
			_ = g.pc.AddICECandidate(candidate)
		}
	case *lkproto.SignalResponse_Update:
		for _, p := range m.Update.GetParticipants() {
			g.update(p)
		}
	case *lkproto.SignalResponse_Leave:
		g.end(goodbye(m.Leave))
	}
	return nil
}

// answer tells no candidates: LiveKit learns the address from the connectivity checks, as it does of WHIP clients
// (design.md §1).
func (g *guest) answer(o *lkproto.SessionDescription) error {
	offer, id, _ := protosignalling.FromProtoSessionDescription(o)
	if err := g.pc.SetRemoteDescription(offer); err != nil {
		return err
	}
	answer, err := g.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := g.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	return g.transport.SendMessage(g.messages.SignalSdpAnswer(protosignalling.ToProtoSessionDescription(answer, id, nil)))
}

func (g *guest) update(p *lkproto.ParticipantInfo) {
	switch {
	case p.GetIdentity() != string(g.publisher):
	case p.GetSid() == g.sid && p.GetVersion() < g.version: // overtaken
	case p.GetState() != lkproto.ParticipantInfo_DISCONNECTED:
		g.follow(p)
	case p.GetSid() == g.sid: // and not one whom it has replaced
		g.end(gone(errors.New("publisher has left")))
	}
}

// follow subscribes to what is new, and forgets what is not there any more: LiveKit ends it by itself.
func (g *guest) follow(p *lkproto.ParticipantInfo) {
	g.sid, g.version = p.GetSid(), p.GetVersion()
	g.change(func() { g.offers = p.GetTracks() })
}

// take changes what the guest takes.
func (g *guest) take(kinds translate.MediaKinds) {
	g.change(func() { g.kinds = kinds })
}

// change changes what there is or what the guest takes, and subscribes to what follows from it.
func (g *guest) change(set func()) {
	g.choosing.Lock()
	defer g.choosing.Unlock()
	g.mu.Lock()
	set()
	wanted, unwanted := g.choose()
	g.mu.Unlock()
	for _, change := range []*lkproto.UpdateSubscription{{TrackSids: unwanted}, {TrackSids: wanted, Subscribe: true}} {
		if len(change.GetTrackSids()) > 0 {
			// An error is that of a connection that is lost, which its reader tells.
			_ = g.transport.SendMessage(g.messages.SignalUpdateSubscription(change))
		}
	}
}

// choose notes the publisher's tracks and gives those to subscribe to, and those that are not taken any more. What is
// subscribed to and taken stays. It needs mu.
func (g *guest) choose() (wanted, unwanted []string) {
	before := g.tracks
	g.tracks = make(map[string]*subscribed)
	have := make(map[lkproto.TrackType]bool)
	for _, info := range g.offers {
		t := before[info.GetSid()]
		switch {
		case t == nil:
		case !g.takesKind(t.kind):
			unwanted = append(unwanted, info.GetSid())
		default:
			g.tracks[info.GetSid()], have[t.kind] = t, true
		}
	}
	for _, info := range g.offers {
		kind := info.GetType()
		if have[kind] || !g.takesKind(kind) {
			continue
		}
		have[kind] = true
		g.tracks[info.GetSid()] = &subscribed{kind: kind, asked: time.Now()}
		wanted = append(wanted, info.GetSid())
	}
	return wanted, unwanted
}

// takesKind needs mu.
func (g *guest) takesKind(kind lkproto.TrackType) bool {
	switch kind {
	case lkproto.TrackType_AUDIO:
		return g.kinds.Audio
	case lkproto.TrackType_VIDEO:
		return g.kinds.Video
	default: // data
		return false
	}
}

// goodbye tells whether it makes sense to join again.
func goodbye(l *lkproto.LeaveRequest) error {
	reason := endReason(l.GetReason())
	err := fmt.Errorf("livekit ended it: %s", reason)
	if l.GetAction() != lkproto.LeaveRequest_DISCONNECT {
		return lost(err)
	}
	switch reason {
	case translate.EndRemoved, translate.EndReplaced, translate.EndRoomClosed:
		return gone(err)
	default:
		return lost(err)
	}
}

func lost(err error) error {
	return &translate.Error{Kind: translate.ErrKindUnavailable, Op: OpProbe, Err: err}
}

func gone(err error) error {
	return &translate.Error{Kind: translate.ErrKindNotFound, Op: OpProbe, Err: err}
}
