package rig

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/livekit/protocol/ingress"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/redis/go-redis/v9"
)

// Ingress simulates LiveKit's ingress service, which is no Go module. Like the real one, it learns from
// LiveKit what a stream key is for, joins the room as a participant of the kind INGRESS, publishes H264 and
// Opus, and reports its state. It does not speak RTMP: Connect is an encoder that connects.
type Ingress struct {
	t  testing.TB
	lk *LiveKit
	io rpc.IOInfoClient
}

// IngressURL is the address for encoders in LiveKit's configuration, which CreateIngress returns.
const IngressURL = "rtmp://ingress.example.com:1935/live"

// StartIngress starts the simulated service for a LiveKit that has this Redis. It ends with the test.
func StartIngress(t testing.TB, lk *LiveKit, redisAddr string) *Ingress {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: redisAddr})
	t.Cleanup(func() { _ = client.Close() }) // the test is over
	io, err := rpc.NewIOInfoClient(psrpc.NewRedisMessageBus(client))
	if err != nil {
		t.Fatal(err)
	}
	return &Ingress{t: t, lk: lk, io: io}
}

// Create makes an ingress for encoders with LiveKit's API, as its command line does. It returns what the
// encoder is configured with.
func (i *Ingress) Create(room, identity string) (url, streamKey string) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := lksdk.NewIngressClient(i.lk.URL, i.lk.Key, i.lk.Secret).CreateIngress(ctx, &lkproto.CreateIngressRequest{
		InputType: lkproto.IngressInput_RTMP_INPUT, Name: identity, RoomName: room, ParticipantIdentity: identity, ParticipantName: identity,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return info.GetUrl(), info.GetStreamKey()
}

// Connect is the connection of an encoder with a stream key. It publishes until the encoder disconnects.
func (i *Ingress) Connect(streamKey string) (disconnect func()) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := i.io.GetIngressInfo(ctx, &rpc.GetIngressInfoRequest{StreamKey: streamKey})
	if err != nil {
		i.t.Fatal(err)
	}
	info := found.GetInfo()
	token, err := ingress.BuildIngressToken(i.lk.Key, i.lk.Secret, info.GetRoomName(), info.GetParticipantIdentity(), info.GetParticipantName(), "", info.GetIngressId())
	if err != nil {
		i.t.Fatal(err)
	}
	room, err := lksdk.ConnectToRoomWithToken(i.lk.URL, token, nil, lksdk.WithAutoSubscribe(false))
	if err != nil {
		i.t.Fatal(err)
	}
	stop := make(chan struct{})
	audio, err1 := publishSamples(room, webrtc.MimeTypeOpus, []byte{0xf8, 0xff, 0xfe}, 20*time.Millisecond, stop)
	video, err2 := publishSamples(room, webrtc.MimeTypeH264, h264Frame(320, 240), 40*time.Millisecond, stop)
	if err := errors.Join(err1, err2); err != nil {
		i.t.Fatal(err)
	}
	i.report(info, lkproto.IngressState_ENDPOINT_PUBLISHING)
	return func() {
		close(stop)
		<-audio
		<-video
		room.Disconnect()
		i.report(info, lkproto.IngressState_ENDPOINT_INACTIVE)
	}
}

func (i *Ingress) report(info *lkproto.IngressInfo, status lkproto.IngressState_Status) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state := &lkproto.IngressState{Status: status, RoomId: info.GetRoomName(), StartedAt: time.Now().UnixNano(), UpdatedAt: time.Now().UnixNano()}
	if _, err := i.io.UpdateIngressState(ctx, &rpc.UpdateIngressStateRequest{IngressId: info.GetIngressId(), State: state}); err != nil {
		i.t.Error(err)
	}
}

// publishSamples publishes the same sample again and again until stop is closed. Then it closes done.
func publishSamples(room *lksdk.Room, mime string, sample []byte, every time.Duration, stop <-chan struct{}) (done <-chan struct{}, err error) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: mime})
	if err != nil {
		return nil, err
	}
	if _, err := room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: mime}); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = track.WriteSample(media.Sample{Data: sample, Duration: every}, nil) // not bound yet, or closed
			}
		}
	}()
	return ended, nil
}
