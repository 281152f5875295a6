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

// SetLogger is called by the SDK.
func (sub *subscriber) SetLogger(logger.Logger) {}

// OnTransportClose is called by the SDK when the signalling connection ends.
func (sub *subscriber) OnTransportClose() {
	sub.end(lost(errors.New("signalling connection ended")))
	close(sub.quiet)
}

// HandleMessage is called by the SDK with each message of LiveKit, sequentially.
func (sub *subscriber) HandleMessage(message proto.Message) error {
	response, _ := message.(*lkproto.SignalResponse)
	switch m := response.GetMessage().(type) {
	case *lkproto.SignalResponse_Join:
		sub.joinResponse = m.Join
	case *lkproto.SignalResponse_Offer:
		if err := sub.answer(m.Offer); err != nil {
			sub.end(lost(fmt.Errorf("answer: %w", err)))
		}
	case *lkproto.SignalResponse_Trickle:
		// LiveKit sends candidates only after the offer. A useless candidate does not matter: there are
		// others.
		if candidate, err := protosignalling.FromProtoTrickle(m.Trickle); err == nil && m.Trickle.GetTarget() == lkproto.SignalTarget_SUBSCRIBER {
			_ = sub.pc.AddICECandidate(candidate)
		}
	case *lkproto.SignalResponse_Update:
		for _, p := range m.Update.GetParticipants() {
			sub.update(p)
		}
	case *lkproto.SignalResponse_Leave:
		sub.end(leaveError(m.Leave))
	}
	return nil
}

// answer contains no candidates: LiveKit learns the address from the connectivity checks, as for WHIP
// clients.
func (sub *subscriber) answer(o *lkproto.SessionDescription) error {
	offer, id, _ := protosignalling.FromProtoSessionDescription(o)
	if err := sub.pc.SetRemoteDescription(offer); err != nil {
		return err
	}
	answer, err := sub.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := sub.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	return sub.transport.SendMessage(sub.messages.SignalSdpAnswer(protosignalling.ToProtoSessionDescription(answer, id, nil)))
}

func (sub *subscriber) update(p *lkproto.ParticipantInfo) {
	switch {
	case p.GetIdentity() != string(sub.publisher):
	case p.GetSid() == sub.sid && p.GetVersion() < sub.version: // overtaken
	case p.GetState() != lkproto.ParticipantInfo_DISCONNECTED:
		sub.follow(p)
	case p.GetSid() == sub.sid: // and not a participant that it replaced
		sub.end(gone(errors.New("publisher has left")))
	}
}

// follow subscribes to new tracks and forgets ended ones; LiveKit ends their subscriptions itself.
func (sub *subscriber) follow(p *lkproto.ParticipantInfo) {
	sub.sid, sub.version = p.GetSid(), p.GetVersion()
	sub.change(func() { sub.offers = p.GetTracks() })
}

// take changes the kinds that the subscriber receives.
func (sub *subscriber) take(kinds translate.MediaKinds) {
	sub.change(func() { sub.kinds = kinds })
}

// change applies set to the tracks or kinds and updates the subscriptions accordingly.
func (sub *subscriber) change(set func()) {
	sub.choosing.Lock()
	defer sub.choosing.Unlock()
	sub.mu.Lock()
	set()
	wanted, unwanted := sub.choose()
	sub.mu.Unlock()
	for _, change := range []*lkproto.UpdateSubscription{{TrackSids: unwanted}, {TrackSids: wanted, Subscribe: true}} {
		if len(change.GetTrackSids()) > 0 {
			// An error means that the connection is lost, which its reader reports.
			_ = sub.transport.SendMessage(sub.messages.SignalUpdateSubscription(change))
		}
	}
}

// choose records the publisher's tracks and returns those to subscribe to, and those to unsubscribe from.
// Current subscriptions that are still needed stay. It needs mu.
func (sub *subscriber) choose() (wanted, unwanted []string) {
	before := sub.tracks
	sub.tracks = make(map[string]*subscription)
	have := make(map[lkproto.TrackType]bool)
	for _, info := range sub.offers {
		t := before[info.GetSid()]
		switch {
		case t == nil:
		case !sub.takesKind(t.kind):
			unwanted = append(unwanted, info.GetSid())
		default:
			sub.tracks[info.GetSid()], have[t.kind] = t, true
		}
	}
	for _, info := range sub.offers {
		kind := info.GetType()
		if have[kind] || !sub.takesKind(kind) {
			continue
		}
		have[kind] = true
		sub.tracks[info.GetSid()] = &subscription{kind: kind, asked: time.Now()}
		wanted = append(wanted, info.GetSid())
	}
	return wanted, unwanted
}

// takesKind needs mu.
func (sub *subscriber) takesKind(kind lkproto.TrackType) bool {
	switch kind {
	case lkproto.TrackType_AUDIO:
		return sub.kinds.Audio
	case lkproto.TrackType_VIDEO:
		return sub.kinds.Video
	default: // data
		return false
	}
}

// leaveError converts LiveKit's leave request to an error that reports whether joining again makes sense.
func leaveError(l *lkproto.LeaveRequest) error {
	reason := endReason(l.GetReason())
	err := fmt.Errorf("livekit ended the connection: %s", reason)
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
	return &translate.Error{Kind: translate.ErrKindUnavailable, Op: opProbe, Err: err}
}

func gone(err error) error {
	return &translate.Error{Kind: translate.ErrKindNotFound, Op: opProbe, Err: err}
}
