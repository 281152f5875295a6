package livekit

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/livekit/server-sdk-go/v2/signalling"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
)

const (
	// silentAfter is how long a track can take until its first packet. A slower one is silent: LiveKit binds
	// it, and requests a key frame from its publisher, within milliseconds.
	silentAfter = 5 * time.Second
	// leaveTimeout bounds the wait for LiveKit to end the connection: it takes milliseconds if LiveKit is
	// reachable.
	leaveTimeout = time.Second
)

// subscriber is a hidden participant that receives one publisher: it subscribes to one audio and one video
// track, as far as kinds says, and to their successors. Signalling is server-sdk-go's. The PeerConnection is
// not, because the SDK's Room has two of them, requests lost packets, resolves names by multicast, asks the
// STUN servers that LiveKit names, and keeps connecting for seconds after it was stopped.
//
// It implements signalling.SignalHandler and signalling.SignalTransportHandler (probe_signals.go).
type subscriber struct {
	// set once
	publisher translate.Identity
	pc        *webrtc.PeerConnection
	transport signalling.SignalTransport
	messages  signalling.Signalling
	onTrack   func(*webrtc.TrackRemote) // until the track ends
	onData    func(translate.Data)      // nil: data is not received
	connected chan struct{}             // closed when media is up for the first time
	over      chan struct{}             // closed with err
	quiet     chan struct{}             // closed when the signalling connection ended

	// owned by the goroutine that joins, then by the SDK's reader
	joinResponse *lkproto.JoinResponse
	sid          string // the publisher's
	version      uint32 // of the publisher's last update

	choosing sync.Mutex // held until the choice is sent, so that the latest is sent last

	readers sync.WaitGroup // added to under mu, unless left

	mu     sync.Mutex
	err    error                    // why the subscription ended
	kinds  translate.MediaKinds     // the kinds to subscribe to
	offers []*lkproto.TrackInfo     // the publisher's tracks
	upAt   time.Time                // when media came up; zero while it is down
	tracks map[string]*subscription // by SID
	left   bool
}

// subscription is a track that was subscribed to.
type subscription struct {
	kind  lkproto.TrackType
	asked time.Time
	came  time.Time // arrival of the first packet
}

// join adds a subscriber to a room. onTrack is called for each track of the publisher after its first packet,
// in a separate goroutine that leave waits for.
func (s *SFU) join(ctx context.Context, t translate.ProbeTarget, kinds translate.MediaKinds, onTrack func(*webrtc.TrackRemote)) (sub *subscriber, err error) {
	defer s.done(opProbe, time.Now(), t.Room, t.Identity, &err)
	token, err := s.signer.player(translate.PlayOffer{Room: t.Room, Identity: t.Identity}) // the same grants
	if err != nil {
		return nil, &translate.Error{Kind: translate.ErrKindRefused, Op: opProbe, Err: err}
	}
	sub, err = newGuest(t.Publisher, onTrack)
	if err != nil {
		return nil, failed(ctx, opProbe, err)
	}
	sub.kinds, sub.onData = kinds, t.OnData
	if err := sub.enter(ctx, s.base, token); err != nil {
		sub.leave()
		return nil, err
	}
	return sub, nil
}

func newGuest(publisher translate.Identity, onTrack func(*webrtc.TrackRemote)) (*subscriber, error) {
	pc, err := newSubscriberConnection()
	if err != nil {
		return nil, err
	}
	// The SDK's log of a failed call can contain a token.
	log := logger.GetDiscardLogger()
	sub := &subscriber{
		publisher: publisher, pc: pc, onTrack: onTrack,
		messages:  signalling.NewSignalling(signalling.SignallingParams{Logger: log}),
		connected: make(chan struct{}), over: make(chan struct{}), quiet: make(chan struct{}),
		tracks: make(map[string]*subscription),
	}
	sub.transport = signalling.NewSignalTransportWebSocket(signalling.SignalTransportWebSocketParams{
		Logger: log, Version: lksdk.Version, Protocol: lksdk.PROTOCOL,
		Signalling: sub.messages, SignalTransportHandler: sub, SignalHandler: sub,
	})
	pc.OnTrack(sub.receive)
	pc.OnDataChannel(sub.onDataChannel)
	pc.OnConnectionStateChange(sub.connectionChanged)
	return sub, nil
}

// enter joins, subscribes, and waits for media to be up.
func (sub *subscriber) enter(ctx context.Context, url, token string) error {
	if err := sub.dial(ctx, url, token); err != nil {
		return failed(ctx, opProbe, err)
	}
	if sub.joinResponse == nil { // LiveKit sent another message, such as a leave request
		sub.end(lost(errors.New("no join response")))
		return sub.reason()
	}
	present := false
	for _, p := range sub.joinResponse.GetOtherParticipants() {
		if p.GetIdentity() == string(sub.publisher) {
			present = true
			sub.follow(p)
		}
	}
	sub.transport.Start()
	if !present {
		return gone(errors.New("publisher is not in the room"))
	}
	select {
	case <-sub.connected:
		return nil
	case <-sub.over:
		return sub.reason()
	case <-ctx.Done():
		return failed(ctx, opProbe, fmt.Errorf("media is not up: %w", ctx.Err()))
	}
}

// dial connects and waits for LiveKit's first message. The SDK does so without a limit, so the connection is
// closed when ctx is done.
func (sub *subscriber) dial(ctx context.Context, url, token string) error {
	release := func() bool { return true }
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		release = context.AfterFunc(ctx, func() { _ = info.Conn.Close() }) // its reader notices
	}}
	// Without the parameter adaptive_stream LiveKit sends the best available quality.
	err := sub.transport.Join(httptrace.WithClientTrace(ctx, trace), url, token, signalling.ConnectParams{}, nil, webrtc.SessionDescription{})
	release()
	return err
}

// leave ends everything and waits until it has ended.
func (sub *subscriber) leave() {
	sub.mu.Lock()
	sub.left = true
	sub.mu.Unlock()
	sub.sendLeave()
	sub.transport.Close()
	_ = sub.pc.GracefulClose() // the result does not matter
	sub.readers.Wait()
}

// sendLeave sends a leave request, without which LiveKit would wait 15 s for the subscriber to return, and
// waits until LiveKit has closed the connection. If this side closed it while messages of LiveKit are unread,
// the request would be lost.
func (sub *subscriber) sendLeave() {
	if !sub.transport.IsStarted() {
		return
	}
	leave := &lkproto.LeaveRequest{Reason: lkproto.DisconnectReason_CLIENT_INITIATED}
	if err := sub.transport.SendMessage(sub.messages.SignalLeaveRequest(leave)); err != nil {
		return // the connection is lost already
	}
	limit := time.NewTimer(leaveTimeout)
	defer limit.Stop()
	select {
	case <-sub.quiet:
	case <-limit.C:
	}
}

// end records why the subscription ended. The first reason counts.
func (sub *subscriber) end(err error) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.err == nil {
		sub.err = err
		close(sub.over)
	}
}

// reason returns why the subscription ended.
func (sub *subscriber) reason() error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	return sub.err
}

// measurableSince returns the time since when everything that the publisher sends arrives: media is up, and
// each track received a packet or is silent. It is zero otherwise.
func (sub *subscriber) measurableSince(now time.Time) time.Time {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.err != nil || sub.upAt.IsZero() {
		return time.Time{}
	}
	since := sub.upAt
	for _, t := range sub.tracks {
		at := t.came
		if at.IsZero() {
			at = t.asked.Add(silentAfter)
		}
		if at.After(now) {
			return time.Time{}
		}
		if at.After(since) {
			since = at
		}
	}
	return since
}

// askKeyFrame requests a key frame.
func (sub *subscriber) askKeyFrame(ssrc webrtc.SSRC) {
	// An error means that the connection is lost.
	_ = sub.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(ssrc)}})
}

// receive is called with each track after its first packet.
func (sub *subscriber) receive(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	sub.mu.Lock()
	if sub.left {
		sub.mu.Unlock()
		return
	}
	if t := sub.tracks[track.ID()]; t != nil && t.came.IsZero() {
		t.came = time.Now()
	}
	sub.readers.Go(func() { sub.onTrack(track) })
	sub.readers.Go(func() { drain(receiver) })
	sub.mu.Unlock()
}

// drain reads the sender reports; otherwise pion would buffer them.
func drain(receiver *webrtc.RTPReceiver) {
	packet := make([]byte, packetSize)
	for {
		if _, _, err := receiver.Read(packet); err != nil {
			return
		}
	}
}

// connectionChanged is called in no particular order.
func (sub *subscriber) connectionChanged(webrtc.PeerConnectionState) {
	state := sub.pc.ConnectionState()
	if state == webrtc.PeerConnectionStateFailed {
		sub.end(lost(errors.New("media connection failed")))
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	switch {
	case state != webrtc.PeerConnectionStateConnected:
		sub.upAt = time.Time{}
	case sub.upAt.IsZero():
		sub.upAt = time.Now()
		select {
		case <-sub.connected:
		default:
			close(sub.connected)
		}
	}
}
