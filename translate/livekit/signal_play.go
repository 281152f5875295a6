package livekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/pion/sdp/v3"

	"wcsgateway/translate"
)

const (
	// offerDelay is between LiveKit's last report that a track may be subscribed to and the offer: LiveKit sends
	// the report right before it binds the track, and a track that it binds after its answer is lost.
	offerDelay = time.Millisecond
	// permissionWait bounds the wait for these reports, which take about 3 ms.
	permissionWait = time.Second
)

// playSignal plays over a signalling connection, which ends when the player is up. LiveKit subscribes the
// player to exactly the tracks that o.Offer chooses.
func (s *SFU) playSignal(ctx context.Context, o translate.PlayOffer, place func()) (a translate.Answer, err error) {
	start := time.Now()
	var failure error // of LiveKit's part
	defer s.done(opSignalPlay, start, o.Room, o.Identity, &failure)
	defer func() { s.trace(ctx, opSignalPlay, start, failure) }()
	token, err := s.signer.player(o)
	if err != nil {
		place()
		return a, &translate.Error{Kind: translate.ErrKindRefused, Op: opSignalPlay, Err: err}
	}
	c, unbind, err := dialSignalling(ctx, s.base, token, "")
	if err != nil {
		failure = err
		place()
		return a, err
	}
	kept := false
	defer func() { // also after a panic
		if !kept {
			s.held.discard(c, place)
		}
	}()
	n := &playNegotiation{ctx: ctx, c: c, o: o, ways: s.ways}
	a, err = n.run()
	if bound := unbind(); err == nil && !bound {
		err = ctx.Err()
	}
	if err != nil {
		if err = n.classify(err); !n.refused {
			failure = err
		}
		return translate.Answer{}, err
	}
	kept = true
	s.held.keep(o.Identity, c, place)
	return a, nil
}

// PlayerUp closes what Play keeps open for a player until LiveKit reports that it is up.
func (s *SFU) PlayerUp(id translate.Identity) { s.held.finish(id) }

// playNegotiation is the exchange of messages until the answer.
type playNegotiation struct {
	ctx  context.Context
	c    *signalConn
	o    translate.PlayOffer
	ways *playWays

	refused    bool // by o.Offer: LiveKit has no part in it
	offered    bool // the offer was sent
	join       *lkproto.JoinResponse
	publisher  string          // the publisher's SID, "" before choose
	pending    map[string]bool // SIDs of chosen tracks that LiveKit has not allowed yet
	answer     *lkproto.SessionDescription
	candidates []string
	size       int  // of all candidates
	gathered   bool // all candidates are there
}

func (n *playNegotiation) run() (a translate.Answer, err error) {
	if err := n.await(func() bool { return n.join != nil }); err != nil {
		return a, err
	}
	if err := n.ways.checkVersion(n.join.GetServerInfo().GetVersion()); err != nil {
		return a, playAgain(opSignalPlay, err)
	}
	offer, tracks, err := n.choose()
	if err != nil {
		return a, err
	}
	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(offer); err != nil { // LiveKit would not answer
		return a, &translate.Error{Kind: translate.ErrKindRefused, Op: opSignalPlay, Err: err}
	}
	if err := n.subscribe(tracks); err != nil {
		return a, err
	}
	if err := n.send(offer, 1); err != nil {
		return a, err
	}
	if err := n.await(func() bool { return n.answer != nil && n.gathered }); err != nil {
		return a, err
	}
	text, err := n.check(parsed.MediaDescriptions, tracks)
	return translate.Answer{SDP: text, SID: n.join.GetParticipant().GetSid(), Follows: true}, err
}

// send sends an offer. Their ids rise.
func (n *playNegotiation) send(offer string, id uint32) error {
	n.offered, n.answer = true, nil
	return n.c.send(&lkproto.SignalRequest{Message: &lkproto.SignalRequest_Offer{
		Offer: &lkproto.SessionDescription{Type: "offer", Sdp: offer, Id: id},
	}})
}

// choose returns the offer and the tracks for it. LiveKit's response to a join has the participants' present
// state.
func (n *playNegotiation) choose() (offer string, tracks []translate.Track, err error) {
	for _, p := range n.join.GetOtherParticipants() {
		if p.GetIdentity() == string(n.o.Publisher) {
			n.publisher = p.GetSid()
			offer, tracks, err = n.o.Offer(participant(p))
			n.refused = err != nil
			return offer, tracks, err
		}
	}
	return "", nil, publisherGone()
}

func publisherGone() error {
	return &translate.Error{Kind: translate.ErrKindNotFound, Op: opSignalPlay, Err: translate.ErrPublisherGone}
}

// request asks for subscriptions to the tracks.
func (n *playNegotiation) request(tracks []translate.Track) error {
	n.pending = make(map[string]bool, len(tracks))
	for _, t := range tracks {
		n.pending[t.SID] = true
	}
	return n.c.send(&lkproto.SignalRequest{Message: &lkproto.SignalRequest_Subscription{
		Subscription: &lkproto.UpdateSubscription{TrackSids: slices.Sorted(maps.Keys(n.pending)), Subscribe: true},
	}})
}

// subscribe subscribes to the tracks and waits until LiveKit has bound them, most likely: check finds out.
func (n *playNegotiation) subscribe(tracks []translate.Track) error {
	if err := n.request(tracks); err != nil {
		return err
	}
	late := time.AfterFunc(permissionWait, func() { _ = n.c.ws.NetConn().SetReadDeadline(longAgo) }) // fails only for a closed connection
	err := n.await(func() bool { return len(n.pending) == 0 })
	if !late.Stop() && n.ctx.Err() == nil {
		return playAgain(opSignalPlay, errors.New("no permission to subscribe in time"))
	}
	if err != nil {
		return err
	}
	select {
	case <-time.After(offerDelay):
		return nil
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
}

// await reads messages until done.
func (n *playNegotiation) await(done func() bool) error {
	for !done() {
		m, err := n.c.read()
		if err == nil {
			err = n.take(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *playNegotiation) take(m *lkproto.SignalResponse) error {
	switch x := m.GetMessage().(type) {
	case *lkproto.SignalResponse_Join:
		n.join = x.Join
	case *lkproto.SignalResponse_SubscriptionPermissionUpdate:
		if x.SubscriptionPermissionUpdate.GetAllowed() {
			delete(n.pending, x.SubscriptionPermissionUpdate.GetTrackSid())
		}
	case *lkproto.SignalResponse_SubscriptionResponse:
		return playAgain(opSignalPlay, fmt.Errorf("subscription failed: %s", x.SubscriptionResponse.GetErr()))
	case *lkproto.SignalResponse_Answer:
		n.answer = x.Answer
	case *lkproto.SignalResponse_Trickle:
		var init struct {
			Candidate string `json:"candidate"`
		}
		if json.Unmarshal([]byte(x.Trickle.GetCandidateInit()), &init) == nil && init.Candidate != "" {
			if n.size += len(init.Candidate); n.size > maxSignalBytes {
				return errTooManySignals
			}
			n.candidates = append(n.candidates, strings.TrimPrefix(init.Candidate, "candidate:"))
		}
		n.gathered = n.gathered || x.Trickle.GetFinal()
	case *lkproto.SignalResponse_Update:
		for _, p := range x.Update.GetParticipants() {
			if n.publisher != "" && p.GetSid() == n.publisher && p.GetState() == lkproto.ParticipantInfo_DISCONNECTED {
				return publisherGone()
			}
		}
	case *lkproto.SignalResponse_Leave:
		err := fmt.Errorf("livekit ended the participant: %s", endReason(x.Leave.GetReason()))
		switch {
		case !n.offered || x.Leave.GetReason() != lkproto.DisconnectReason_STATE_MISMATCH:
			return err
		case n.ways.configured == PlayAuto: // LiveKit cannot use the offer by signalling; by WHIP it takes more
			return playAgain(opSignalPlay, err)
		}
		return &translate.Error{Kind: translate.ErrKindRefused, Op: opSignalPlay, Err: err}
	}
	return nil
}

// boundTracks returns the SIDs of the tracks that LiveKit sends after an answer. LiveKit makes the answer's
// mid_to_track_id later: it can have tracks that are not sent, and lack some that were.
func boundTracks(answered *sdp.SessionDescription) (sids []string) {
	for _, m := range answered.MediaDescriptions {
		for _, a := range m.Attributes {
			if _, sid, found := strings.Cut(a.Value, " "); found && a.Key == sdp.AttrKeyMsid {
				sids = append(sids, sid)
			}
		}
	}
	return sids
}

// boundAll reports whether all tracks are bound.
func boundAll(bound []string, tracks []translate.Track) bool {
	return !slices.ContainsFunc(tracks, func(t translate.Track) bool { return !slices.Contains(bound, t.SID) })
}

// check returns the answer with the candidates, if all tracks are bound and it has no format that was not
// offered.
func (n *playNegotiation) check(offered []*sdp.MediaDescription, tracks []translate.Track) (string, error) {
	var answered sdp.SessionDescription
	if err := answered.UnmarshalString(n.answer.GetSdp()); err != nil {
		return "", err
	}
	if bound := boundTracks(&answered); !boundAll(bound, tracks) {
		return "", playAgain(opSignalPlay, fmt.Errorf("%d of %d tracks are bound", len(bound), len(tracks)))
	}
	for i, m := range answered.MediaDescriptions {
		for _, format := range m.MediaName.Formats {
			if m.MediaName.Port.Value != 0 && (i >= len(offered) || !slices.Contains(offered[i].MediaName.Formats, format)) {
				return "", playAgain(opSignalPlay, fmt.Errorf("answer has format %q, which was not offered", format))
			}
		}
	}
	if len(answered.MediaDescriptions) > 0 { // the candidates are in the first one, as by WHIP
		m := answered.MediaDescriptions[0]
		for _, candidate := range n.candidates {
			m.WithValueAttribute("candidate", candidate)
		}
		m.WithPropertyAttribute("end-of-candidates")
	}
	text, err := answered.Marshal()
	return string(text), err
}

// classify returns the error for the caller. Errors of o.Offer are returned as they are.
func (n *playNegotiation) classify(err error) error {
	var sfu *translate.Error
	switch {
	case n.ctx.Err() != nil:
		return failed(n.ctx, opSignalPlay, n.ctx.Err())
	case n.refused, errors.As(err, &sfu):
		return err
	case errors.Is(err, websocket.ErrReadLimit), errors.Is(err, errTooManySignals): // a room with many participants: WHIP does not list them
		return playAgain(opSignalPlay, err)
	}
	return failed(n.ctx, opSignalPlay, err)
}
