package livekit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// A probe receives data messages with their sender, in order, also while it does not measure; then it
// receives no media.
func TestProbeReceivesData(t *testing.T) {
	s := newStage(t)
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	src.run()
	s.appears(t, src.id)
	sender := s.nativePublisher(t)

	var idle atomic.Bool
	idle.Store(true)
	received := make(chan translate.Data, 1000)
	p := &probing{t: t, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel = cancel
	target := translate.ProbeTarget{
		Room: room(t), Identity: translate.NewIdentity(deployment, translate.RoleProbe, podTag), Publisher: src.id,
		OnData: func(d translate.Data) { received <- d }, Idle: idle.Load,
	}
	go func() {
		defer close(p.ended)
		p.err = s.sfu.Probe(ctx, target, p.report)
	}()
	t.Cleanup(func() { p.stop() })
	rig.Eventually(t, patience, "probe is in the room", func() bool {
		return isActive(t, s, target.Identity)
	})
	send := func(payload string) {
		t.Helper()
		if err := sender.PublishDataPacket(lksdk.UserData([]byte(payload)), lksdk.WithDataPublishTopic("chat"), lksdk.WithDataPublishReliable(true)); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 20
	for i := range messages {
		send(fmt.Sprint(i))
	}
	for i := range messages {
		want := translate.Data{Sender: native, Topic: "chat", Payload: fmt.Append(nil, i)}
		if got := <-received; got.Sender != want.Sender || got.Topic != want.Topic || string(got.Payload) != string(want.Payload) {
			t.Errorf("received %s %q %q, want %s %q %q", got.Sender, got.Topic, got.Payload, want.Sender, want.Topic, want.Payload)
		}
	}
	// Data sent through the API has no sender: gateways recognize their own data by that.
	_, err := s.lk.Rooms().SendData(deadline(t, patience), &lkproto.SendDataRequest{
		Room: string(room(t)), Data: []byte("{}"), Kind: lkproto.DataPacket_RELIABLE, Topic: proto.String("wcs"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-received; got.Sender != "" || got.Topic != "wcs" || string(got.Payload) != "{}" {
		t.Errorf("received %s %q %q from the API", got.Sender, got.Topic, got.Payload)
	}
	if n := p.count(); n > 0 {
		t.Errorf("%d reports of an idle probe", n)
	}

	idle.Store(false)
	p.await("video is measured", 0, 2, flowing)
	idle.Store(true)
	rig.Eventually(t, patience, "reports end", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return time.Since(p.at[len(p.at)-1]) > 2*time.Second
	})
	send("again")
	if got := <-received; string(got.Payload) != "again" {
		t.Errorf("received %q", got.Payload)
	}
	idle.Store(false)
	p.await("video is measured again", p.count(), 2, flowing)
}

func isActive(t *testing.T, s *stage, id translate.Identity) bool {
	t.Helper()
	p, err := s.sfu.Participant(deadline(t, patience), room(t), id)
	return err == nil && p.Active
}
