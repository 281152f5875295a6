package livekit

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// calls makes each call of the SFU once. The play's publisher and the participant are absent, which is no
// error here.
func calls(t *testing.T, ctx context.Context, sfu *SFU) map[string]error {
	t.Helper()
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	_, publish := sfu.Publish(ctx, translate.PublishOffer{Room: room(t), Identity: publisher(), SDP: offer})
	_, play := sfu.Play(ctx, translate.PlayOffer{Room: room(t), Identity: player(), Publisher: "x", Offer: allTracks(offer)})
	if errors.Is(play, translate.ErrPublisherGone) {
		play = nil
	}
	_, list := sfu.Participants(ctx, room(t))
	_, ask := sfu.Participant(ctx, room(t), "x")
	if translate.KindOf(ask) == translate.ErrKindNotFound {
		ask = nil
	}
	return map[string]error{
		opPublish: publish, opPlay: play, opParticipants: list, opParticipant: ask,
		opRemove: sfu.Remove(ctx, room(t), "x"),
	}
}

func TestCallsSucceedAfterServerReturns(t *testing.T) {
	for _, way := range []PlayWay{PlayWHIP, PlaySignal} {
		t.Run(string(way), func(t *testing.T) { testCallsSucceedAfterServerReturns(t, way) })
	}
}

func testCallsSucceedAfterServerReturns(t *testing.T, way PlayWay) {
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{})
	sfu := newSFU(t, lk, func(c *Config) { c.Play = way })
	for op, err := range calls(t, deadline(t, patience), sfu) { // opens connections
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	lk.Kill()
	start := time.Now()
	for op, err := range calls(t, deadline(t, patience), sfu) {
		if translate.KindOf(err) != translate.ErrKindUnavailable {
			t.Errorf("%s with the server down: %v", op, err)
		}
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("five calls to a server that is down took %v", took)
	}
	lk.Restart()
	for op, err := range calls(t, deadline(t, patience), sfu) {
		if err != nil {
			t.Errorf("%s after the restart: %v", op, err)
		}
	}
}

func TestHangingServerIsUnavailableAtDeadline(t *testing.T) {
	for _, way := range []PlayWay{PlayWHIP, PlaySignal} {
		t.Run(string(way), func(t *testing.T) { testHangingServerIsUnavailableAtDeadline(t, way) })
	}
}

func testHangingServerIsUnavailableAtDeadline(t *testing.T, way PlayWay) {
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{})
	sfu := newSFU(t, lk, func(c *Config) { c.Play = way })
	lk.Pause()
	t.Cleanup(lk.Resume)
	for op, err := range calls(t, deadline(t, 100*time.Millisecond), sfu) {
		if translate.KindOf(err) != translate.ErrKindUnavailable {
			t.Errorf("%s after the deadline: %v", op, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	time.AfterFunc(100*time.Millisecond, cancel)
	for op, err := range calls(t, ctx, sfu) {
		if translate.KindOf(err) != translate.ErrKindCanceled {
			t.Errorf("%s canceled: %v", op, err)
		}
	}
}

// The test does not wait for the webhooks of an orderly shutdown: LiveKit sends them and exits, and most are
// lost.
func TestLiveKitShutdownEndsParticipants(t *testing.T) {
	s := newStage(t)
	id := publisher()
	s.publish(t, id, rig.PeerOptions{})
	s.lk.Stop()
	if _, err := s.sfu.Participants(deadline(t, patience), room(t)); translate.KindOf(err) != translate.ErrKindUnavailable {
		t.Errorf("after the end: %v", err)
	}
	s.lk.Restart()
	if p := s.find(t, id); p.SID != "" {
		t.Errorf("a restarted server without Redis returned %+v", p)
	}
	s.publish(t, id, rig.PeerOptions{})
}

// Only Participant detects a dead node.
func TestDeadNodeIsDetectedByParticipantOnly(t *testing.T) {
	redis := miniredis.RunT(t)
	nodes := []*rig.LiveKit{
		rig.StartLiveKit(t, rig.LiveKitOptions{Redis: redis.Addr()}),
		rig.StartLiveKit(t, rig.LiveKitOptions{Redis: redis.Addr()}),
	}
	s := &stage{lk: nodes[0], sfu: newSFU(t, nodes[0], nil)}
	id := publisher()
	_, answer := s.publish(t, id, rig.PeerOptions{Audio: true})

	host, other := nodes[0], nodes[1]
	if strings.Contains(answer.SDP, " 127.0.0.1 "+strconv.Itoa(other.UDPPort)+" ") {
		host, other = other, host
	}
	s.sfu = newSFU(t, other, nil)
	if p := s.ask(t, id); !p.Active || len(p.Tracks) != 1 {
		t.Fatalf("through the other node the participant is %+v", p)
	}
	host.Kill()

	_, err := s.sfu.Participant(deadline(t, patience), room(t), id)
	wantKind(t, err, translate.ErrKindUnavailable)
	if p := s.find(t, id); !p.Active {
		t.Errorf("the store shows %+v for a dead node, want the last state", p)
	}
	wantKind(t, s.sfu.Remove(deadline(t, patience), room(t), id), translate.ErrKindUnavailable)
}
